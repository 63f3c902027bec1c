package session

import (
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/besterhub/bester/hub/socket"
)

func TestSocketInUseIsNotTaken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	first, err := Listen("unix", path, ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if l, err := Listen("unix", path, ListenOptions{}); err == nil {
		l.Close()
		t.Error("a live socket was taken")
	} else if !strings.Contains(err.Error(), "in use by another program: stop it or choose another path") {
		t.Errorf("got %v", err)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("the first one suffered: %v", err)
	}
	c.Close()
}

func TestStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	first, err := Listen("unix", path, ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	first.Listener.(*socket.OwnListener).UnixListener.Close() // its file stays behind, as after kill -9
	second, err := Listen("unix", path, ListenOptions{})
	if err != nil {
		t.Fatalf("a stale socket was not replaced: %v", err)
	}
	second.Close()
	if _, err := os.Lstat(path); err == nil {
		t.Error("the socket's file stayed behind")
	}
}

func TestFileThatIsNoSocketIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "diary")
	if err := os.WriteFile(path, []byte("dear"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen("unix", path, ListenOptions{}); err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("got %v", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "dear" {
		t.Error("the file was touched")
	}
}

func TestSocketsModeAndGroup(t *testing.T) {
	old := syscall.Umask(0o077) // has no say
	defer syscall.Umask(old)
	gid := os.Getegid()
	g, err := user.LookupGroupId(strconv.Itoa(gid))
	if err != nil {
		t.Skipf("group %d has no name here: %v", gid, err)
	}
	for _, c := range []struct {
		o    ListenOptions
		want fs.FileMode
	}{{ListenOptions{}, 0o660}, {ListenOptions{Mode: 0o600}, 0o600}, {ListenOptions{Mode: 0o666, Group: g.Name}, 0o666}} {
		path := filepath.Join(t.TempDir(), "s")
		l, err := Listen("unix", path, c.o)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != c.want {
			t.Errorf("%+v: got mode %o", c.o, got)
		}
		if got := int(info.Sys().(*syscall.Stat_t).Gid); got != gid {
			t.Errorf("%+v: got group %d", c.o, got)
		}
		l.Close()
	}
	path := filepath.Join(t.TempDir(), "s")
	if _, err := Listen("unix", path, ListenOptions{Group: "no-such-group"}); err == nil || !strings.Contains(err.Error(), `group "no-such-group"`) || !strings.Contains(err.Error(), "groupadd") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("a socket stayed behind")
	}
}

func TestListenErrors(t *testing.T) {
	taken, err := Listen("tcp4", "127.0.0.1:0", ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, c := range []struct{ network, address, want string }{
		{"tcp4", taken.Addr().String(), "listen tcp4 " + taken.Addr().String() + ": in use by another program: stop it or choose another port"},
		{"tls", "127.0.0.1:0", "listen tls 127.0.0.1:0: no certificate"},
		{"udp", "127.0.0.1:0", `listen: unknown network "udp": want unix, tcp4, tcp6 or tls`},
		{"unix", "/" + strings.Repeat("x", 107), "108 bytes: the system takes at most 107"},
		{"unix", filepath.Join(t.TempDir(), "none", "s"), "no such file or directory"},
		{"tcp4", "nonsense", "listen tcp4 nonsense: "},
	} {
		if l, err := Listen(c.network, c.address, ListenOptions{}); err == nil {
			l.Close()
			t.Errorf("%s %s was opened", c.network, c.address)
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
	}
}

func TestListenersAreNamedAsInTheOriginal(t *testing.T) {
	h := run(t, Options{})
	h.native(t, "ann") // so it is accepting
	for _, p := range []*peer{h.peer(t, "tcp", h.tcp), h.peer(t, "tls", h.tls)} {
		p.text("x")
		p.wantIn("bad")
	}
	var got []string
	for _, l := range h.Listeners() {
		got = append(got, l.String())
	}
	all := strings.Join(got, " ")
	for _, want := range []string{"tcp4://" + h.tcp, "tls://" + h.tls, "unix://" + h.unix} {
		if !strings.Contains(all, want) {
			t.Errorf("no %s in %s", want, all)
		}
	}
}
