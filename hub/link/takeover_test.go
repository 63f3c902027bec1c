package link

import (
	"testing"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/hubtest"
	"github.com/besterhub/bester/hub/wire"
)

// send puts a message of the type that the processes of hello name into the router.
func (h *testHub) send(t *testing.T, n int) {
	t.Helper()
	if err := h.router.Put(message("reading/a", "anna", n, "0")); err != nil {
		t.Errorf("message %d: %v", n, err)
	}
}

// While a handler whose processes name its types is replaced, its types are served without a
// miss: what comes waits for the process, which has been asked to reconnect.
func TestTypesOfAReplacedHandlerStay(t *testing.T) {
	h := newHub(t, Options{})
	config := Config{Name: "x", Options: Options{Timeout: hubtest.WaitTimeout}}
	slot := NewSlot("x", config.Options)
	g, err := h.Add(config)
	if err != nil {
		t.Fatal(err)
	}
	slot.Install(g)
	p := h.peer(hello(1))
	h.send(t, 0)
	tag, _ := p.handle()
	h.send(t, 1)

	retired := make(chan error, 1)
	go func() { retired <- g.Retire(t.Context(), slot.Vacate(config.Options)) }()
	until(t, "the old group closing", func() (Stats, bool) {
		g.mu.Lock()
		defer g.mu.Unlock()
		return Stats{}, g.closing
	})
	h.send(t, 2) // while it answers what it has
	p.pass(tag)
	p.closed()
	if err := <-retired; err != nil {
		t.Error(err)
	}
	h.send(t, 3) // when it is gone
	next, err := h.Add(config)
	if err != nil {
		t.Fatal(err)
	}
	h.send(t, 4) // before its slot is filled
	slot.Install(next)
	h.send(t, 5)
	p = h.peer(hello(1))
	for n := range 5 {
		tag, m := p.handle()
		if m.ID.Number != uint64(n+1) {
			t.Errorf("got message %d, want %d", m.ID.Number, n+1)
		}
		p.pass(tag)
	}
	h.send(t, 6)
	p.handle()
}

func TestTypesOfAReplacedHandlerEnd(t *testing.T) {
	config := Config{Name: "x", Options: Options{Timeout: 50 * time.Millisecond}}
	for name, next := range map[string]func(t *testing.T, h *testHub){
		"no process comes": func(t *testing.T, h *testHub) {
			if _, err := h.Add(config); err != nil {
				t.Fatal(err)
			}
		},
		"no handler comes": func(*testing.T, *testHub) {},
		"its types are the config's now": func(t *testing.T, h *testHub) {
			c := config
			c.Types = []hub.Pattern{"alpha"}
			if _, err := h.Add(c); err != nil {
				t.Fatal(err)
			}
			if h.router.Serves("reading/a") {
				t.Error("its old types are served at once")
			}
		},
		"the process names other ones": func(t *testing.T, h *testHub) {
			if _, err := h.Add(config); err != nil {
				t.Fatal(err)
			}
			h.peer(wire.Hello{Name: "x", Types: []string{"beta"}})
			if !h.router.Serves("beta") || h.router.Serves("reading/a") {
				t.Error("want what it names")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t, Options{})
			g, err := h.Add(config)
			if err != nil {
				t.Fatal(err)
			}
			h.peer(hello(1))
			if err := g.Retire(t.Context(), NewSlot("x", config.Options)); err != nil {
				t.Fatal(err)
			}
			next(t, h)
			until(t, "end of its types", func() (Stats, bool) { return Stats{}, !h.router.Serves("reading/a") })
		})
	}
}

// The processes of a handler may be gone when it is replaced: then nothing waits for them.
func TestReplacedHandlerWithoutItsProcesses(t *testing.T) {
	config := Config{Name: "x", Options: Options{Timeout: 20 * time.Millisecond}}
	h := newHub(t, Options{})
	g, err := h.Add(config)
	if err != nil {
		t.Fatal(err)
	}
	p := h.peer(hello(1))
	p.conn.Close()
	until(t, "end of its process", func() (Stats, bool) { return g.Stats(), !h.router.Serves("reading/a") })
	if err := g.Retire(t.Context(), NewSlot("x", config.Options)); err != nil {
		t.Fatal(err)
	}
	if h.router.Serves("reading/a") {
		t.Error("served without a process")
	}
	if n := len(h.Retired()); n > 0 {
		t.Errorf("the types of %d handlers are kept, though no process has named them", n)
	}
	if _, err := h.Add(config); err != nil {
		t.Error(err)
	}
}

// fixedHandler adds a handler x whose types the config says: its slot serves them.
func (h *testHub) fixedHandler(t *testing.T, o Options, types ...hub.Pattern) (*Group, *Slot) {
	t.Helper()
	slot := NewSlot("x", o)
	g, err := h.Add(Config{Name: "x", Types: []hub.Pattern{}, Options: o})
	if err != nil {
		t.Fatal(err)
	}
	slot.Install(g)
	served := make(map[hub.Pattern]hub.Handler)
	for _, p := range types {
		served[p] = slot
	}
	if err := h.router.Configure(nil, served); err != nil {
		t.Fatal(err)
	}
	return g, slot
}

// While a handler's types move from the config to its processes, they are served without a
// miss, also while it answers what it has.
func TestTypesMoveFromTheConfigToTheProcesses(t *testing.T) {
	h := newHub(t, Options{})
	o := Options{Timeout: hubtest.WaitTimeout}
	g, slot := h.fixedHandler(t, o, "reading/+", "reading/a", "beta")
	p := h.peer(wire.Hello{Name: "x", Types: []string{"reading/a", "gamma"}, Credits: 1})
	h.send(t, 0)
	tag, _ := p.handle()

	// A config that is refused changes nothing.
	h.ServeNamed("x", []hub.Pattern{"reading/a", "beta"}, slot)()
	if err := h.router.Configure(nil, map[hub.Pattern]hub.Handler{"beta": slot}); err != nil {
		t.Fatal(err)
	}
	if h.router.Serves("reading/a") {
		t.Error("served after undo")
	}
	if err := h.router.Configure(nil, map[hub.Pattern]hub.Handler{"reading/a": slot, "beta": slot}); err != nil {
		t.Fatal(err)
	}

	h.ServeNamed("x", []hub.Pattern{"reading/a", "beta"}, slot)
	h.send(t, 1) // still by the config
	if err := h.router.Configure(nil, nil); err != nil {
		t.Fatal(err)
	}
	if h.router.Serves("beta") || h.router.Serves("gamma") {
		t.Error("serves what it did not before, or what its process does not name")
	}
	h.send(t, 2)
	retired := make(chan error, 1)
	go func() { retired <- g.Retire(t.Context(), slot.Vacate(o)) }()
	until(t, "retiring", func() (Stats, bool) {
		g.mu.Lock()
		defer g.mu.Unlock()
		return Stats{}, g.closing
	})
	h.send(t, 3)
	p.pass(tag)
	p.closed()
	if err := <-retired; err != nil {
		t.Error(err)
	}
	h.send(t, 4)
	if !h.router.Serves("gamma") || h.router.Serves("beta") {
		t.Error("want what its process has named")
	}
	next, err := h.Add(Config{Name: "x", Options: o})
	if err != nil {
		t.Fatal(err)
	}
	slot.Install(next)
	h.send(t, 5)
	p = h.peer(hello(1))
	for n := range 5 {
		tag, m := p.handle()
		if m.ID.Number != uint64(n+1) {
			t.Errorf("got message %d, want %d", m.ID.Number, n+1)
		}
		p.pass(tag)
	}
	if h.router.Serves("gamma") {
		t.Error("serves what its process no longer names")
	}
}

// What a retired handler has kept for its processes is kept too where another handler serves
// the rest of what they have named.
func TestTypesMoveWithoutThoseOfAnother(t *testing.T) {
	h := newHub(t, Options{})
	o := Options{Timeout: hubtest.WaitTimeout}
	g, slot := h.fixedHandler(t, o, "reading/a")
	h.peer(wire.Hello{Name: "y", Types: []string{"gamma"}})
	h.peer(wire.Hello{Name: "x", Types: []string{"reading/a", "gamma"}})
	h.ServeNamed("x", []hub.Pattern{"reading/a"}, slot)
	if err := h.router.Configure(nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := g.Retire(t.Context(), slot.Vacate(o)); err != nil {
		t.Fatal(err)
	}
	h.send(t, 0)
	if len(h.Retired()) != 1 {
		t.Errorf("got %d retired handlers, want 1", len(h.Retired()))
	}
	h.EndRetired("x")
	if h.router.Serves("reading/a") || !h.router.Serves("gamma") || len(h.Retired()) != 0 {
		t.Error("want nothing of x served, and y as it was")
	}
	slot.Close(hub.ErrClosed)
}

// What a retired handler has kept is no conflict for a config that gives it to another, or to
// the handler itself.
func TestConfigTakesTypesOfARetiredHandler(t *testing.T) {
	h := newHub(t, Options{})
	config := Config{Name: "x", Options: Options{Timeout: hubtest.WaitTimeout}}
	g, err := h.Add(config)
	if err != nil {
		t.Fatal(err)
	}
	p := h.peer(hello(1))
	if err := g.Retire(t.Context(), NewSlot("x", config.Options)); err != nil {
		t.Fatal(err)
	}
	p.conn.Close()
	slot := NewSlot("y", config.Options)
	served := map[hub.Pattern]hub.Handler{"reading/#": slot}
	want := `pattern "reading/#": handler "x" serves it already: give it to one of them only`
	if err := h.router.Configure(nil, served); err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
	if err := h.router.Configure(nil, served, h.Retired()...); err != nil {
		t.Error(err)
	}
	if err := h.router.Configure(nil, nil); err != nil {
		t.Fatal(err)
	}
	config.Types = []hub.Pattern{"reading/#"}
	if _, err := h.Add(config); err != nil {
		t.Error(err)
	}
	if len(h.Retired()) != 0 {
		t.Error("the retired handler still stands in")
	}
}
