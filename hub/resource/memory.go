// Package resource finds out how much memory and how many descriptors this process may use.
package resource

import (
	"bufio"
	"bytes"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A Memory is the memory that this process may use.
type Memory struct {
	// Limit is the lowest of the machine's memory and the limits of all control groups
	// that the process is in, in bytes. It is zero if it is not known.
	Limit int64
	// Machine is the machine's memory in bytes, or zero if it is not known.
	Machine int64
	// From says where Limit comes from: "machine", or the path of the control group's file.
	From string
}

// FindMemory returns the memory that this process may use.
func FindMemory() Memory {
	var info unix.Sysinfo_t
	machine := int64(0)
	if unix.Sysinfo(&info) == nil {
		machine = int64(min(uint64(info.Totalram)*uint64(info.Unit), math.MaxInt64))
	}
	return FindMemoryIn("/", machine)
}

// FindMemoryIn is FindMemory for the proc and sys below root, on a machine with that many
// bytes of memory.
//
// It reads control groups of version 2 (memory.max and memory.high) and version 1
// (memory.limit_in_bytes, and the limit of all parents from memory.stat), from the group of
// this process up to the root of the hierarchy, as far as it is mounted. In a namespace of
// control groups the parents outside of it are hidden; version 1 still tells their limit.
// What cannot be read is taken for no limit.
func FindMemoryIn(root string, machine int64) Memory {
	m := Memory{Limit: machine, Machine: machine, From: "machine"}
	own := groupsOf(root)
	for _, h := range hierarchies(root) {
		group, ok := own[h.version]
		if !ok {
			continue
		}
		below := h.below(group)
		for {
			for _, file := range h.version.files() {
				file = path.Join(h.mountPoint, below, file)
				if n := readLimit(filepath.Join(root, file)); n > 0 && (m.Limit == 0 || n < m.Limit) {
					m.Limit, m.From = n, file
				}
			}
			if below == "/" {
				break
			}
			below = path.Dir(below)
		}
	}
	return m
}

// String returns the limit and where it comes from: "64 MiB (/sys/fs/cgroup/x/memory.max)".
func (m Memory) String() string {
	if m.Limit == 0 {
		return "unknown"
	}
	return Size(uint64(m.Limit)) + " (" + m.From + ")"
}

// A version is a version of control groups.
type version int

const (
	v1 version = 1
	v2 version = 2
)

// files returns the names of the files of a group that limit its memory. Above memory.high
// the kernel stalls a process until it hardly runs, so that is a limit, too.
func (v version) files() []string {
	if v == v2 {
		return []string{"memory.max", "memory.high"}
	}
	return []string{"memory.limit_in_bytes", "memory.stat"}
}

// A hierarchy is a tree of control groups, as it is mounted.
type hierarchy struct {
	version    version
	root       string // the group that is mounted
	mountPoint string
}

// below returns the path of a group below the mount point, "/" for the mount point itself.
// A group that is outside of what is mounted is represented by the mount point: a container
// sees no more than that.
func (h *hierarchy) below(group string) string {
	if h.root == "/" && !strings.HasPrefix(group, "/..") {
		return path.Clean("/" + group)
	}
	if below, ok := strings.CutPrefix(group, h.root); ok && (below == "" || below[0] == '/') {
		return path.Clean("/" + below)
	}
	return "/"
}

// groupsOf returns the groups of this process that may limit its memory.
func groupsOf(root string) map[version]string {
	groups := make(map[version]string)
	lines(filepath.Join(root, "proc/self/cgroup"), func(line string) {
		f := strings.SplitN(line, ":", 3) // hierarchy:controllers:path
		switch {
		case len(f) != 3:
		case f[1] == "":
			groups[v2] = f[2]
		case slices.Contains(strings.Split(f[1], ","), "memory"):
			groups[v1] = f[2]
		}
	})
	return groups
}

// hierarchies returns the mounted hierarchies that may limit memory.
func hierarchies(root string) (all []hierarchy) {
	lines(filepath.Join(root, "proc/self/mountinfo"), func(line string) {
		// ID parent device root mount-point options [optional]... - type source super-options
		mount, fs, ok := strings.Cut(line, " - ")
		f, g := strings.Fields(mount), strings.Fields(fs)
		if !ok || len(f) < 6 || len(g) < 3 {
			return
		}
		h := hierarchy{root: unescape(f[3]), mountPoint: unescape(f[4])}
		switch {
		case g[0] == "cgroup2":
			h.version = v2
		case g[0] == "cgroup" && slices.Contains(strings.Split(g[2], ","), "memory"):
			h.version = v1
		default:
			return
		}
		all = append(all, h)
	})
	return all
}

// unescape replaces the octal escapes of mountinfo, such as \040 for a space.
func unescape(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		if s[0] == '\\' && len(s) >= 4 {
			if n, err := strconv.ParseUint(s[1:4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				s = s[4:]
				continue
			}
		}
		b.WriteByte(s[0])
		s = s[1:]
	}
	return b.String()
}

// readLimit returns the limit in a group's file in bytes, or zero if it has none.
func readLimit(file string) (limit int64) {
	if path.Base(file) == "memory.stat" {
		lines(file, func(line string) {
			if n, ok := strings.CutPrefix(line, "hierarchical_memory_limit "); ok {
				limit = parseLimit(n)
			}
		})
		return limit
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	return parseLimit(string(b))
}

// parseLimit parses a number of bytes; "max" is no limit. Version 1 writes a huge number for
// no limit, which is above any machine's memory.
func parseLimit(s string) int64 {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 64)
	if err != nil || n > math.MaxInt64 {
		return 0
	}
	if n == 0 {
		return 1 // nothing at all is allowed
	}
	return int64(n)
}

// lines calls f for each line of a file; for none if it cannot be read.
func lines(file string, f func(line string)) {
	b, err := os.ReadFile(file)
	if err != nil {
		return
	}
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		f(s.Text())
	}
}
