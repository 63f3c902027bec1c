// Package system reads the machine itself, from /proc and /sys. It works on any Linux.
//
// These are its readings. What a machine does not have is left out. What it has but
// cannot be read, a disk that the options name but is not mounted and an interface that
// does not exist are left out, too, and named by the error (devices.PartErrors):
//
//	cpu/temperature             Cel  of the thermal zone or hwmon chip that measures the processor
//	cpu/used                    /    share of all cores' time since the read before
//	cpu/frequency               Hz   of the first core
//	cpu/throttled               bool on a Raspberry Pi: slowed down, now
//	cpu/throttled_since_boot    bool ... or once since boot
//	power/undervoltage          bool on a Raspberry Pi: the supply is too weak, now
//	power/undervoltage_since_boot
//	load1, load5, load15             processes that run or wait, mean of so many minutes
//	memory/available            B    what programs can have without swapping
//	memory/used                 /
//	swap/used                   /    if there is swap
//	disk/<mount>/free           B    what programs can write, as df shows it; / is called root
//	disk/<mount>/used           /    of what programs can use, before df rounds it up
//	network/<interface>/received, network/<interface>/sent  B, since boot
//	uptime                      s
//	clock/synchronized          bool the clock is synchronized, by NTP for example
package system

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/besterhub/bester/devices"
)

// Options say what to read. The zero value works.
type Options struct {
	// Mounts are the mount points whose space is read. A path at which nothing is mounted
	// is an error of that part: the space of the disk below it is not taken for it.
	// If empty, only "/".
	Mounts []string `toml:"mounts" help:"mount points whose free and used space is read" default:"[\"/\"]"`
	// Networks are the interfaces whose bytes are counted, for example "eth0".
	// If empty, none.
	Networks []string `toml:"networks" help:"interfaces whose bytes are counted, such as eth0" default:"none"`
	// Root is where proc and sys are found, for a tree that is not this
	// machine's own. If empty, "/".
	Root string `toml:"root" help:"where proc and sys are found, for a tree that is not this machine's own" default:"/"`
}

// A Sensor reads the machine. It keeps one buffer for all files of /proc and no file open.
// Each disk, the processor's temperature and the power supply are read on their own, so
// that one that hangs holds up no other.
type Sensor struct {
	root     string
	host     bool // root is this machine's own
	parts    *devices.Parts
	networks []network
	sources  atomic.Pointer[sources]
	reads    int
	lastCPU  cpuTimes
	buffer   [16 << 10]byte // of the goroutine that reads /proc

	// What is asked of the kernel.
	statfs    func(path string, s *syscall.Statfs_t) error
	mountRoot func(path string) (bool, error)
	synced    func() (synchronized, known bool)
}

// A network is one interface.
type network struct{ name, part, received, sent string }

// New returns a Sensor. It reads nothing yet. It returns an error if a mount point is not
// an absolute path, or if a string is not a valid interface name.
func New(o Options) (*Sensor, error) {
	s := &Sensor{root: filepath.Clean("/" + o.Root), statfs: syscall.Statfs, mountRoot: isMountRoot, synced: synchronized}
	if o.Root != "" && !filepath.IsAbs(o.Root) {
		s.root = filepath.Clean(o.Root)
	}
	s.host = s.root == "/"
	if len(o.Mounts) == 0 {
		o.Mounts = []string{"/"}
	}
	parts := []devices.Part{
		{Name: "cpu/temperature", Read: s.readTemperature},
		{Name: "proc", Read: s.readProc},
		{Name: "power", Read: s.readPower},
	}
	for _, m := range o.Mounts {
		if !filepath.IsAbs(m) {
			return nil, fmt.Errorf("system: mounts: %q: want a path that begins with /", m)
		}
		d := newDisk(s, filepath.Clean(m))
		parts = append(parts, devices.Part{Name: d.part, Read: d.read})
	}
	for _, n := range o.Networks {
		if n == "" || strings.ContainsAny(n, "/: \t\n") {
			return nil, fmt.Errorf("system: networks: %q: want the name of an interface, for example eth0", n)
		}
		name := "network/" + sanitizeName(n, "")
		s.networks = append(s.networks, network{n, name, name + "/received", name + "/sent"})
	}
	s.parts = devices.NewParts(parts...)
	return s, nil
}

// sanitizeName turns s into a part of a reading's name. It converts letters to lower case,
// keeps digits and - . / and replaces all else by "_".
func sanitizeName(s, empty string) string {
	if s == "" {
		return empty
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '.', r == '/':
			return r
		}
		return '_'
	}, s)
}

// discoverEvery is the number of reads after which the sources are discovered again, since
// drivers come and go.
const discoverEvery = 64

// Read appends the machine's present readings. The error names what could not be read; if
// that is everything, it says so.
func (s *Sensor) Read(ctx context.Context, dst []devices.Reading) ([]devices.Reading, error) {
	if err := ctx.Err(); err != nil {
		return dst, err
	}
	if s.reads%discoverEvery == 0 {
		s.sources.Store(discover(s.root))
	}
	s.reads++
	before := len(dst)
	dst, err := s.parts.Read(ctx, dst)
	if len(dst) == before && ctx.Err() == nil {
		return dst, errors.New("system: nothing to read in " + s.root + ": are proc and sys mounted there?")
	}
	return dst, err
}
