package hub

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

func TestHandlerIsPickedByTheMostSpecificName(t *testing.T) {
	r := NewRouter(RouterOptions{})
	box := new(mailbox)
	r.Directory().Join("u", box)
	for _, p := range []Pattern{"#", "a/#", "a/+", "a/b"} {
		serve(t, r, p, HandlerFunc(func(m *Message, a *Answer) error {
			a.SendClients(text(string(p)), Address{User: "u"})
			return nil
		}))
	}
	s := new(sender)
	for _, typ := range []Type{"a/b", "a/c", "a", "a/b/c", "x", "a/c"} {
		if err := s.send(t, r, typ, "1"); err != nil {
			t.Errorf("%q: %v", typ, err)
		}
	}
	box.want(t, "a/b<sam> a/b", "a/c<sam> a/+", "a<sam> a/#", "a/b/c<sam> a/#", "x<sam> #", "a/c<sam> a/+")
}

func TestRouteRunsThroughItsHandlers(t *testing.T) {
	r := NewRouter(RouterOptions{})
	ann, bob, far := new(mailbox), new(mailbox), new(mailbox)
	r.Directory().Join("ann", ann)
	r.Directory().Join("bob", bob)
	r.Directory().SetServers(map[ServerName]Sink{"far": receipted{far}}, nil)
	err := r.SetRoutes([]Route{
		{Match: "r/#", Through: []Handler{add("1"), add("2")}, To: users("ann", "eve@far", "bob", "@far")},
		{Match: "plain", To: users("bob")},
		{Match: "own", Through: []Handler{do(Command{Verb: SendClients, To: users("bob")})}, To: users("ann")},
		{Match: "gone", Through: []Handler{do(Command{Verb: Drop}), add("never")}, To: users("ann")},
		{Match: "nowhere", Through: []Handler{add("x")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := new(sender)
	for _, typ := range []Type{"r/x", "plain", "own", "gone"} {
		if err := s.send(t, r, typ, "d"); err != nil {
			t.Errorf("%q: %v", typ, err)
		}
	}
	ann.want(t, "r/x<sam> d12")
	bob.want(t, "r/x<sam> d12", "plain<sam> d", "own<sam> d")
	far.want(t, "r/x<sam> d12", "r/x<sam> d12")
	if err := s.send(t, r, "nowhere", "d"); !errors.Is(err, ErrHandler) {
		t.Errorf("a message that ends nowhere: got %v", err)
	}
	if err := s.send(t, r, "nowhere", "d", users("ann")...); err != nil {
		t.Errorf("a message with a recipient: %v", err)
	}
	if got := ann.got[len(ann.got)-1]; got != "nowhere<sam> dx" {
		t.Errorf("recipient got %q", got)
	}
	if err := r.SetRoutes([]Route{{Match: "a"}, {Match: "a"}}); err == nil {
		t.Error("two routes of one pattern were taken")
	}
	if st := r.Stats(); st.Taken != 6 || st.Dropped != 1 || st.Failed != 1 || st.Delivered != 7 {
		t.Errorf("got %+v", st)
	}
}

// receipted is the sink of a server. It calls the receipt, as it should.
type receipted struct{ *mailbox }

func (r receipted) Put(m *Message) error {
	if len(m.To) != 1 || m.To[0].Server == "" {
		return fmt.Errorf("server got recipients %v", m.To)
	}
	if err := r.mailbox.Put(m); err != nil {
		return err
	}
	if m.Receipt != nil {
		m.Receipt.Done(m, nil)
	}
	return nil
}

func TestCommands(t *testing.T) {
	r := NewRouter(RouterOptions{})
	ann1, ann2, bob := new(mailbox), new(mailbox), new(mailbox)
	r.Directory().Join("ann", ann1)
	leave := r.Directory().Join("ann", ann2)
	r.Directory().Join("bob", bob)
	serve(t, r, "many", do(
		Command{Verb: SendClients, To: users("bob", "ann", "nobody", "bob"), Data: text("A")},
		Command{Verb: Reply, Data: text("B")},
		Command{Verb: SendHandler, Type: "other", Data: text("C")},
		Command{Verb: SendClients},
	))
	serve(t, r, "other", do(Command{Verb: SendClients, To: users("ann")}))
	serve(t, r, "loop", do(Command{Verb: SendHandler, Type: "loop"}))
	serve(t, r, "lost", do(Command{Verb: SendHandler, Type: "no such"}))
	serve(t, r, "stranger", do(Command{Verb: SendServers, To: users("@who")}))
	serve(t, r, "odd", do(Command{Verb: 77}))
	serve(t, r, "bad", HandlerFunc(func(*Message, *Answer) error { return errors.New("sensor is broken") }))
	s := new(sender)
	if err := s.send(t, r, "many", "m"); err != nil {
		t.Errorf("many: %v", err)
	}
	ann1.want(t, "many<sam> A", "other<sam> C")
	ann2.want(t, "many<sam> A", "other<sam> C")
	bob.want(t, "many<sam> A", "many<sam> A")
	s.want(t, "many<sam> B")
	if !slices.Equal(s.tags, []uint64{7}) {
		t.Errorf("reply came under tags %v, want 7", s.tags)
	}
	leave()
	leave()
	if got := r.Directory().Users(); !slices.Equal(got, []UserName{"ann", "bob"}) {
		t.Errorf("users: got %q", got)
	}
	for typ, want := range map[Type]error{
		"loop": ErrHops, "lost": ErrNoHandler, "stranger": ErrUnknownServer, "odd": ErrHandler, "no such": ErrNoHandler,
	} {
		if err := s.send(t, r, typ, "m"); !errors.Is(err, want) {
			t.Errorf("%q: got %v, want %v", typ, err, want)
		}
	}
	if err := s.send(t, r, "bad", "m"); err == nil || err.Error() != "sensor is broken" {
		t.Errorf("bad: got %v", err)
	}
}

func TestFanOutIsLimited(t *testing.T) {
	r := NewRouter(RouterOptions{})
	calls := 0
	serve(t, r, "t", HandlerFunc(func(m *Message, a *Answer) error {
		calls++
		for range 100 {
			a.SendHandler(m.Data, "t")
		}
		return nil
	}))
	s := new(sender)
	for range 2 {
		calls = 0
		if err := s.send(t, r, "t", "x"); !errors.Is(err, ErrHops) {
			t.Errorf("got %v, want %v", err, ErrHops)
		}
		if calls != MaxDispatches+1 {
			t.Errorf("handled %d times, want %d", calls, MaxDispatches+1)
		}
	}
}

func TestHandlerThatPanicsFailsOneMessage(t *testing.T) {
	var log bytes.Buffer
	r := NewRouter(RouterOptions{Log: slog.New(slog.NewTextHandler(&log, nil))})
	serve(t, r, "bad", HandlerFunc(func(*Message, *Answer) error { panic("a bug") }))
	serve(t, r, "twice", HandlerFunc(func(m *Message, a *Answer) error { a.Done(nil); return nil }))
	s := new(sender)
	for range 2 {
		if err := s.send(t, r, "bad", "x"); !errors.Is(err, ErrHandler) {
			t.Errorf("bad: got %v", err)
		}
		if err := s.send(t, r, "twice", "x"); err != nil {
			t.Errorf("twice: got %v", err)
		}
	}
	if got := r.Stats().Panics; got != 4 {
		t.Errorf("counted %d panics, want 4", got)
	}
	for _, want := range []string{"a bug", "was called twice", "router_test.go"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q", want)
		}
	}
}

func TestServeAndStop(t *testing.T) {
	r := NewRouter(RouterOptions{})
	stop, err := r.Serve("t", add(""))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Serve("t", add("")); err == nil {
		t.Error("a pattern was served twice")
	}
	stop()
	stop()
	if r.Serves("t") {
		t.Error("still served after stop")
	}
}

// A flushed counts its flushes.
type flushed struct{ n int }

func (f *flushed) Flush() { f.n++ }

// What the operator configures changes at once, or not at all.
func TestConfigure(t *testing.T) {
	r := NewRouter(RouterOptions{})
	box := new(mailbox)
	r.Directory().Join("u", box)
	by := func(name string) Handler { return do(Command{Verb: SendClients, Data: text(name), To: users("u")}) }
	pattern := func(p Pattern, h Handler) map[Pattern]Handler { return map[Pattern]Handler{p: h} }
	s := new(sender)
	gets := func(typ Type, want string) {
		t.Helper()
		if err := s.send(t, r, typ, "1"); err != nil {
			t.Errorf("%q: %v", typ, err)
		}
		if n := len(box.got); n == 0 || !strings.HasSuffix(box.got[n-1], " "+want) {
			t.Errorf("%q: got %q, want %s", typ, box.got, want)
		}
	}
	routes := []Route{{Match: "b", Through: []Handler{by("route")}}}
	if err := r.Configure(routes, map[Pattern]Handler{"a": by("one"), "b": by("hidden")}); err != nil {
		t.Fatal(err)
	}
	gets("a", "one")
	gets("b", "route")
	if _, err := r.Serve("a", by("stranger")); err == nil {
		t.Error("another handler may serve what the config names")
	}

	// A type never misses while it moves from handler to handler, and to a route and back.
	configs := []func() error{
		func() error { return r.Configure(routes, pattern("a", by("two"))) },
		func() error { return r.Configure([]Route{{Match: "a", Through: []Handler{by("three")}}}, nil) },
		func() error { return r.Configure(nil, pattern("a", by("four"))) },
	}
	moving := make(chan error)
	go func() {
		defer close(moving)
		for i := range 300 {
			if err := configs[i%len(configs)](); err != nil {
				moving <- err
			}
		}
	}()
	for open := true; open; {
		select {
		case err, more := <-moving:
			if open = more; more {
				t.Error(err)
			}
		default:
		}
		if err := s.send(t, r, "a", "1"); err != nil {
			t.Fatal(err)
		}
	}
	gets("a", "four")

	// Another handler's pattern is refused as a whole, unless that handler is replaced.
	other := &struct{ Handler }{by("other")}
	stop, err := r.Serve("c", other)
	if err != nil {
		t.Fatal(err)
	}
	refused := map[Pattern]Handler{"a": by("five"), "c": by("five")}
	if err := r.Configure(routes, refused); err == nil || !strings.Contains(err.Error(), `pattern "c": another handler serves it already`) {
		t.Errorf("got %v", err)
	}
	gets("a", "four")
	gets("c", "other")
	if r.Serves("b") {
		t.Error("the routes of a refused config are in force")
	}
	if err := r.Configure(routes, refused, other); err != nil {
		t.Fatal(err)
	}
	gets("c", "five")
	stop()
	gets("c", "five")
	if err := r.Configure(nil, nil); err != nil || r.Serves("a") || r.Serves("b") || r.Serves("c") {
		t.Error("something of the old config is in force: ", err)
	}
}

func TestBatch(t *testing.T) {
	var b Batch
	f, g := new(flushed), new(flushed)
	b.Add(f)
	b.Add(g)
	if f.n != 0 {
		t.Error("flushed too early")
	}
	b.Flush()
	b.Flush()
	if f.n != 1 || g.n != 1 {
		t.Errorf("flushed %d and %d times, want once each", f.n, g.n)
	}
	(*Batch)(nil).Add(f)
	if f.n != 2 {
		t.Error("without a batch nothing was flushed")
	}
}

// A quiet sink and receipt, for measuring.
type quiet struct{ n int }

func (q *quiet) Put(*Message) error   { q.n++; return nil }
func (q *quiet) Done(*Message, error) {}

func TestRoutingAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("allocations say nothing under the race detector")
	}
	r := NewRouter(RouterOptions{Name: "h"})
	q := new(quiet)
	r.Directory().Join("u", q)
	pass := HandlerFunc(func(m *Message, a *Answer) error { a.Pass(m.Data); return nil })
	if err := r.SetRoutes([]Route{{Match: "r/#", Through: []Handler{pass, pass}, To: users("u")}}); err != nil {
		t.Fatal(err)
	}
	m := &Message{Type: "r/x", Data: text("1"), Receipt: q, Batch: new(Batch)}
	if n := testing.AllocsPerRun(1000, func() { r.Put(m) }); n != 0 {
		t.Errorf("%v allocations a message, want 0", n)
	}
	if q.n == 0 {
		t.Error("nothing was delivered")
	}
}

func BenchmarkRouter(b *testing.B) {
	r := NewRouter(RouterOptions{Name: "h"})
	q := new(quiet)
	r.Directory().Join("u", q)
	pass := HandlerFunc(func(m *Message, a *Answer) error { a.Pass(m.Data); return nil })
	if err := r.SetRoutes([]Route{{Match: "r/#", Through: []Handler{pass}, To: users("u")}}); err != nil {
		b.Fatal(err)
	}
	m := &Message{Type: "r/x", Data: text("1"), Receipt: q, Batch: new(Batch)}
	b.ReportAllocs()
	for b.Loop() {
		r.Put(m)
	}
}
