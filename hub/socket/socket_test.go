package socket

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The system takes a path of MaxPath bytes, and none that is longer.
func TestMaxPath(t *testing.T) {
	t.Chdir(t.TempDir()) // a relative path leaves room for its name
	for n, want := range map[int]error{MaxPath: nil, MaxPath + 1: syscall.EINVAL} {
		l, err := net.Listen("unix", strings.Repeat("x", n))
		if !errors.Is(err, want) {
			t.Errorf("%d bytes: got %v, want %v", n, err, want)
		}
		if err == nil {
			l.Close()
		}
	}
}

func TestRemoveStale(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if err := RemoveStale(path); err != nil {
		t.Errorf("nothing there: %v", err)
	}

	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if err := RemoveStale(path); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("served: got %v, want EADDRINUSE", err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("a live socket was removed: %v", err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	if err := RemoveStale(path); err != nil {
		t.Errorf("served no more: %v", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a stale socket was kept: %v", err)
	}

	if err := os.WriteFile(path, []byte("dear"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := RemoveStale(path); err == nil || !strings.Contains(err.Error(), "is no socket: remove it or choose another path") {
		t.Errorf("a file: got %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "dear" {
		t.Errorf("the file was touched: %q, %v", b, err)
	}
	if err := RemoveStale(filepath.Join(path, "s")); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("below a file: got %v, want ENOTDIR", err)
	}
}
