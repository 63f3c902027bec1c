package main

import (
	"bytes"
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/wire"
)

// stuckHub starts a hub that lets everybody in, and then answers nothing; without hello, it
// does not even do that. It returns the path of its socket.
func stuckHub(t *testing.T, hello bool) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	done := make(chan bool)
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns = append(conns, c)
			if hello {
				c.Write(bformat.Append(nil, wire.AppendHello(nil, &wire.Hello{Version: wire.Version, Role: wire.RoleHub, Name: "stuck", Credits: 3})))
			}
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
		for _, c := range conns {
			c.Close()
		}
	})
	return path
}

// Each command says what has not happened, with the same exit code wherever the hub is
// stuck, and not in the words of a library.
func TestStuckHub(t *testing.T) {
	for _, hello := range []bool{false, true} {
		path := stuckHub(t, hello)
		for args, want := range map[string]string{
			"send chat 1":           "did not answer in 100ms",
			"request chat 1":        "did not answer in 100ms",
			"status":                "did not answer in 100ms",
			"send --lines chat":     "did not answer in 100ms",
			"listen --for 1ms":      "did not answer in 100ms",
			"listen --for 1ms -n 1": "did not answer in 100ms",
		} {
			code := exitUnreachable
			if hello && strings.HasPrefix(args, "listen") { // it has its session
				code, want = 0, ""
				if strings.HasSuffix(args, "-n 1") {
					code, want = exitFailed, "0 of 1 messages came in 1ms"
				}
			}
			// On a busy machine the login may take longer than this: then it is not let in at all.
			timeout := "100ms"
			if hello && strings.HasPrefix(args, "listen") {
				timeout = "2m"
			}
			var out, stderr bytes.Buffer
			all := append(strings.Fields(args), "--hub", path, "--user", "ann", "--timeout", timeout)
			got := run(t.Context(), all, strings.NewReader("1\n"), &out, &stderr)
			if got != code || !strings.Contains(stderr.String(), want) || strings.Contains(stderr.String(), "context") {
				t.Errorf("hello %v: %s: exit code %d, %q; want %d, %q", hello, args, got, &stderr, code, want)
			}
		}
	}
}

// A session is not waited for after the time of the command is over.
func TestCloseIsWithinTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct{ timeout, want time.Duration }{
			{time.Hour, closeTimeout},
			{closeTimeout / 2, closeTimeout / 2},
			{-time.Second, 0},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), c.timeout)
			defer cancel()
			began := time.Now()
			closeClient(ctx, stuckSession{newFakeSession()})
			if took := time.Since(began); took != c.want {
				t.Errorf("with %v left: %v, want %v", c.timeout, took, c.want)
			}
		}
		// An interrupted command still says goodbye.
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		closeClient(ctx, stuckSession{newFakeSession()})
		if took := time.Since(began); took != closeTimeout {
			t.Errorf("interrupted: %v, want %v", took, closeTimeout)
		}
	})
}

// A stuckSession is one that the hub does not end.
type stuckSession struct{ *fakeSession }

func (stuckSession) Close(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}
