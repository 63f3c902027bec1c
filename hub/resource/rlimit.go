package resource

import (
	"math"

	"golang.org/x/sys/unix"
)

// Descriptors returns how many descriptors this process may have open, or zero if that is
// not known or not limited. The Go runtime has raised the soft limit to the hard one.
func Descriptors() int {
	n, ok := softLimit(unix.RLIMIT_NOFILE)
	if !ok || n > math.MaxInt32 {
		return 0
	}
	return int(n)
}

// AddressSpace returns the limit of this process's address space in bytes (ulimit -v), and
// whether there is one.
func AddressSpace() (bytes uint64, limited bool) { return softLimit(unix.RLIMIT_AS) }

func softLimit(resource int) (n uint64, limited bool) {
	var r unix.Rlimit
	if unix.Getrlimit(resource, &r) != nil {
		return 0, false
	}
	n = uint64(r.Cur)
	return n, n < unix.RLIM_INFINITY && n < math.MaxInt64 && n != math.MaxUint32
}

// AddressSpaceNeeded is how much address space in bytes the Go runtime reserves at its start,
// with room for the hub. It is far more than the memory that is then used. With less than
// about a third of it, the runtime cannot even start.
// It is 2 GiB on machines of 64 bits, else 512 MiB.
const AddressSpaceNeeded = 512<<20 + uint64(^uint(0)>>63)*(1536<<20)
