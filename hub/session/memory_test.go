package session

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/account"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/wire"
)

// idleHub names an environment variable that makes the test binary run a hub of its own
// with that accounts file. So the memory of its sessions can be measured without that of
// their peers.
const idleHub = "BESTER_TEST_IDLE_HUB"

// serveIdle runs that hub. It prints its TCP and TLS addresses and, for each line on its
// input, how many bytes it has in memory.
func serveIdle() {
	// Logins that are not cached cost the most memory.
	store, err := account.Open(os.Getenv(idleHub), account.Options{CacheTTL: -1})
	if err != nil {
		panic(err)
	}
	s := NewServer(Options{Router: hub.NewRouter(hub.RouterOptions{Name: "idle"}), Hub: "idle", Accounts: store, Limits: Limits{MaxConnections: 10_000}})
	for _, network := range []string{"tcp4", "tls"} {
		l, err := Listen(network, "127.0.0.1:0", ListenOptions{TLS: &tls.Config{Certificates: []tls.Certificate{certificate()}}})
		if err != nil {
			panic(err)
		}
		go s.Serve(l)
		fmt.Println(l.Addr())
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		debug.FreeOSMemory() // what the logins have left behind
		statm, err := os.ReadFile("/proc/self/statm")
		if err != nil {
			panic(err)
		}
		fmt.Println(strings.Fields(string(statm))[1], s.Stats().Sessions)
	}
}

// A thousand idle sessions: measures by how much the resident memory of the hub's process
// grows, without garbage.
func TestIdleSessionsCostLittle(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector has its own memory")
	}
	path := filepath.Join(t.TempDir(), "accounts")
	store, err := account.Create(path, account.Options{Cost: 4})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Add("ann", "p", account.DefaultPermissions()); err != nil {
		t.Fatal(err)
	}
	const warm = 20
	for i, c := range []struct {
		network string
		n       int
		most    int // bytes a session
	}{{"tcp", 1000, 16 << 10}, {"tls", 250, 48 << 10}} {
		t.Run(c.network, func(t *testing.T) {
			p := startIdle(t, path)
			for range warm {
				p.dial(t, c.network, i)
			}
			before := p.resident(t, warm)
			for range c.n {
				p.dial(t, c.network, i)
			}
			each := (p.resident(t, warm+c.n) - before) / c.n
			t.Logf("%d bytes a session", each)
			if each > c.most {
				t.Errorf("an idle session costs %d bytes, want at most %d", each, c.most)
			}
		})
	}
}

// An idleProcess runs serveIdle in a process of its own.
type idleProcess struct {
	ask       io.Writer
	say       *bufio.Scanner
	addresses [2]string
}

func startIdle(t *testing.T, accounts string) *idleProcess {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), idleHub+"="+accounts)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	switch err := cmd.Start(); {
	case errors.Is(err, syscall.ENOEXEC):
		t.Skip("built for another machine: the emulator that runs this cannot start a second process, nor would its memory be the hub's")
	case err != nil:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	p := &idleProcess{ask: in, say: bufio.NewScanner(out)}
	for i := range p.addresses {
		p.say.Scan()
		p.addresses[i] = p.say.Text()
	}
	return p
}

func (p *idleProcess) dial(t *testing.T, network string, i int) {
	t.Helper()
	var c net.Conn
	var err error
	if network == "tls" {
		c, err = tls.Dial("tcp", p.addresses[i], &tls.Config{InsecureSkipVerify: true})
	} else {
		c, err = net.Dial("tcp", p.addresses[i])
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.Write(bformat.Append(nil, wire.AppendHello(nil, &wire.Hello{Version: wire.Version, Role: wire.RoleClient, User: "ann", Password: "p"})))
	if _, err := bformat.NewReader(c, 0).Next(); err != nil {
		t.Fatal(err)
	}
}

func (p *idleProcess) resident(t *testing.T, sessions int) int {
	t.Helper()
	io.WriteString(p.ask, "\n")
	p.say.Scan()
	var pages, have int
	if _, err := fmt.Sscan(p.say.Text(), &pages, &have); err != nil || have != sessions {
		t.Fatalf("%q: %v: want %d sessions", p.say.Text(), err, sessions)
	}
	return pages * os.Getpagesize()
}
