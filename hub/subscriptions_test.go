package hub

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
)

// Subscribers get what no recipient is named for, as its route passes it on, each once, and
// beside the route's receivers.
func TestSubscribers(t *testing.T) {
	r := NewRouter(RouterOptions{})
	all, two, ann, bob := new(mailbox), new(mailbox), new(mailbox), new(mailbox)
	r.Directory().Join("ann", ann)
	r.Directory().Join("bob", bob)
	if err := r.SetRoutes([]Route{
		{Match: "routed", Through: []Handler{add("!")}, To: []Address{{User: "ann"}}},
		{Match: "dropped", Through: []Handler{do(Command{Verb: Drop})}, To: []Address{{User: "ann"}}},
	}); err != nil {
		t.Fatal(err)
	}
	serve(t, r, "passed", add("?"))
	for _, p := range []Pattern{"#", "routed", "a/+"} {
		if !r.Subscribe(p, "ann", ann) || r.Subscribe(p, "ann", ann) {
			t.Errorf("%q: want to subscribe once", p)
		}
	}
	r.Subscribe("#", "all", all)
	r.Subscribe("a/+", "two", two)
	r.Subscribe("a/b", "two", two)
	var s sender
	for _, m := range []struct {
		typ Type
		to  []Address
	}{
		{"routed", nil}, {"dropped", nil}, {"passed", nil}, {"a/b", nil}, {"a/c", nil}, {"a", nil},
		{"a/b", []Address{{User: "bob"}}}, {"passed", []Address{{User: "bob"}}}, {"routed", []Address{{User: "bob"}}},
	} {
		if err := s.send(t, r, m.typ, "1", m.to...); err != nil {
			t.Errorf("%+v: %v", m, err)
		}
	}
	all.want(t, "routed<sam> 1!", "passed<sam> 1?", "a/b<sam> 1", "a/c<sam> 1", "a<sam> 1", "routed<sam> 1!")
	ann.want(t, "routed<sam> 1!", "passed<sam> 1?", "a/b<sam> 1", "a/c<sam> 1", "a<sam> 1", "routed<sam> 1!")
	two.want(t, "a/b<sam> 1", "a/c<sam> 1")
	bob.want(t, "a/b<sam> 1", "passed<sam> 1?")
	if st := r.Stats(); st.Handed != 16 || st.Delivered != 16 || st.Lost != 0 || st.Taken != 9 {
		t.Errorf("got %+v", st)
	}

	for _, p := range []Pattern{"#", "a/+"} {
		if !r.Unsubscribe(p, ann) || r.Unsubscribe(p, ann) {
			t.Errorf("%q: want to unsubscribe once", p)
		}
	}
	r.Unsubscribe("#", all)
	if r.Unsubscribe("never/subscribed", all) || r.Unsubscribe("a", all) {
		t.Error("unsubscribed from what was not subscribed to")
	}
	s.send(t, r, "a/c", "2")
	two.want(t, "a/b<sam> 1", "a/c<sam> 1", "a/c<sam> 2")
	r.Unsubscribe("a/+", two)
	r.Unsubscribe("a/b", two)
	if err := s.send(t, r, "a/c", "3"); !errors.Is(err, ErrNoHandler) {
		t.Errorf("a message for nobody: got %v", err)
	}
	if len(ann.got) != 6 {
		t.Errorf("got %q, though not subscribed any more", ann.got[6:])
	}
	r.Unsubscribe("routed", ann)
	if len(r.subscriptions.patterns.children) != 0 {
		t.Error("nobody subscribes, but patterns are kept")
	}
}

// A subscriber who takes nothing is counted as a loss, and the sender is told nothing of it.
func TestSubscriberThatTakesNothing(t *testing.T) {
	r := NewRouter(RouterOptions{})
	r.Subscribe("t", "full", &mailbox{err: ErrFull})
	r.Subscribe("t", "denied", &mailbox{err: ErrDenied})
	r.Subscribe("t", "long", &mailbox{err: ErrTooLong})
	var notes Notes
	if err := r.Put(&Message{Type: "t", Data: text("1"), Receipt: receiptFunc(func(m *Message, err error) {
		if notes = m.Notes; err != nil {
			t.Error(err)
		}
	})}); err != nil {
		t.Fatal(err)
	}
	if notes != 0 {
		t.Errorf("the sender got the note %q", notes)
	}
	if s := r.Stats(); s.Handed != 3 || s.Lost != 3 || s.Losses[LossFull] != 1 || s.Losses[LossDenied] != 1 || s.Losses[LossTooLong] != 1 || s.Absent != 1 {
		t.Errorf("got %+v", s)
	}
}

type receiptFunc func(m *Message, err error)

func (f receiptFunc) Done(m *Message, err error) { f(m, err) }

// A type's subscribers do not change under whoever delivers to them, while others come and go.
func TestSubscribersComeAndGo(t *testing.T) {
	r := NewRouter(RouterOptions{})
	always := new(countingSink)
	r.Subscribe("t/#", "always", always)
	var others sync.WaitGroup
	stop := make(chan struct{})
	for i := range 4 {
		others.Go(func() {
			name := UserName(fmt.Sprint(i))
			sinks := []*countingSink{{}, {}, {}}
			for {
				select {
				case <-stop:
					return
				default:
				}
				for _, s := range sinks {
					r.Subscribe("t/#", name, s)
					r.Subscribe("t/+", name, s)
				}
				for _, s := range slices.Backward(sinks) {
					r.Unsubscribe("t/#", s)
					r.Unsubscribe("t/+", s)
				}
			}
		})
	}
	var b Batch
	const n = 5000
	for i := range n {
		if err := r.Put(&Message{Type: Type(fmt.Sprint("t/", i%3)), Data: text("1"), Batch: &b}); err != nil {
			t.Fatal(err)
		}
	}
	b.Flush()
	close(stop)
	others.Wait()
	if always.n != n {
		t.Errorf("got %d messages, want %d", always.n, n)
	}
	if list, _ := r.subscriptions.of("t/1", nil, nil); len(list) != 1 {
		t.Errorf("%d subscribers are left, want 1", len(list))
	}
}

// A countingSink counts what it takes; one goroutine puts.
type countingSink struct{ n int }

func (s *countingSink) Put(*Message) error { s.n++; return nil }

// Ten thousand subscriptions, of which ten match, cost a message what these ten cost.
func TestSubscriptionsAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("allocations say nothing under the race detector")
	}
	r, m := subscribed(10_000)
	if n := testing.AllocsPerRun(1000, func() { r.Put(m) }); n != 0 {
		t.Errorf("%v allocations a message, want 0", n)
	}
}

func subscribed(n int) (*Router, *Message) {
	r := NewRouter(RouterOptions{})
	for i := range n {
		p := Pattern(fmt.Sprintf("other/%d/+", i))
		if i < 10 {
			p = "reading/#"
		}
		r.Subscribe(p, UserName(fmt.Sprint(i)), new(countingSink))
	}
	m := &Message{Type: "reading/greenhouse", Data: text("1"), Batch: new(Batch)}
	r.Put(m)
	return r, m
}

// BenchmarkSubscribers is a message for ten subscribers, among so many subscriptions.
func BenchmarkSubscribers(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r, m := subscribed(n)
			other := *m
			other.Type = "reading/cellar"
			b.ReportAllocs()
			for b.Loop() {
				r.Put(m)
				r.Put(&other)
			}
		})
	}
}

// Types whose subscribers are the same share one list, and lists have a bound, however many
// sessions subscribe to patterns that overlap.
func TestListsOfSubscribersAreBounded(t *testing.T) {
	r := NewRouter(RouterOptions{})
	const sinks = 200
	for i := range sinks {
		s, name := new(countingSink), UserName(fmt.Sprint(i))
		r.Subscribe("#", name, s)
		r.Subscribe("a/#", name, s)
		r.Subscribe(Pattern(fmt.Sprintf("b/+/%d/#", i%7)), name, s)
	}
	l := r.lookups.Load()
	for i := range 20_000 {
		typ := Type(fmt.Sprint("a/", i))
		if i%2 == 0 {
			typ = Type(fmt.Sprintf("b/%d/%d/x", i, i%7))
		}
		if pl := r.lookup(typ, nil); len(pl.subscribers) != sinks {
			t.Fatalf("%s has %d subscribers, want %d", typ, len(pl.subscribers), sinks)
		}
		if l.made > 8*sinks {
			t.Fatalf("after %d types the lists have %d entries", i, l.made)
		}
	}
	// More patterns at once than a set has room for: a list for each type, but with a bound.
	for _, p := range []Pattern{"+/#", "+/+/#", "c/+", "c/#"} {
		for i := range sinks {
			r.Subscribe(p, UserName(fmt.Sprint(i)), new(countingSink))
		}
	}
	l = r.lookups.Load()
	for i := range 2000 {
		r.lookup(Type(fmt.Sprint("c/", i)), nil)
		if l.made > maxListed+6*sinks {
			t.Fatalf("after %d types the lists have %d entries, at most %d may be", i, l.made, maxListed)
		}
	}
}
