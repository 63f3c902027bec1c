package hub_test

import (
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
