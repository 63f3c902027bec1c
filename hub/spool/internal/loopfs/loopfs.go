// Package loopfs makes an ext4 file system in a file, mounted by a loop device. Only a
// real file system shows what a program writes to a card with the journal, and what it
// does when the card is full, read-only or gone. The package needs root, a loop device
// and mkfs.ext4.
package loopfs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// An FS is a mounted file system. Its methods are for one goroutine at a time.
type FS struct {
	Dir string // where it is mounted

	image  string
	device string
	loop   *os.File // keeps the device while nothing is mounted
	lock   *os.File // the image, locked against other processes
}

// Missing says what New lacks on this machine, and how to get it; nil if nothing.
func Missing() error {
	if os.Geteuid() != 0 {
		return errors.New("loop file systems need root: run it with sudo")
	}
	if _, err := exec.LookPath("mkfs.ext4"); err != nil {
		return errors.New("mkfs.ext4 is not there: apt-get install e2fsprogs")
	}
	f, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("no loop devices: %w: modprobe loop, or give the container /dev/loop-control and CAP_SYS_ADMIN", err)
	}
	return f.Close()
}

// New makes a file system of size bytes in the file image, creates its folder if need
// be, and mounts it at image + ".mnt". It first removes what a killed process left
// there; it fails if that process still runs. Close removes everything.
func New(image string, size int64) (_ *FS, err error) {
	if err := Missing(); err != nil {
		return nil, err
	}
	if image, err = filepath.Abs(image); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(image), 0o755); err != nil {
		return nil, err
	}
	fs := &FS{Dir: image + ".mnt", image: image}
	if fs.lock, err = os.OpenFile(image, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, err
	}
	if err := unix.Flock(int(fs.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		fs.lock.Close()
		return nil, fmt.Errorf("%s: another process uses it: %w", image, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, fs.Close())
		}
	}()
	if err := unmountAll(fs.Dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(fs.Dir, 0o755); err != nil {
		return nil, err
	}
	if err := errors.Join(fs.lock.Truncate(0), fs.lock.Truncate(size)); err != nil {
		return nil, err
	}
	// Blocks of 4096 bytes, as on a card: small file systems would get smaller ones.
	// Nothing is left for the kernel to initialize later, which would count as written.
	mkfs := exec.Command("mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0",
		"-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard", image)
	if out, err := mkfs.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("mkfs.ext4 %s: %w: %s", image, err, out)
	}
	if err := fs.attach(); err != nil {
		return nil, err
	}
	return fs, fs.Mount()
}

// attach finds a free loop device and puts the image behind it.
func (fs *FS) attach() error {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer control.Close()
	backing, err := os.OpenFile(fs.image, os.O_RDWR, 0) // not fs.lock, or the device would hold the lock, too
	if err != nil {
		return err
	}
	defer backing.Close()
	for attempts := 0; ; attempts++ {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return fmt.Errorf("no free loop device: %w", err)
		}
		fs.device = "/dev/loop" + strconv.Itoa(n)
		if fs.loop, err = os.OpenFile(fs.device, os.O_RDWR, 0); err != nil {
			return err
		}
		const autoClear = 4 // LO_FLAGS_AUTOCLEAR: the device ends with its last user, even a killed one
		config := unix.LoopConfig{Fd: uint32(backing.Fd()), Info: unix.LoopInfo64{Flags: autoClear}}
		copy(config.Info.File_name[:63], fs.image)
		err = unix.IoctlLoopConfigure(int(fs.loop.Fd()), &config)
		if err == nil {
			return nil
		}
		fs.loop.Close()
		fs.loop = nil
		if err != unix.EBUSY || attempts == 100 { // another process took it meanwhile
			return fmt.Errorf("%s: %w", fs.device, err)
		}
	}
}

// Mount mounts the file system at Dir again after Unmount.
func (fs *FS) Mount() error { return fs.mount(0) }

func (fs *FS) mount(flags uintptr) error {
	if err := unix.Mount(fs.device, fs.Dir, "ext4", flags, ""); err != nil {
		return fmt.Errorf("mount %s at %s: %w", fs.device, fs.Dir, err)
	}
	return nil
}

// Unmount detaches the file system at once (umount -l); processes keep the files that
// they have open. Dir is an empty folder then.
func (fs *FS) Unmount() error {
	return os.NewSyscallError("umount", unix.Unmount(fs.Dir, unix.MNT_DETACH))
}

// Remount makes the file system read-only, or writable again. Read-only is refused
// with EBUSY while files are open for writing.
func (fs *FS) Remount(readOnly bool) error {
	flags := uintptr(unix.MS_REMOUNT)
	if readOnly {
		flags |= unix.MS_RDONLY
	}
	return fs.mount(flags)
}

// Written returns the bytes written to the device so far: the data and the journal.
// All that is pending is written out first.
func (fs *FS) Written() (bytes uint64, err error) {
	dir, err := os.Open(fs.Dir)
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return 0, os.NewSyscallError("syncfs", err)
	}
	if err := fs.loop.Sync(); err != nil {
		return 0, err
	}
	b, err := os.ReadFile(filepath.Join("/sys/block", filepath.Base(fs.device), "stat"))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(b))
	if len(fields) < 7 {
		return 0, fmt.Errorf("%s: unexpected statistics %q", fs.device, b)
	}
	sectors, err := strconv.ParseUint(fields[6], 10, 64)
	return sectors * 512, err
}

// Fill takes all free space but leave bytes with a file of its own, which Empty
// removes. When it returns, the writes of others find no more space than that.
func (fs *FS) Fill(leave int64) error {
	f, err := os.Create(fs.filler())
	if err != nil {
		return err
	}
	defer f.Close()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return os.NewSyscallError("statfs", err)
	}
	size := int64(0)
	if n := int64(st.Bavail)*int64(st.Bsize) - leave; n > 0 {
		if err = unix.Fallocate(int(f.Fd()), 0, 0, n); err == nil {
			size = n
		}
	}
	// The last blocks go one by one: the free space is known only roughly while others write.
	for leave == 0 && err == nil {
		err = unix.Fallocate(int(f.Fd()), 0, size, int64(st.Bsize))
		size += int64(st.Bsize)
	}
	if err != nil && err != unix.ENOSPC {
		return os.NewSyscallError("fallocate", err)
	}
	return nil
}

// Empty undoes Fill.
func (fs *FS) Empty() error { return os.Remove(fs.filler()) }

func (fs *FS) filler() string { return filepath.Join(fs.Dir, "filler") }

// DropCaches makes the kernel forget what it has read of all files.
func DropCaches() error {
	unix.Sync()
	return os.WriteFile("/proc/sys/vm/drop_caches", []byte("3\n"), 0)
}

// Close unmounts the file system and removes its image. The image lives on, without a
// name, while processes have files in it open.
func (fs *FS) Close() error {
	err := unmountAll(fs.Dir)
	if err == nil {
		err = os.RemoveAll(fs.Dir) // with files written there while nothing was mounted
	}
	if fs.loop != nil {
		err = errors.Join(err, fs.loop.Close())
	}
	return errors.Join(err, os.Remove(fs.image), fs.lock.Close())
}

// unmountAll unmounts what is mounted at dir, and on top of that. It waits a while
// for processes to leave, so that all is written out.
func unmountAll(dir string) error {
	for attempts := 0; ; attempts++ {
		flags := 0
		if attempts >= 20 {
			flags = unix.MNT_DETACH
		}
		switch err := unix.Unmount(dir, flags); {
		case err == unix.EINVAL || err == unix.ENOENT: // nothing is mounted there any more
			return nil
		case err == unix.EBUSY && flags == 0:
			time.Sleep(50 * time.Millisecond)
		case err != nil:
			return fmt.Errorf("umount %s: %w", dir, err)
		}
	}
}
