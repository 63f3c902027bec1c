package options

import (
	"fmt"
	"strconv"
	"strings"
)

// Bytes is a size in bytes, 0 to 1 GiB, written "4096", "256 KiB" or "1 MiB".
type Bytes int

// The units of Bytes.
const (
	KiB Bytes = 1 << 10
	MiB Bytes = 1 << 20
	GiB Bytes = 1 << 30
)

var units = []struct {
	name string
	size Bytes
}{{"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}, {"B", 1}}

// UnmarshalText parses a whole number, alone or with KiB, MiB, GiB or B.
func (b *Bytes) UnmarshalText(text []byte) error {
	number, unit := string(text), Bytes(1)
	for _, u := range units {
		if rest, ok := strings.CutSuffix(number, u.name); ok {
			number, unit = strings.TrimSuffix(rest, " "), u.size
			break
		}
	}
	n, err := strconv.ParseUint(number, 10, 31)
	if err != nil || n > uint64(GiB/unit) {
		return fmt.Errorf(`%.60q: want a size up to 1 GiB such as 4096, "256 KiB" or "1 MiB"`, text)
	}
	*b = Bytes(n) * unit
	return nil
}

// String writes b in the largest unit that leaves a whole number: "256 KiB".
func (b Bytes) String() string {
	for _, u := range units {
		if b != 0 && b%u.size == 0 && u.size > 1 {
			return strconv.Itoa(int(b/u.size)) + " " + u.name
		}
	}
	return strconv.Itoa(int(b))
}

// MarshalText returns the same as String.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }
