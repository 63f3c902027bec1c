package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/besterhub/bester/handlers"
	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/hubtest"
	"github.com/besterhub/bester/hub/wire"
)

// A testHub is a router and its handlers behind a real UNIX socket.
type testHub struct {
	*Groups
	t      testing.TB
	router *hub.Router
	socket string
	rights hub.Rights     // of all processes
	conns  sync.WaitGroup // Attach calls
	log    *logRecorder
}

// newHub starts a hub; the test fails if it leaves a goroutine behind.
func newHub(t testing.TB, o Options) *testHub {
	t.Helper()
	leaks := goleak.IgnoreCurrent()
	h := &testHub{t: t, router: hub.NewRouter(hub.RouterOptions{}), log: newLogRecorder()}
	h.socket = filepath.Join(shortDir(t), "hub")
	if o.Log == nil {
		o.Log = slog.New(h.log)
	}
	h.Groups = NewGroups(GroupsOptions{Options: o, Router: h.router, Name: "test"})
	l, err := net.Listen("unix", h.socket)
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			h.conns.Go(func() { h.accept(c) })
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-accepted
		ctx, cancel := context.WithTimeout(context.Background(), hubtest.WaitTimeout)
		defer cancel()
		h.Shutdown(ctx)
		h.conns.Wait()
		goleak.VerifyNone(t, leaks)
	})
	return h
}

// accept reads the hello, as the listener does.
func (h *testHub) accept(c net.Conn) {
	in := bformat.NewReader(c, 4096)
	frame, err := in.Next()
	if err != nil {
		c.Close()
		return
	}
	_, _, body, err := wire.Cut(frame)
	if err == nil {
		var hello *wire.Hello
		if hello, err = wire.ParseHello(body); err == nil {
			h.Attach(c, in, hello, h.rights)
			return
		}
	}
	h.t.Errorf("hello: %v", err)
	c.Close()
}

// shortDir is a directory with a name short enough for the sockets in it.
func shortDir(t testing.TB) string {
	dir, err := os.MkdirTemp("", "link")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// kit runs a handler made with the kit, in this process, until the test ends or the
// returned function is called.
func (h *testHub) kit(f hub.Handler, o handlers.Options, types ...string) (stop func()) {
	h.t.Helper()
	c, err := net.Dial("unix", h.socket)
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	o.Ready = func() { close(ready) }
	go func() { done <- handlers.Serve(ctx, c, f, types, o) }()
	select {
	case <-ready:
	case err := <-done:
		h.t.Fatalf("kit: %v", err)
	}
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			h.t.Errorf("kit: %v", err)
		}
	})
	h.t.Cleanup(stop)
	return stop
}

// until waits until the handler's counters meet a condition.
func (h *testHub) until(name, what string, ok func(Stats) bool) Stats {
	h.t.Helper()
	return until(h.t, what, func() (Stats, bool) {
		for _, s := range h.Stats() {
			if s.Name == name {
				return s, ok(s)
			}
		}
		return Stats{}, ok(Stats{})
	})
}

// until polls, because nothing signals a change of a counter.
func until(t testing.TB, what string, poll func() (Stats, bool)) Stats {
	t.Helper()
	deadline := time.Now().Add(hubtest.WaitTimeout)
	for {
		s, ok := poll()
		if ok {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: never; counters: %+v", what, s)
		}
		time.Sleep(time.Millisecond)
	}
}

// A logRecorder keeps the lines that were logged.
type logRecorder struct {
	mu    sync.Mutex
	lines []string
	more  chan struct{}
}

func newLogger(b *logRecorder) *slog.Logger { return slog.New(b) }

func newLogRecorder() *logRecorder { return &logRecorder{more: make(chan struct{})} }

func (b *logRecorder) Enabled(context.Context, slog.Level) bool { return true }
func (b *logRecorder) WithAttrs([]slog.Attr) slog.Handler       { return b }
func (b *logRecorder) WithGroup(string) slog.Handler            { return b }
func (b *logRecorder) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		return true
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, line)
	close(b.more)
	b.more = make(chan struct{})
	return nil
}

// wait waits for the nth line that is ok.
func (b *logRecorder) wait(t testing.TB, n int, ok func(string) bool) string {
	t.Helper()
	deadline := time.After(hubtest.WaitTimeout)
	for {
		b.mu.Lock()
		found := 0
		for _, l := range b.lines {
			if ok(l) {
				if found++; found == n {
					b.mu.Unlock()
					return l
				}
			}
		}
		all, more := b.lines, b.more
		b.mu.Unlock()
		select {
		case <-more:
		case <-deadline:
			t.Fatalf("the log never had that line; it has %q", all)
		}
	}
}

func message(typ, from string, n int, data string) *hub.Message {
	return &hub.Message{
		Type: hub.Type(typ), From: hub.Address{User: hub.UserName(from)}, ID: hub.ID{Origin: "test", Number: uint64(n)},
		Data: hub.Data{Encoding: hub.JSON, Bytes: []byte(data)},
	}
}

func wantErr(t testing.TB, err, want error, text string) {
	t.Helper()
	if !errors.Is(err, want) || err == nil || !contains(err.Error(), text) {
		t.Errorf("got error %v, want one that wraps %v and says %q", err, want, text)
	}
}
