package hub_test

import (
	"fmt"
	"testing"

	"github.com/besterhub/bester/hub"
)

// A takenHandler counts what it is given.
type takenHandler struct{ got int }

func (h *takenHandler) Handle(_ *hub.Message, a *hub.Answer) {
	h.got++
	a.Drop()
	a.Done(nil)
}

func TestServeAllTakesPatternsOver(t *testing.T) {
	r := hub.NewRouter(hub.RouterOptions{})
	var old, next takenHandler
	stopOld, err := r.ServeAll([]hub.Pattern{"a", "b"}, &old)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.ServeAll([]hub.Pattern{"a"}, &next); err == nil {
		t.Error("took a pattern of another")
	}
	stopNext, err := r.ServeAll([]hub.Pattern{"a", "c"}, &next, &old)
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range []hub.Type{"a", "b", "c"} {
		if err := r.Put(&hub.Message{Type: typ}); err != nil {
			t.Errorf("%s: %v", typ, err)
		}
	}
	if old.got != 1 || next.got != 2 {
		t.Errorf("got %d and %d messages, want 1 and 2", old.got, next.got)
	}
	stopOld() // leaves what was taken from it
	if !r.Serves("a") || r.Serves("b") {
		t.Error("want a served, and b not")
	}
	stopNext()
	if r.Serves("a") || r.Serves("c") {
		t.Error("served after stop")
	}
}

// A namedHandler has a name.
type namedHandler struct {
	takenHandler
	name string
}

func (h *namedHandler) Name() string { return h.name }

// A pattern that the config gives to one handler can move to another, which serves it beside
// the config: no message misses both.
func TestServeAllTakesPatternsOfConfigureOver(t *testing.T) {
	r := hub.NewRouter(hub.RouterOptions{})
	var old namedHandler
	old.name = "old"
	var next takenHandler
	if err := r.Configure(nil, map[hub.Pattern]hub.Handler{"a": &old}); err != nil {
		t.Fatal(err)
	}
	_, err := r.Serve("a", &next)
	if want := `pattern "a": handler "old" serves it already: give it to one of them only`; err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
	put := func() {
		t.Helper()
		if err := r.Put(&hub.Message{Type: "a"}); err != nil {
			t.Error(err)
		}
	}
	stop, err := r.ServeAll([]hub.Pattern{"a"}, &next, &old)
	if err != nil {
		t.Fatal(err)
	}
	stop() // a config was refused meanwhile
	put()
	if stop, err = r.ServeAll([]hub.Pattern{"a"}, &next, &old); err != nil {
		t.Fatal(err)
	}
	put()
	if old.got != 2 || next.got != 0 {
		t.Errorf("got %d and %d messages, want 2 and 0", old.got, next.got)
	}
	if err := r.Configure(nil, nil); err != nil {
		t.Fatal(err)
	}
	put()
	if next.got != 1 {
		t.Errorf("got %d messages, want 1", next.got)
	}
	stop()
	if r.Serves("a") {
		t.Error("served after stop")
	}
}

// A pattern that moves is not counted twice.
func TestAllPatternsMove(t *testing.T) {
	r := hub.NewRouter(hub.RouterOptions{})
	var old, next takenHandler
	configured := make(map[hub.Pattern]hub.Handler)
	var all []hub.Pattern
	for i := range hub.MaxPatterns {
		p := hub.Pattern(fmt.Sprint("t", i))
		configured[p], all = &old, append(all, p)
	}
	if err := r.Configure(nil, configured); err != nil {
		t.Fatal(err)
	}
	if _, err := r.ServeAll(all, &next, &old); err != nil {
		t.Error(err)
	}
	if _, err := r.Serve("one/more", &next); err == nil {
		t.Error("more than MaxPatterns are served")
	}
	if err := r.Configure(nil, nil); err != nil {
		t.Error(err)
	}
	if err := r.Configure(nil, configured, &next); err != nil {
		t.Error(err)
	}
	if err := r.Configure(nil, map[hub.Pattern]hub.Handler{"one/more": &old}); err == nil {
		t.Error("more than MaxPatterns are served")
	}
}
