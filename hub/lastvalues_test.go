package hub

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// last returns the last values of the types that p matches, as "type data".
func last(r *Router, p Pattern) (got []string) {
	r.PutLastValues(p, sinkFunc(func(m *Message) error {
		if !m.Retained {
			got = append(got, "not retained:")
		}
		got = append(got, fmt.Sprintf("%s %s", m.Type, m.Data.Bytes))
		return nil
	}), nil)
	return got
}

// The last message of each type is kept as subscribers get it, whether there are any or not.
func TestLastValues(t *testing.T) {
	r := NewRouter(RouterOptions{})
	r.SetLastValues(1 << 20)
	bob := new(mailbox)
	r.Directory().Join("bob", bob)
	if err := r.SetRoutes([]Route{
		{Match: "routed/#", Through: []Handler{add("!")}, To: []Address{{User: "bob"}}},
		{Match: "dropped", Through: []Handler{do(Command{Verb: Drop})}, To: []Address{{User: "bob"}}},
	}); err != nil {
		t.Fatal(err)
	}
	serve(t, r, "answered", do(Command{Verb: Reply}))
	r.Subscribe("seen", "ann", new(mailbox))
	var s sender
	for i, typ := range []Type{"routed/b", "routed/a", "dropped", "answered", "seen", "routed/a"} {
		s.send(t, r, typ, fmt.Sprint(i))
	}
	s.send(t, r, "seen", "for bob alone", Address{User: "bob"})
	if got, want := last(r, "#"), []string{"routed/a 5!", "routed/b 0!", "seen 4"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := last(r, "routed/+"), []string{"routed/a 5!", "routed/b 0!"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	handed := r.Stats().Handed
	full, closed := &mailbox{err: ErrFull}, &mailbox{err: ErrClosed}
	r.PutLastValues("#", full, nil)
	r.PutLastValues("#", closed, nil)
	if s := r.Stats(); s.Losses[LossFull] != 3 || s.Losses[LossDisconnected] != 1 || s.Handed != handed+4 {
		t.Errorf("got %+v", s)
	}
	r.SetLastValues(0)
	s.send(t, r, "routed/a", "6")
	if got := last(r, "#"); got != nil {
		t.Errorf("got %q, though none are kept", got)
	}
}

type sinkFunc func(m *Message) error

func (f sinkFunc) Put(m *Message) error { return f(m) }

// The cache is bounded by its bytes, also where messages grow; what comes often stays.
func TestLastValuesAreBounded(t *testing.T) {
	const limit = 64 << 10
	r := NewRouter(RouterOptions{})
	r.SetLastValues(limit)
	r.Subscribe("#", "ann", new(countingSink))
	put := func(typ Type, size int) {
		if err := r.Put(&Message{Type: typ, Data: text(strings.Repeat("x", size))}); err != nil {
			t.Fatal(err)
		}
		c := &r.lastValues
		c.mu.Lock()
		defer c.mu.Unlock()
		sum := 0
		for _, v := range c.types {
			sum += v.bytes
			if v.mu.Lock(); !v.kept || lastValueOverhead+cap(v.data) != v.bytes {
				t.Fatalf("%+v is counted with %d bytes", v.message, v.bytes)
			}
			v.mu.Unlock()
		}
		if sum != c.used || c.used > limit {
			t.Fatalf("%d bytes are used, %d counted, at most %d may be", sum, c.used, limit)
		}
	}
	for i := range 3000 {
		put(Type(fmt.Sprint("random/", i)), i%300)
		put("often", i%700)
	}
	if got := last(r, "often"); len(got) != 1 {
		t.Errorf("what comes often is not kept")
	}
	if r.lastValues.evicted.Load() == 0 {
		t.Error("no eviction is counted")
	}
	put("often", limit/4)
	if got := last(r, "often"); len(got) != 0 {
		t.Errorf("a message before the last is kept, since the last is too long")
	}
	put("often", 1)
	if got := last(r, "often"); len(got) != 1 {
		t.Error("a short one after it is not kept")
	}
}

// Many goroutines store and read, while tables change and types give way.
func TestLastValuesUnderLoad(t *testing.T) {
	r := NewRouter(RouterOptions{})
	r.SetLastValues(8 << 10)
	r.Subscribe("#", "ann", new(mailbox))
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			var b Batch
			for i := range 2000 {
				typ := Type(fmt.Sprint("t/", (g+i)%40))
				if err := r.Put(&Message{Type: typ, Data: text(string(typ) + strings.Repeat("x", i%50)), Batch: &b}); err != nil {
					t.Error(err)
				}
				if i%50 == 0 {
					b.Flush()
					r.forgetLookups()
					for _, v := range last(r, "t/#") {
						if typ, data, _ := strings.Cut(v, " "); strings.TrimRight(data, "x") != typ {
							t.Errorf("type %s has the data of another: %s", typ, data)
						}
					}
				}
			}
			b.Flush()
		})
	}
	all.Wait()
}

// Keeping the last value of a known type allocates nothing.
func TestLastValuesAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("allocations say nothing under the race detector")
	}
	r, m := subscribed(10)
	r.SetLastValues(1 << 20)
	r.Put(m)
	if n := testing.AllocsPerRun(1000, func() { r.Put(m) }); n != 0 {
		t.Errorf("%v allocations a message, want 0", n)
	}
}

// BenchmarkLastValues is a message for one subscriber, whose type is kept or not.
func BenchmarkLastValues(b *testing.B) {
	for _, limit := range []int{0, 1 << 20} {
		b.Run(fmt.Sprint(limit), func(b *testing.B) {
			r := NewRouter(RouterOptions{})
			r.SetLastValues(limit)
			r.Subscribe("#", "ann", new(countingSink))
			m := &Message{Type: "reading/greenhouse", Data: text(strings.Repeat("x", 64)), Batch: new(Batch)}
			b.ReportAllocs()
			for b.Loop() {
				r.Put(m)
			}
		})
	}
}
