package link

import (
	"context"
	"testing"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/hubtest"
	"github.com/besterhub/bester/hub/wire"
)

func TestConflictsAreRefusedWithAStatus(t *testing.T) {
	h := newHub(t, Options{})
	h.peer(hello(1))
	for name, c := range map[string]struct {
		hello wire.Hello
		want  string
	}{
		"type of another":        {wire.Hello{Name: "y", Types: []string{"b", "reading/#"}}, `pattern "reading/#": handler "x" serves it already: give it to one of them only`},
		"other types, same name": {wire.Hello{Name: "x", Types: []string{"reading/#", "b"}}, "give it another name"},
		"no types":               {wire.Hello{Name: "z"}, "names no types"},
	} {
		t.Run(name, func(t *testing.T) {
			p := h.dial(c.hello)
			tag, kind, body := p.next()
			if tag != 0 || kind != wire.KindStatus {
				t.Fatalf("got tag %d kind %d, want a status about the connection", tag, kind)
			}
			wantErr(t, wire.ParseStatus(body), hub.ErrDenied, c.want)
			p.closed()
			if h.router.Serves("b") || len(h.Stats()) != 1 {
				t.Error("something of the refused handler was left behind")
			}
		})
	}
}

func TestTypesAreServedWhileAProcessIsThere(t *testing.T) {
	h := newHub(t, Options{})
	one, two := h.peer(hello(1)), h.peer(hello(1))
	one.conn.Close()
	h.until("x", "first gone", func(s Stats) bool { return s.Processes == 1 })
	if !h.router.Serves("reading/a") {
		t.Error("not served though a process is there")
	}
	two.conn.Close()
	h.until("x", "forgotten", func(s Stats) bool { return s.Name == "" })
	if h.router.Serves("reading/a") {
		t.Error("served though no process is there")
	}
}

func TestGoodbyeOfAProcess(t *testing.T) {
	h := newHub(t, Options{})
	p := h.peer(hello(2))
	var as hubtest.Answers
	g := h.Group("x")
	ask(&as, g, "anna", 3)
	one, _ := p.handle()
	two, _ := p.handle()
	p.write(wire.AppendGoodbye(nil, "enough"))
	p.pass(one)
	p.silent() // no third message
	q := h.peer(hello(2))
	p.pass(two)
	p.closed()
	tag, m := q.handle()
	if m.ID.Number != 2 {
		t.Errorf("got message %d", m.ID.Number)
	}
	q.pass(tag)
	for _, a := range as.Wait(t, 3) {
		if a.Err != nil {
			t.Error(a.Err)
		}
	}
}

func TestShutdownWaitsForWhatIsInFlight(t *testing.T) {
	h := newHub(t, Options{QueueMessages: 1 << 20, QueueBytes: 1 << 26}) // room for all probes
	p := h.peer(hello(1))
	var as hubtest.Answers
	g := h.Group("x")
	ask(&as, g, "anna", 2)
	tag, _ := p.handle()
	ended := make(chan error, 1)
	go func() { ended <- h.Shutdown(context.Background()) }()
	for { // until it takes no more
		var probe hubtest.Answers
		probe.Ask(g, message("reading/probe", "bert", 0, "0"))
		if as := probe.Wait(t, 0); len(as) == 1 {
			wantErr(t, as[0].Err, hub.ErrClosed, `handler "x" is being ended`)
			break
		}
		defer probe.Wait(t, 1)
	}
	p.pass(tag)
	for {
		tag, kind, _ := p.next()
		if kind == wire.KindGoodbye {
			break
		}
		p.pass(tag)
	}
	p.closed()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for _, a := range as.Wait(t, 2) {
		if a.Err != nil {
			t.Error(a.Err)
		}
	}
	late := h.dial(hello(1))
	_, _, body := late.next()
	wantErr(t, wire.ParseStatus(body), hub.ErrClosed, "closing")
}

func TestShutdownEndsWithItsContext(t *testing.T) {
	h := newHub(t, Options{})
	p := h.peer(hello(1))
	var as hubtest.Answers
	ask(&as, h.Group("x"), "anna", 2)
	p.handle()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := h.Shutdown(ctx); err == nil {
		t.Error("got nil, want the context's error")
	}
	a := as.Wait(t, 2)
	wantErr(t, a[0].Err, hub.ErrHandler, "ended before it answered")
	wantErr(t, a[1].Err, hub.ErrClosed, `handler "x" is being ended`)
}

func TestConnectedHandlerBecomesTheConfigsAndIsItsOwnAgain(t *testing.T) {
	h := newHub(t, Options{})
	p := h.peer(hello(1))
	var as hubtest.Answers
	ask(&as, h.Group("x"), "anna", 2)
	tag, _ := p.handle()
	g, err := h.Add(Config{Name: "x", Types: []hub.Pattern{"alpha"}, Options: Options{Timeout: hubtest.WaitTimeout}})
	if err != nil {
		t.Fatal(err)
	}
	if !h.router.Serves("alpha") || h.router.Serves("reading/a") {
		t.Error("want the types of the config alone")
	}

	// The process is asked to reconnect. It answers what it has, and the rest waits for it.
	if _, kind, _ := p.next(); kind != wire.KindGoodbye {
		t.Errorf("got kind %d, want a goodbye", kind)
	}
	p.pass(tag)
	p.closed()
	p = h.peer(hello(1))
	tag, _ = p.handle()
	p.pass(tag)
	for _, a := range as.Wait(t, 2) {
		if a.Err != nil {
			t.Error(a.Err)
		}
	}
	if err := g.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	p.closed()
	if h.router.Serves("alpha") || h.Group("x") != nil {
		t.Error("the handler is still there after its shutdown")
	}
	h.peer(hello(4))
	if !h.router.Serves("reading/a") {
		t.Error("a process that comes back is not served")
	}
}

func TestAddThatConflicts(t *testing.T) {
	h := newHub(t, Options{})
	h.peer(hello(4))
	h.peer(wire.Hello{Name: "y", Types: []string{"y/#"}})
	if _, err := h.Add(Config{Name: "z", Types: []hub.Pattern{"a", "reading/#"}}); err == nil || h.router.Serves("a") || h.Group("z") != nil {
		t.Errorf("added a handler of another's type: %v", err)
	}
	if _, err := h.Add(Config{Name: "y", Types: []hub.Pattern{"reading/#"}}); err == nil || !h.router.Serves("y/1") {
		t.Errorf("made a connected handler one of another's type: %v", err)
	}
	h.Shutdown(t.Context())
	_, err := h.Add(Config{Name: "late"})
	wantErr(t, err, hub.ErrClosed, "closing")
}
