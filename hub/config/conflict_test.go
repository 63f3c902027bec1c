package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestListenersThatClash(t *testing.T) {
	for _, c := range []struct {
		a, b Listen
		want bool
	}{
		{Listen{Network: TCP4, Address: "0.0.0.0:1"}, Listen{Network: TCP4, Address: "127.0.0.1:1"}, true},
		{Listen{Network: TCP4, Address: ":1"}, Listen{Network: TCP4, Address: "127.0.0.1:1"}, true},
		{Listen{Network: TCP4, Address: ":1"}, Listen{Network: TCP4, Address: "127.0.0.1:2"}, false},
		{Listen{Network: TCP4, Address: ":0"}, Listen{Network: TCP4, Address: ":0"}, false},
		{Listen{Network: TCP4, Address: "127.0.0.1:1"}, Listen{Network: TCP4, Address: "127.0.0.2:1"}, false},
		{Listen{Network: TCP4, Address: ":1"}, Listen{Network: TCP6, Address: ":1"}, false},
		{Listen{Network: TLS, Address: ":1"}, Listen{Network: TCP4, Address: "127.0.0.1:1"}, true},
		{Listen{Network: TLS, Address: "[::]:1"}, Listen{Network: TCP6, Address: "[::1]:1"}, true},
		{Listen{Network: TLS, Address: "0.0.0.0:1"}, Listen{Network: TCP6, Address: "[::]:1"}, false},
		{Listen{Network: TLS, Address: "[::ffff:127.0.0.1]:1"}, Listen{Network: TCP4, Address: "127.0.0.1:1"}, true},
		{Listen{Network: Unix, Address: "a/../hub.sock"}, Listen{Network: Unix, Address: "./hub.sock"}, true},
		{Listen{Network: Unix, Address: "a.sock"}, Listen{Network: Unix, Address: "b.sock"}, false},
	} {
		if got := conflict(&c.a, &c.b); got != c.want || conflict(&c.b, &c.a) != c.want {
			t.Errorf("%v and %v: got %v, want %v", c.a, c.b, got, c.want)
		}
	}
}

// A config in a folder that this user may not enter is not passed over in silence.
func TestFileThatIsHidden(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may look everywhere")
	}
	closed, own := t.TempDir(), write(t, "bester.toml", "")
	if err := os.Chmod(closed, 0); err != nil {
		t.Fatal(err)
	}
	got, hidden := firstOf([]string{filepath.Join(closed, "bester.toml"), own})
	if got != own || hidden == nil || !strings.Contains(hidden.Error(), "sudo") {
		t.Errorf("got %q, %v", got, hidden)
	}
	if got, hidden := firstOf([]string{filepath.Join(t.TempDir(), "none.toml"), own}); got != own || hidden != nil {
		t.Errorf("got %q, %v", got, hidden)
	}
}
