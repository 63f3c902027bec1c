package loopfs

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

var folder = flag.String("spool.loop", "", "folder for images of file systems to test with (needs root); if empty, no such tests")

func TestFS(t *testing.T) {
	if *folder == "" {
		t.Skip("-spool.loop is not set")
	}
	image := filepath.Join(*folder, "loopfs.img")
	left, err := New(image, 32<<20)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(image, 32<<20); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Fatalf("New of what is in use: %v", err)
	}
	// A killed process leaves its mount, but nothing open.
	left.lock.Close()
	left.loop.Close()
	fs, err := New(image, 32<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Close()
	name := filepath.Join(fs.Dir, "file")
	write := func(n int) error {
		f, err := os.Create(name)
		if err != nil {
			return err
		}
		defer f.Close()
		if _, err := f.Write(bytes.Repeat([]byte{1}, n)); err != nil {
			return err
		}
		return f.Sync()
	}
	before, err := fs.Written()
	if err != nil {
		t.Fatal(err)
	}
	if err := write(1 << 20); err != nil {
		t.Fatal(err)
	}
	after, err := fs.Written()
	if n := after - before; err != nil || n < 1<<20 || n > 1<<20+200<<10 {
		t.Errorf("%d bytes written for %d, %v", n, 1<<20, err)
	}
	if err := fs.Remount(true); err != nil {
		t.Fatal(err)
	}
	if err := write(1); !errors.Is(err, unix.EROFS) {
		t.Errorf("write, read-only: %v", err)
	}
	if err := fs.Remount(false); err != nil {
		t.Fatal(err)
	}
	if err := fs.Fill(0); err != nil {
		t.Fatal(err)
	}
	name += "2"
	if err := write(4096); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("write, full: %v", err)
	}
	if err := errors.Join(fs.Empty(), write(4096)); err != nil {
		t.Error(err)
	}
	if err := fs.Unmount(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("unmounted: %v", err)
	}
	if err := fs.Mount(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(name); err != nil {
		t.Error(err)
	}
	if err := DropCaches(); err != nil {
		t.Error(err)
	}
	if err := fs.Close(); err != nil {
		t.Fatal(err)
	}
	if names, _ := filepath.Glob(image + "*"); len(names) > 0 {
		t.Errorf("left: %v", names)
	}
}
