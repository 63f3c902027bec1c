// Package system reads the machine itself, from /proc and /sys. It works on any Linux.
//
// These are its readings. Those that a machine does not have are left out:
//
//	cpu/temperature             Cel
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
//	disk/<mount>/free           B    what programs can write; / is called root
//	disk/<mount>/used           /
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
	"syscall"

	"github.com/besterhub/bester/devices"
)

// Options say what to read. The zero value works.
type Options struct {
	// Mounts are the mount points whose space is read. One that is not there is
	// left out. If empty, only "/".
	Mounts []string `toml:"mounts" help:"mount points whose free and used space is read" default:"[\"/\"]"`
	// Networks are the interfaces whose bytes are counted, for example "eth0".
	// If empty, none.
	Networks []string `toml:"networks" help:"interfaces whose bytes are counted, such as eth0" default:"none"`
	// Root is where proc and sys are found, for a tree that is not this
	// machine's own. If empty, "/".
	Root string `toml:"root" help:"where proc and sys are found, for a tree that is not this machine's own" default:"/"`
}

// A Sensor reads the machine. It keeps one buffer for all files and no file open.
type Sensor struct {
	root     string
	disks    []disk
	networks []network
	sources  sources
	reads    int
	lastCPU  cpuTimes
	buffer   [16 << 10]byte

	statfs func(path string, s *syscall.Statfs_t) error
	synced func() (synchronized, known bool)
}

// A disk is one mount point.
type disk struct{ path, free, used string }

// A network is one interface.
type network struct{ name, received, sent string }

// New returns a Sensor. It reads nothing yet. It returns an error if a mount point is not
// an absolute path, or if a string is not a valid interface name.
func New(o Options) (*Sensor, error) {
	s := &Sensor{root: o.Root, statfs: syscall.Statfs}
	if s.root == "" {
		s.root = "/"
		s.synced = synchronized
	}
	if len(o.Mounts) == 0 {
		o.Mounts = []string{"/"}
	}
	for _, m := range o.Mounts {
		if !filepath.IsAbs(m) {
			return nil, fmt.Errorf("system: mounts: %q: want a path that begins with /", m)
		}
		name := "disk/" + sanitizeName(strings.Trim(filepath.Clean(m), "/"), "root")
		s.disks = append(s.disks, disk{filepath.Join(s.root, m), name + "/free", name + "/used"})
	}
	for _, n := range o.Networks {
		if n == "" || strings.ContainsAny(n, "/: \t\n") {
			return nil, fmt.Errorf("system: networks: %q: want the name of an interface, for example eth0", n)
		}
		name := "network/" + sanitizeName(n, "")
		s.networks = append(s.networks, network{n, name + "/received", name + "/sent"})
	}
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

// Read appends the machine's present readings. It returns an error if there are none.
func (s *Sensor) Read(ctx context.Context, dst []devices.Reading) ([]devices.Reading, error) {
	if err := ctx.Err(); err != nil {
		return dst, err
	}
	if s.reads%discoverEvery == 0 {
		s.sources = discover(s.root)
	}
	s.reads++
	before := len(dst)
	dst = s.readCPU(dst)
	dst = s.readPower(dst)
	dst = s.readLoad(dst)
	dst = s.readMemory(dst)
	dst = s.readUptime(dst)
	dst = s.readNetworks(dst)
	if s.synced != nil {
		if ok, known := s.synced(); known {
			dst = append(dst, devices.Bool("clock/synchronized", ok))
		}
	}
	for _, d := range s.disks {
		if err := ctx.Err(); err != nil {
			return dst, err
		}
		dst = s.readDisk(dst, d)
	}
	if len(dst) == before {
		return dst, errors.New("system: nothing to read in " + s.root + ": are proc and sys mounted there?")
	}
	return dst, nil
}

// readDisk reads the space of one mount point, as df shows it: space reserved for root is
// neither free nor used.
func (s *Sensor) readDisk(dst []devices.Reading, d disk) []devices.Reading {
	var fs syscall.Statfs_t
	if err := s.statfs(d.path, &fs); err != nil || fs.Blocks == 0 {
		return dst
	}
	used := float64(fs.Blocks) - float64(fs.Bfree)
	available := float64(fs.Bavail)
	dst = append(dst, devices.Number(d.free, devices.Byte, available*float64(fs.Bsize)))
	if used >= 0 && used+available > 0 {
		dst = append(dst, devices.Number(d.used, devices.Ratio, roundRatio(used/(used+available))))
	}
	return dst
}
