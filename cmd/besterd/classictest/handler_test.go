package classictest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// A handler stands in for somebody's handler process: it serves each connection on
// a goroutine of its own and counts them.
type handler struct {
	t        *testing.T
	l        net.Listener
	got      chan string // the data of each message, in the order of arrival
	accepted atomic.Int32
	serving  sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
}

// serve has f serve the connections to the handler of that type.
func (d *daemon) serve(kind string, f func(h *handler, c *conn)) *handler {
	d.t.Helper()
	path := filepath.Join(d.dir, socketOf(kind))
	os.Remove(path)
	l, err := net.Listen("unix", path)
	if err != nil {
		d.t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // a process that has died leaves its socket too
	h := &handler{t: d.t, l: l, got: make(chan string, 20000), conns: make(map[net.Conn]bool)}
	h.serving.Go(func() { h.accept(f) })
	d.t.Cleanup(h.close)
	return h
}

func (h *handler) accept(f func(*handler, *conn)) {
	for {
		c, err := h.l.Accept()
		if err != nil {
			return
		}
		h.accepted.Add(1)
		h.mu.Lock()
		h.conns[c] = true
		h.mu.Unlock()
		h.serving.Go(func() {
			f(h, &conn{Conn: c, t: h.t})
			c.Close()
			h.mu.Lock()
			delete(h.conns, c)
			h.mu.Unlock()
		})
	}
}

// close ends the handler and all its connections.
func (h *handler) close() {
	h.l.Close()
	h.mu.Lock()
	for c := range h.conns {
		c.Close()
	}
	h.mu.Unlock()
	h.serving.Wait()
}

// answer has f answer each message's data with a frame.
func (d *daemon) answer(kind string, f func(data string) string) *handler {
	d.t.Helper()
	return d.serve(kind, func(h *handler, c *conn) {
		data, err := readFrame(c)
		if err != nil {
			h.t.Errorf("handler of %q: %v", kind, err)
			return
		}
		h.got <- data
		c.Write(frame(f(data)))
	})
}

// reply has every message answered with the same frame.
func (d *daemon) reply(kind, body string) *handler {
	d.t.Helper()
	return d.answer(kind, func(string) string { return body })
}

// toUsers is a handler that sends what comes to these users.
func toUsers(names ...string) func(data string) string {
	return func(data string) string { return command("sendClients", list(names), data) }
}

// command is a handler's answer; arg and data are JSON.
func command(kind, arg, data string) string {
	return fmt.Sprintf(`{"header":{"status":"0","command":{"type":%s,"data":%s}},"data":%s}`, quote(kind), arg, data)
}

func list(names []string) string {
	var quoted []string
	for _, n := range names {
		quoted = append(quoted, quote(n))
	}
	return "[" + strings.Join(quoted, ",") + "]"
}
