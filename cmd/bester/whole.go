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

// A wholeFile gets its name when all of it is written and synced: what is there under
// that name is never a part.
type wholeFile struct {
	*os.File
	name  string
	force bool
}

// createWhole begins a file. One that is there already is replaced only if force is
// given, and nothing but a file is; it may not be in the folder away.
func createWhole(name, away string, force bool) (*wholeFile, error) {
	info, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, usageError{fmt.Errorf("%s: is no file: write to it with > instead of --output", name)}
	case !force:
		return nil, usageError{fmt.Errorf("%s: is there already: give another name, or --force to replace it", name)}
	}
	folder := filepath.Dir(name)
	here, err := os.Stat(folder)
	if err != nil {
		return nil, err
	}
	if there, err := os.Stat(away); err == nil && os.SameFile(here, there) {
		return nil, usageError{fmt.Errorf("%s: is in the spool: choose another folder", name)}
	}
	f, err := os.CreateTemp(folder, "."+filepath.Base(name)+".*.part")
	if err != nil {
		return nil, err
	}
	return &wholeFile{f, name, force}, nil
}

// finish gives the file its name.
func (f *wholeFile) finish() error {
	if err := cmp.Or(f.Sync(), f.Close()); err != nil {
		return err
	}
	if f.force {
		return cmp.Or(os.Rename(f.File.Name(), f.name), syncFolder(filepath.Dir(f.name)))
	}
	err := unix.Renameat2(unix.AT_FDCWD, f.File.Name(), unix.AT_FDCWD, f.name, unix.RENAME_NOREPLACE)
	if err == unix.EINVAL || err == unix.ENOSYS { // the file system, or the kernel, is too simple
		if _, there := os.Lstat(f.name); there == nil {
			err = unix.EEXIST
		} else {
			err = os.Rename(f.File.Name(), f.name)
		}
	}
	if err == unix.EEXIST {
		return fmt.Errorf("%s: someone has made it meanwhile: give another name, or --force to replace it", f.name)
	}
	return cmp.Or(err, syncFolder(filepath.Dir(f.name)))
}

// abandon deletes the file, unless it has its name.
func (f *wholeFile) abandon() {
	f.Close()
	os.Remove(f.File.Name())
}

// syncFolder puts the names in a folder onto the card.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return cmp.Or(d.Sync(), d.Close())
}
