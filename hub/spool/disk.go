package spool

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A disk is the folder a spool lives in. All effects of a spool go through it, so
// that a test can record them, make them fail, or slow them down. Names are of files
// directly in the folder. No method holds a lock that the others need: readers read
// while the writer waits for a sync.
type disk interface {
	// Lock creates the folder if there is none (not its parents) and locks it against
	// other processes; closing the lock unlocks it. Called again after the folder was
	// lost, it locks the folder that is there now.
	Lock() (lock, error)
	// Device tells which file system the folder is on, or would be made on.
	Device() (uint64, error)
	// List returns the names in the folder.
	List() ([]string, error)
	// Open opens a file, for writing, too, if write is set, and creates it if create is
	// set. It fails on whatever is not a regular file, such as a directory or a link.
	Open(name string, write, create bool) (file, error)
	// Same tells whether name still leads to f. It is false where the folder was removed
	// or replaced, and writes to f would be lost.
	Same(name string, f file) bool
	Rename(from, to string) error
	Remove(name string) error
	// Sync puts the names in the folder onto the card.
	Sync() error
}

// A lock is on a folder.
type lock interface {
	io.Closer
	// Held tells whether the folder that is there now is the one locked.
	Held() bool
	// Linked tells whether the folder that was locked still has a name anywhere.
	Linked() bool
}

// A file is an open file of a disk.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Size() (int64, error)
	Truncate(size int64) error
	// Allocate preallocates n bytes of blocks from off on, without a change of the file's
	// size or content. An error does no harm: writes allocate blocks themselves.
	Allocate(off, n int64) error
	// Linked tells whether the file still has a name anywhere.
	Linked() bool
	// Sync returns when all that was written, and what is needed to read it
	// again, is on the card: fdatasync.
	Sync() error
}

// folder is the disk of a real file system.
type folder string

func (d folder) path(name string) string { return filepath.Join(string(d), name) }

func (d folder) Lock() (lock, error) {
	if err := os.Mkdir(string(d), 0o700); err == nil {
		d.syncAt(filepath.Dir(string(d))) // syncs the folder's own name; a failure shows again below
	} else if !errors.Is(err, os.ErrExist) && !errors.Is(err, unix.EROFS) {
		return nil, err
	}
	// The folder itself is locked: that needs no file, and works where nothing
	// can be written.
	f, err := os.Open(string(d))
	if err != nil {
		return nil, err
	}
	if err := retry(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrLocked
		}
		return nil, os.NewSyscallError("flock", err)
	}
	return locked{osFile{f}, d}, nil
}

type locked struct {
	osFile
	d folder
}

func (l locked) Held() bool {
	here, err := l.Stat()
	there, err2 := os.Stat(string(l.d))
	return err == nil && err2 == nil && os.SameFile(here, there)
}

func (d folder) Device() (uint64, error) {
	var st unix.Stat_t
	err := retry(func() error { return unix.Stat(string(d), &st) })
	if err == unix.ENOENT {
		err = retry(func() error { return unix.Stat(filepath.Dir(string(d)), &st) })
	}
	return uint64(st.Dev), os.NewSyscallError("stat", err)
}

func (d folder) List() ([]string, error) {
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

func (d folder) Open(name string, write, create bool) (file, error) {
	flag := os.O_RDONLY
	if write {
		flag = os.O_RDWR
	}
	if create {
		flag |= os.O_CREATE
	}
	// Something that is not a regular file may have the name: a link, or a pipe, on which
	// opening would wait for a writer.
	f, err := os.OpenFile(d.path(name), flag|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, cmp.Or(err, fmt.Errorf("%s: not a file", f.Name()))
	}
	return osFile{f}, nil
}

func (d folder) Same(name string, f file) bool {
	there, err := os.Stat(d.path(name))
	if err != nil {
		return false
	}
	here, err := f.(osFile).Stat()
	return err == nil && os.SameFile(here, there)
}

func (d folder) Rename(from, to string) error { return os.Rename(d.path(from), d.path(to)) }
func (d folder) Remove(name string) error     { return os.Remove(d.path(name)) }
func (d folder) Sync() error                  { return d.syncAt(string(d)) }

func (folder) syncAt(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	err = f.Sync()
	return errors.Join(err, f.Close())
}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f osFile) Allocate(off, n int64) error {
	err := retry(func() error { return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, off, n) })
	return os.NewSyscallError("fallocate", err)
}

func (f osFile) Linked() bool {
	var st unix.Stat_t // x/sys, because os.File.Stat allocates, and this runs before each write
	err := retry(func() error { return unix.Fstat(int(f.Fd()), &st) })
	return err != nil || st.Nlink > 0
}

func (f osFile) Sync() error {
	err := retry(func() error { return unix.Fdatasync(int(f.Fd())) })
	return os.NewSyscallError("fdatasync", err)
}

// retry calls f again while a signal interrupts it.
func retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}
