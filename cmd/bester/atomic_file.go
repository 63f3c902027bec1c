package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// An atomicFile gets its name only when all of it has been written and synced. A file
// under that name is never partial.
type atomicFile struct {
	*os.File
	path  string
	force bool
}

// createAtomicFile creates a file that commit names path. It replaces an existing file
// only if force is set, and only a regular one. The file may not be in spoolDir.
func createAtomicFile(path, spoolDir string, force bool) (*atomicFile, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, usageError{fmt.Errorf("%s: is no file: write to it with > instead of --output", path)}
	case !force:
		return nil, usageError{fmt.Errorf("%s: is there already: give another name, or --force to replace it", path)}
	}
	dir := filepath.Dir(path)
	parent, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	if spool, err := os.Stat(spoolDir); err == nil && os.SameFile(parent, spool) {
		return nil, usageError{fmt.Errorf("%s: is in the spool: choose another folder", path)}
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*.part")
	if err != nil {
		return nil, err
	}
	return &atomicFile{f, path, force}, nil
}

// commit syncs the file and gives it its name.
func (f *atomicFile) commit() error {
	if err := cmp.Or(f.Sync(), f.Close()); err != nil {
		return err
	}
	if f.force {
		return cmp.Or(os.Rename(f.File.Name(), f.path), syncDir(filepath.Dir(f.path)))
	}
	err := unix.Renameat2(unix.AT_FDCWD, f.File.Name(), unix.AT_FDCWD, f.path, unix.RENAME_NOREPLACE)
	if err == unix.EINVAL || err == unix.ENOSYS { // not supported by the file system or the kernel
		if _, statErr := os.Lstat(f.path); statErr == nil {
			err = unix.EEXIST
		} else {
			err = os.Rename(f.File.Name(), f.path)
		}
	}
	if err == unix.EEXIST {
		return fmt.Errorf("%s: someone has made it meanwhile: give another name, or --force to replace it", f.path)
	}
	return cmp.Or(err, syncDir(filepath.Dir(f.path)))
}

// discard deletes the file, unless it has been committed.
func (f *atomicFile) discard() {
	f.Close()
	os.Remove(f.File.Name())
}

// syncDir syncs the names in a folder to the card.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return cmp.Or(d.Sync(), d.Close())
}
