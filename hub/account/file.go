package account

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// open opens an accounts file for reading. It refuses a file that group or others can
// access. The caller closes it.
func open(path string) (*os.File, error) {
	// Without O_NONBLOCK, opening a FIFO would block forever.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if to, linkErr := os.Readlink(path); linkErr == nil { // not a file that is yet to be made
			return nil, fmt.Errorf("account: %s is a link to %s, which is not there", path, to)
		}
		return nil, fmt.Errorf(`account: %w: make it with "bester account add"`, err)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("account: %w: only its owner may (see ls -l %[2]s)", err, path)
	case err != nil:
		return nil, fmt.Errorf("account: %w", err)
	}
	st, err := f.Stat()
	switch {
	case err != nil:
		err = fmt.Errorf("account: %w", err)
	case !st.Mode().IsRegular():
		err = fmt.Errorf("account: %s is not a regular file: name the file that the accounts are in", path)
	case st.Mode().Perm()&0o077 != 0:
		err = fmt.Errorf("account: %s: group or others have access to it (mode %04o): chmod 600 %[1]s", path, st.Mode().Perm())
	default:
		return f, nil
	}
	f.Close()
	return nil, err
}

// read reads and parses an open file. path is for the errors.
func read(f *os.File, path string) (*document, error) {
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("account: %w", err)
	}
	d, err := parse(data)
	if bad, ok := errors.AsType[*SyntaxError](err); ok {
		bad.Path = path
	}
	return d, err
}

// lock opens the file that path points to and locks it against other processes and
// Stores. It waits for the present holder of the lock, which takes as long as writing
// the file. Closing the file releases the lock, and so does the end of the process.
func lock(path string) (f *os.File, target string, err error) {
	target, err = filepath.EvalSymlinks(path)
	if err != nil {
		_, err = open(path) // says the same, and what to do
		return nil, "", err
	}
	for {
		f, err = open(target)
		if err != nil {
			return nil, "", err
		}
		if err = flock(f); err == nil {
			var current bool
			if current, err = sameFile(f, target); current {
				return f, target, nil
			}
		}
		f.Close()
		if err != nil {
			return nil, "", fmt.Errorf("account: lock %s: %w", target, err)
		}
		// The file was replaced meanwhile, so the lock is on the old one.
	}
}

func flock(f *os.File) error {
	for {
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != syscall.EINTR {
			return err
		}
	}
}

// sameFile reports whether f is the file that is now at path.
func sameFile(f *os.File, path string) (bool, error) {
	have, err := f.Stat()
	if err != nil {
		return false, err
	}
	there, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	return os.SameFile(have, there), nil
}

// replaceAtomically writes data to a temporary file beside target and renames it over
// target, which f is locked on. After an error the old file is intact, unless the last
// step failed, syncing the folder: then the new file is in place, but a power cut may
// bring the old one back.
func replaceAtomically(f *os.File, target string, data []byte) error {
	err := writeTemp(f, target+".new", data)
	if err == nil {
		err = os.Rename(target+".new", target)
	}
	if err != nil {
		os.Remove(target + ".new")
		return fmt.Errorf("account: nothing was changed: %w", err)
	}
	if err := syncDir(filepath.Dir(target)); err != nil {
		return fmt.Errorf("account: changed, but a power cut may undo it: %w", err)
	}
	return nil
}

// writeTemp writes the temporary file at path with the owner and mode of old.
func writeTemp(old *os.File, path string, data []byte) error {
	st, err := old.Stat()
	if err != nil {
		return err
	}
	// A stale temporary file, left by a crash, is removed unread. The lock ensures that
	// nobody else writes it now, and a symbolic link in its place is not followed.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = func() error {
		owner := st.Sys().(*syscall.Stat_t)
		if int(owner.Uid) != os.Geteuid() || int(owner.Gid) != os.Getegid() {
			if err := f.Chown(int(owner.Uid), int(owner.Gid)); err != nil {
				return err
			}
		}
		if err := f.Chmod(st.Mode().Perm()); err != nil {
			return err
		}
		if _, err := f.Write(data); err != nil {
			return err
		}
		return f.Sync()
	}()
	return errors.Join(err, f.Close())
}

// create creates a file without accounts and its folder, unless the file exists.
func create(path string) error {
	dir := filepath.Dir(path)
	err := os.MkdirAll(dir, 0o700)
	var f *os.File
	if err == nil {
		f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("account: make %s: %w: do it as root (sudo), or name a file of your own", path, err)
	case err != nil:
		return fmt.Errorf("account: %w", err)
	}
	defer f.Close()
	// A file that root creates in the hub's folder must be readable by the hub.
	if st, err := os.Stat(dir); err == nil && os.Geteuid() == 0 {
		owner := st.Sys().(*syscall.Stat_t)
		if err := f.Chown(int(owner.Uid), int(owner.Gid)); err != nil {
			return fmt.Errorf("account: %w", err)
		}
	}
	d := document{tail: []string{noAccounts}}
	if _, err = f.Write(d.seal()); err == nil {
		err = f.Sync()
	}
	if err != nil {
		f.Truncate(0) // a part of the text would be an error at the next attempt
		return fmt.Errorf("account: make %s: %w", path, err)
	}
	if err := syncDir(dir); err != nil {
		return fmt.Errorf("account: %w", err)
	}
	return nil
}

// syncDir makes renames and new files in a folder durable.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
