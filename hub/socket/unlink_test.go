package socket

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

// A listener that closes removes its own socket, and not that of another that has taken its
// place meanwhile.
func TestOwnListener(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	listen := func() *OwnListener {
		t.Helper()
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		own, err := Own(l.(*net.UnixListener), path)
		if err != nil {
			t.Fatal(err)
		}
		return own
	}
	there := func() bool {
		_, err := os.Lstat(path)
		return err == nil
	}
	first := listen()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second := listen()
	if err := first.Close(); err != nil || !there() {
		t.Fatalf("the first has closed: %v; the second's socket is there: %t", err, there())
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if err := second.Close(); err != nil || there() {
		t.Errorf("the second has closed: %v; its socket is there: %t", err, there())
	}
	third := listen()
	second.Close() // once more
	if !there() {
		t.Error("a second Close has removed another's socket")
	}
	third.Close()
}
