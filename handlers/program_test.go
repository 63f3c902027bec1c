package handlers

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/hubtest"
	"github.com/besterhub/bester/hub/wire"
)

// A syncBuffer is a buffer for concurrent writers. lines waits until it has a text.
type syncBuffer struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	more chan struct{}
}

func newSyncBuffer() *syncBuffer { return &syncBuffer{more: make(chan struct{}, 1000)} }

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.more <- struct{}{}
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// lines waits for n lines with a text.
func (b *syncBuffer) lines(n int, text string) {
	for strings.Count(b.String(), text) < n {
		<-b.more
	}
}

func program() Program {
	return Program{Name: "passer", Summary: "Passes on.", Types: []string{"a/#", "b"},
		New: func() (hub.Handler, error) { return hub.HandlerFunc(hubtest.Pass), nil }}
}

func TestUsage(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	os.WriteFile(empty, nil, 0o600)
	for _, c := range []struct {
		args, out, err string
		code           int
	}{
		{"--help", "Usage: passer [flags]\n\nPasses on.\n", "", ExitOK},
		{"-h", "--concurrency N", "", ExitOK},
		{"--help", "patterns it serves, separated by commas (default a/#,b)", "", ExitOK},
		{"--version", "passer ", "", ExitOK},
		{"--nonsense", "", "passer: flag provided but not defined: -nonsense\nTry 'passer --help'.\n", ExitUsage},
		{"word", "", `unexpected argument "word"`, ExitUsage},
		{"--concurrency 0", "", "--concurrency 0: want 1 to 1024", ExitUsage},
		{"--concurrency x", "", "invalid value", ExitUsage},
		{"--types a/#/b", "", "--types: pattern \"a/#/b\"", ExitUsage},
		{"--user u", "", "go together", ExitUsage},
		{"--user u --password-file /nowhere", "", "--password-file: /nowhere: there is no such file", ExitUsage},
		{"--user u --password-file " + empty, "", "no password in its first line", ExitUsage},
	} {
		var out, err bytes.Buffer
		code := program().Run(t.Context(), strings.Fields(c.args), &out, &err)
		if code != c.code || !contains(out.String(), c.out) || !contains(err.String(), c.err) || (c.err == "") != (err.Len() == 0) {
			t.Errorf("%s: exit %d, want %d\n%s%s", c.args, code, c.code, out.String(), err.String())
		}
	}
}

func TestOwnFlagsAndTheirErrors(t *testing.T) {
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	delta := fs.Float64("delta", 0.5, "changes below `X` are held back")
	p := program()
	p.Flags = fs
	p.New = func() (hub.Handler, error) { return nil, fmt.Errorf("--delta %v: want more", *delta) }
	var out, err bytes.Buffer
	if code := p.Run(t.Context(), []string{"--delta", "0.25"}, &out, &err); code != ExitUsage || !contains(err.String(), "passer: --delta 0.25: want more") {
		t.Errorf("exit %d: %s", code, err.String())
	}
	p.Run(t.Context(), []string{"--help"}, &out, &err)
	if !contains(out.String(), "--delta X              changes below X are held back (default 0.5)") {
		t.Error(out.String())
	}
}

// listenFakeHub listens as a hub and serves each connection with the next of serve.
func listenFakeHub(t *testing.T, serve ...func(f *fakeHub)) (socket string) {
	dir, err := os.MkdirTemp("", "kit")
	if err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for _, f := range serve {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f(newFake(t, c))
			c.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-ended
		os.RemoveAll(dir)
	})
	return socket
}

func TestProgramReconnectsUntilItIsStopped(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	welcome := func(f *fakeHub) { f.write(wire.AppendHello(nil, &wire.Hello{Version: 1, Role: "hub"})) }
	socket := listenFakeHub(t,
		func(f *fakeHub) { f.write(wire.AppendStatus(nil, 0, hub.ErrClosed)) }, // closing: will pass
		welcome,
		welcome,
		func(f *fakeHub) {
			f.welcome()
			if f.hello.Name != "passer" || strings.Join(f.hello.Types, " ") != "a/# b" {
				t.Errorf("hello %+v", f.hello)
			}
			stop()
			<-f.ended
		})
	log := newSyncBuffer()
	if code := program().Run(ctx, []string{"--socket", socket}, nil, log); code != ExitOK {
		t.Errorf("exit %d", code)
	}
	if n := strings.Count(log.String(), "msg=connected"); n != 3 {
		t.Errorf("%d lines about being connected, want 3:\n%s", n, log)
	}
	if !contains(log.String(), "refused by the hub: closed") || !contains(log.String(), "the hub closed it") {
		t.Error(log)
	}
}

func TestProgramWithoutAHubLogsOnce(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	dir := t.TempDir()
	log := newSyncBuffer()
	code := make(chan int)
	go func() { code <- program().Run(ctx, []string{"--socket", filepath.Join(dir, "s")}, nil, log) }()
	log.lines(1, "trying again")
	stop()
	if c := <-code; c != ExitOK {
		t.Errorf("exit %d", c)
	}
	if n := strings.Count(log.String(), "\n"); n != 1 || !contains(log.String(), "s: there is no such socket") {
		t.Error(log)
	}
}

func TestRefusedProgramEnds(t *testing.T) {
	socket := listenFakeHub(t, func(f *fakeHub) {
		if f.hello.User != "u" || f.hello.Password != "secret" {
			t.Errorf("hello %+v", f.hello)
		}
		f.write(wire.AppendStatus(nil, 0, hub.ErrDenied))
	})
	file := filepath.Join(t.TempDir(), "password")
	os.WriteFile(file, []byte("secret\nand more"), 0o600)
	log := newSyncBuffer()
	args := []string{"--socket", socket, "--user", "u", "--password-file", file}
	if code := program().Run(t.Context(), args, nil, log); code != ExitRefused {
		t.Errorf("exit %d", code)
	}
}

func TestProgramStartedByTheHubEndsWithItsConnection(t *testing.T) {
	t.Setenv("BESTER_HANDLER", "named")
	for _, c := range []struct {
		name  string
		serve func(f *fakeHub)
		code  int
	}{
		{"lost", func(f *fakeHub) { f.write(wire.AppendHello(nil, &wire.Hello{Version: 1, Role: "hub"})) }, ExitFailed},
		{"goodbye", func(f *fakeHub) {
			f.write(wire.AppendHello(nil, &wire.Hello{Version: 1, Role: "hub"}))
			f.write(wire.AppendGoodbye(nil, ""))
		}, ExitOK},
		{"refused", func(f *fakeHub) {
			if f.hello.Name != "named" {
				t.Errorf("name %q", f.hello.Name)
			}
			f.write(wire.AppendStatus(nil, 0, hub.ErrDenied))
		}, ExitRefused},
	} {
		t.Setenv("BESTER_SOCKET", listenFakeHub(t, c.serve))
		log := newSyncBuffer()
		if code := program().Run(t.Context(), nil, nil, log); code != c.code {
			t.Errorf("%s: exit %d, want %d: %s", c.name, code, c.code, log)
		}
		if contains(log.String(), "time=") {
			t.Errorf("%s: the hub's log has times of its own: %s", c.name, log)
		}
	}
	t.Setenv("BESTER_SOCKET", "/nowhere/at/all")
	if code := program().Run(t.Context(), nil, nil, newSyncBuffer()); code != ExitFailed {
		t.Errorf("no hub: exit %d", code)
	}
}

// A handler is one function and one call. (This one ends at once, because its context has ended.)
func ExampleProgram() {
	p := Program{
		Name:  "celsius",
		Types: []string{"reading/#"},
		New: func() (hub.Handler, error) {
			return hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error {
				if len(m.Data.Bytes) == 0 {
					return errors.New("nothing was measured")
				}
				a.Pass(m.Data)
				return nil
			}), nil
		},
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	fmt.Println("exit code", p.Run(ctx, []string{"--socket", "/run/bester/bester.sock"}, os.Stdout, os.Stderr))
	// Output: exit code 0
}
