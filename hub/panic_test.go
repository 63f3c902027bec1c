package hub

import (
	"log/slog"
	"strings"
	"testing"
)

// A panickingSink has a bug.
type panickingSink struct{}

func (panickingSink) Put(*Message) error { panic("out of range") }

// A receiver whose Put panics fails its own delivery: others get theirs, the message ends,
// the sender is told, and the counters of messages and deliveries add up.
func TestReceiverPanics(t *testing.T) {
	for _, through := range []Handler{nil, add("!"), do(Command{Verb: SendHandler, Type: "inner"})} {
		var log strings.Builder
		var good mailbox
		r := NewRouter(RouterOptions{Log: slog.New(slog.NewTextHandler(&log, nil))})
		r.Directory().Join("bad", panickingSink{})
		r.Directory().Join("good", &good)
		route := []Route{{Match: "inner", To: []Address{{User: "bad"}, {User: "good"}}}, {Match: "outer", To: []Address{{User: "bad"}, {User: "good"}}}}
		if through != nil {
			route[1].Through = []Handler{through}
		}
		if err := r.SetRoutes(route); err != nil {
			t.Fatal(err)
		}
		s := new(sender)
		err := s.send(t, r, "outer", "1")
		if err == nil || !strings.Contains(err.Error(), "has a bug") {
			t.Errorf("the sender got %v", err)
		}
		if len(good.got) != 1 {
			t.Errorf("the other receiver got %q", good.got)
		}
		st := r.Stats()
		if st.Taken != 1 || st.Failed != 1 || st.InFlight != 0 || st.Losses[LossBug] != 1 || st.Panics != 1 {
			t.Errorf("got %+v", st)
		}
		if text := log.String(); !strings.Contains(text, "a receiver has a bug") || !strings.Contains(text, "panic_test.go") {
			t.Errorf("log:\n%s", text)
		}
	}
}
