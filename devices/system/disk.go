package system

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/besterhub/bester/devices"
)

// A disk is one mount point. Its file system may be on a server that does not answer, so
// it is a part of its own.
type disk struct {
	s                *Sensor
	mount, path      string // as the options name it, and below root
	part, free, used string // names
}

func newDisk(s *Sensor, mount string) *disk {
	name := "disk/" + sanitizeName(strings.Trim(mount, "/"), "root")
	return &disk{s, mount, filepath.Join(s.root, mount), name, name + "/free", name + "/used"}
}

// read reads the space of the mount point as df shows it: space reserved for root is
// neither free nor used.
func (d *disk) read(dst []devices.Reading) ([]devices.Reading, error) {
	if err := d.checkMounted(); err != nil {
		return dst, err
	}
	var st syscall.Statfs_t
	if err := d.s.statfs(d.path, &st); err != nil {
		return dst, notThere(d.mount, err)
	}
	if st.Type == unix.AUTOFS_SUPER_MAGIC {
		return dst, fmt.Errorf("nothing is mounted at %s: the automounter has not mounted it", d.mount)
	}
	if st.Blocks == 0 {
		return dst, fmt.Errorf("%s has no blocks: it is no file system that can fill up", d.mount)
	}
	// statfs(2): counts are in units of f_frsize; f_bsize is the size of a transfer.
	unit := float64(st.Frsize)
	if unit <= 0 {
		unit = float64(st.Bsize)
	}
	used := float64(st.Blocks) - float64(st.Bfree)
	// What is reserved may be more than what is free; the count is negative then.
	available := float64(max(int64(st.Bavail), 0))
	dst = append(dst, devices.Number(d.free, devices.Byte, available*unit))
	if used >= 0 && used+available > 0 {
		dst = append(dst, devices.Number(d.used, devices.Ratio, roundRatio(used/(used+available))))
	}
	return dst, nil
}

// checkMounted returns an error if nothing is mounted at the path: its space would be that
// of the file system below. In a tree that is not this machine's own, nothing is.
func (d *disk) checkMounted() error {
	if !d.s.host || d.mount == "/" {
		return nil
	}
	mounted, err := d.s.mountRoot(d.path)
	switch {
	case err != nil:
		return notThere(d.mount, err)
	case !mounted:
		return fmt.Errorf("nothing is mounted at %s", d.mount)
	}
	return nil
}

func notThere(mount string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no %s", mount)
	}
	return fmt.Errorf("%s: %w", mount, err)
}

// isMountRoot reports whether a file system is mounted at the path, or the path is a
// subvolume with a device number of its own.
func isMountRoot(path string) (bool, error) {
	var st, parent unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_TYPE, &st); err != nil {
		return false, err
	}
	// statx(2): since Linux 5.8 the kernel says so itself, also of bind mounts.
	if st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 && st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return true, nil
	}
	if err := unix.Statx(unix.AT_FDCWD, filepath.Join(path, ".."), 0, unix.STATX_TYPE, &parent); err != nil {
		return false, err
	}
	return st.Dev_major != parent.Dev_major || st.Dev_minor != parent.Dev_minor, nil
}
