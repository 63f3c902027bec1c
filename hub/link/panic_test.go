package link

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/hubtest"
	"github.com/besterhub/bester/hub/wire"
)

// A bug is where an answer goes, and panics there.
type bug struct {
	in   string        // "command", "receipt" or "flush"
	done chan struct{} // closed when the answer is done
}

func newBug(in string) *bug { return &bug{in, make(chan struct{})} }

func (b *bug) Do(*hub.Answer, *hub.Command) {
	if b.in == "command" {
		panic("a bug")
	}
}

func (b *bug) Done(a *hub.Answer, _ error) {
	close(b.done)
	switch b.in {
	case "receipt":
		panic("a bug")
	case "flush":
		if batch := a.Message().Batch; batch != nil {
			batch.Add(b)
			batch.Add(b) // both are flushed, and what comes after them
			return
		}
		b.Flush()
	}
}

func (b *bug) Flush() { panic("a bug") }

// send sends a message to h whose answer meets the bug.
func (b *bug) send(h hub.Handler) {
	a := hub.NewAnswer(message("reading/a", "bug", 0, "1"), b)
	h.Handle(a.Message(), a)
}

// wantOne waits until the bug has failed its message, and nothing else. It hangs if the bug
// has left a lock locked.
func (b *bug) wantOne(t *testing.T, log *logRecorder, stats func() Stats) {
	t.Helper()
	<-b.done
	until(t, "a panic and no message left", func() (Stats, bool) {
		s := stats()
		return s, s.Panics >= 1 && s.Waiting+s.InFlight == 0
	})
	if s := stats(); b.in != "flush" && s.Failed != 1 {
		t.Errorf("stats %+v", s)
	}
	log.wait(t, 1, func(l string) bool {
		return contains(l, "a bug of the hub failed a message; please report it handler=") && contains(l, "panic=a bug") && contains(l, "panic_test.go")
	})
}

var bugs = []string{"command", "receipt", "flush"}

// A bug in a receiver or receipt fails its message alone: neither the hub ends nor the
// process's connection, and the handler works on.
func TestPanicFailsOneMessage(t *testing.T) {
	for _, in := range bugs {
		t.Run("answer, "+in, func(t *testing.T) {
			h := newHub(t, Options{})
			p := h.peer(hello(4))
			g, b := h.Group("x"), newBug(in)
			b.send(g)
			tag, _ := p.handle()
			p.reply(tag, "ok")
			b.wantOne(t, h.log, g.Stats)
			var as hubtest.Answers
			ask(&as, g, "anna", 1)
			tag, _ = p.handle()
			p.reply(tag, "ok")
			if a := as.Wait(t, 1)[0]; a.Err != nil {
				t.Error(a.Err)
			}
		})
		t.Run("classic, "+in, func(t *testing.T) {
			path, log := filepath.Join(shortDir(t), "s"), newLogRecorder()
			classicServer(t, path, answering(frame(good)))
			c, b := newClassic(t, ClassicConfig{Path: path, MaxConnections: 1, Options: Options{Log: newLogger(log)}}), newBug(in)
			b.send(c)
			b.wantOne(t, log, c.Stats)
			var as hubtest.Answers
			ask(&as, c, "anna", 3)
			for _, a := range as.Wait(t, 3) {
				if a.Err != nil {
					t.Error(a.Err)
				}
			}
		})
		if in == "command" {
			continue // what fails has none
		}
		t.Run("timeout, "+in, func(t *testing.T) {
			h := newHub(t, Options{Timeout: 10 * time.Millisecond})
			p := h.peer(hello(4))
			g, b := h.Group("x"), newBug(in)
			b.send(g)
			p.handle()
			b.wantOne(t, h.log, g.Stats)
			var as hubtest.Answers
			ask(&as, g, "anna", 1) // times out too
			wantErr(t, as.Wait(t, 1)[0].Err, hub.ErrTimeout, "")
		})
		t.Run("process ends, "+in, func(t *testing.T) {
			h := newHub(t, Options{})
			g, err := h.Add(Config{Name: "x", Types: []hub.Pattern{}})
			if err != nil {
				t.Fatal(err)
			}
			p, b := h.peer(hello(4)), newBug(in)
			b.send(g)
			p.handle()
			p.conn.Close()
			b.wantOne(t, h.log, g.Stats)
			h.until("x", "disconnected", func(s Stats) bool { return s.Processes == 0 })
		})
		t.Run("shutdown, "+in, func(t *testing.T) {
			h := newHub(t, Options{})
			g, err := h.Add(Config{Name: "x", Types: []hub.Pattern{}})
			if err != nil {
				t.Fatal(err)
			}
			b := newBug(in)
			b.send(g)
			if err := g.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			b.wantOne(t, h.log, g.Stats)
		})
		t.Run("slot, "+in, func(t *testing.T) {
			log := newLogRecorder()
			s := NewSlot("x", Options{Log: newLogger(log)})
			b := newBug(in)
			b.send(s)
			s.Close(hub.ErrClosed)
			<-b.done
			log.wait(t, 1, func(l string) bool { return contains(l, "a bug of the hub") })
			s.Install(hub.HandlerFunc(hubtest.Pass))
			var as hubtest.Answers
			ask(&as, s, "anna", 1)
			as.Wait(t, 1)
		})
		t.Run("slot to a handler, "+in, func(t *testing.T) {
			log := newLogRecorder()
			s, c := NewSlot("x", Options{Log: newLogger(log)}), newClassic(t, ClassicConfig{})
			ended, end := context.WithCancel(t.Context())
			end()
			c.Shutdown(ended) // it refuses what it gets
			b := newBug(in)
			b.send(s)
			s.Install(c)
			<-b.done
			log.wait(t, 1, func(l string) bool { return contains(l, "a bug of the hub") })
			var as hubtest.Answers
			ask(&as, s, "anna", 1)
			wantErr(t, as.Wait(t, 1)[0].Err, hub.ErrClosed, "")
		})
	}
}

type buggyReader struct{}

func (buggyReader) Read([]byte) (int, error) { panic("a bug") }

// A connection whose reading goroutine ends by a bug of its own leaves its group usable.
func TestPanicEndsOneProcess(t *testing.T) {
	h := newHub(t, Options{})
	g, err := h.Add(Config{Name: "x", Types: []hub.Pattern{}})
	if err != nil {
		t.Fatal(err)
	}
	a, b := net.Pipe()
	defer b.Close()
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		go io.Copy(io.Discard, b)
		h.Attach(a, bformat.NewReader(buggyReader{}, 0), &wire.Hello{Name: "x"}, nil)
	}()
	if s := g.Stats(); s.Processes != 0 {
		t.Errorf("stats %+v", s)
	}
	var as hubtest.Answers
	ask(&as, g, "anna", 1)
	p := h.peer(hello(4))
	tag, _ := p.handle()
	p.pass(tag)
	as.Wait(t, 1)
}
