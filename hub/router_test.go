package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A mailbox is a sink that notes what it is given: "type<from> data".
type mailbox struct {
	mu   sync.Mutex
	got  []string
	err  error
	tags []uint64
}

func (b *mailbox) Put(m *Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return b.err
	}
	b.got = append(b.got, fmt.Sprintf("%s<%s> %s", m.Type, m.From, m.Data.Bytes))
	b.tags = append(b.tags, m.Tag)
	return nil
}

// A sender is the receipt of what it puts, and takes replies.
type sender struct {
	mailbox
	results []error
}

func (s *sender) Done(_ *Message, err error) { s.results = append(s.results, err) }

func (s *sender) send(t *testing.T, r *Router, typ Type, data string, to ...Address) error {
	t.Helper()
	n := len(s.results)
	err := r.Put(&Message{Type: typ, From: Address{User: "sam"}, To: to, Data: text(data), Receipt: s, Tag: 7})
	if err != nil {
		if len(s.results) != n {
			t.Fatal("a message that was not taken got a receipt")
		}
		return err
	}
	if len(s.results) != n+1 {
		t.Fatalf("got %d receipts, want 1", len(s.results)-n)
	}
	return s.results[n]
}

func text(s string) Data { return Data{JSON, []byte(s)} }

func add(suffix string) Handler {
	return HandlerFunc(func(m *Message, a *Answer) error {
		a.Pass(text(string(m.Data.Bytes) + suffix))
		return nil
	})
}

func do(c ...Command) Handler {
	return HandlerFunc(func(m *Message, a *Answer) error {
		for _, c := range c {
			if c.Data.Bytes == nil {
				c.Data = m.Data
			}
			a.Do(c)
		}
		return nil
	})
}

func serve(t *testing.T, r *Router, p Pattern, h Handler) {
	t.Helper()
	if _, err := r.Serve(p, h); err != nil {
		t.Fatal(err)
	}
}

func users(names ...string) (a []Address) {
	for _, n := range names {
		at, err := ParseAddress(n)
		if err != nil {
			panic(err)
		}
		a = append(a, at)
	}
	return a
}

func (b *mailbox) want(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(b.got, want) {
		t.Errorf("got %q, want %q", b.got, want)
	}
}

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

func TestManyTypesAreFoundThoughNotAllAreRemembered(t *testing.T) {
	r := NewRouter(RouterOptions{})
	serve(t, r, "t/#", do(Command{Verb: Drop}))
	for i := range 2 * maxSeen {
		if !r.Serves(Type(fmt.Sprintf("t/%d", i))) || !r.Serves("t/0") || r.Serves("u") {
			t.Fatalf("wrong at %d", i)
		}
	}
	if n := len(*r.table.Load().seen.Load()); n != maxSeen {
		t.Errorf("remembers %d types, want %d", n, maxSeen)
	}
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

// receipted is a server's sink: it answers the receipt as it should.
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

func TestMessageThatMultipliesIsStopped(t *testing.T) {
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
		if calls != MaxRounds+1 {
			t.Errorf("handled %d times, want %d", calls, MaxRounds+1)
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

func TestDrainWaitsForTheLastAnswer(t *testing.T) {
	r := NewRouter(RouterOptions{})
	l := new(later)
	serve(t, r, "t", l)
	b := new(Batch)
	if err := r.Put(&Message{Type: "t", Batch: b}); err != nil {
		t.Fatal(err)
	}
	b.Flush()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Drain(ctx); err == nil {
		t.Error("drained before the answer")
	}
	l.answers[0].Resume(nil)
	l.answers[0].Done(nil)
	if err := r.Drain(t.Context()); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestDeliveryThatFails(t *testing.T) {
	r := NewRouter(RouterOptions{})
	box := new(mailbox)
	r.Directory().Join("u", box)
	serve(t, r, "t", do(Command{Verb: SendClients, To: users("u")}))
	s := new(sender)
	for _, c := range []struct {
		put  error
		fail bool
		stat func(RouterStats) uint64
	}{
		{ErrFull, false, func(s RouterStats) uint64 { return s.Lost }},
		{ErrDenied, false, func(s RouterStats) uint64 { return s.Lost }},
		{ErrClosed, false, func(s RouterStats) uint64 { return s.Absent }},
		{ErrEncoding, true, func(s RouterStats) uint64 { return s.Lost }},
	} {
		box.err = c.put
		before := c.stat(r.Stats())
		if err := s.send(t, r, "t", "x"); (err != nil) != c.fail {
			t.Errorf("%v: got %v", c.put, err)
		}
		if c.stat(r.Stats()) != before+1 {
			t.Errorf("%v was not counted", c.put)
		}
	}
}

func TestSenderMayReach(t *testing.T) {
	r := NewRouter(RouterOptions{})
	ann, bob := new(mailbox), new(mailbox)
	r.Directory().Join("ann", ann)
	r.Directory().Join("bob", bob)
	serve(t, r, "t", do(Command{Verb: SendClients, To: users("bob", "ann")}))
	s := new(sender)
	err := r.Put(&Message{Type: "t", From: Address{User: "sam"}, Data: text("1"), Receipt: s, Reach: only("ann")})
	if err != nil || !errors.Is(s.results[0], ErrDenied) || !strings.Contains(s.results[0].Error(), `"sam" may not reach "bob"`) {
		t.Errorf("got %v, %v", err, s.results)
	}
	ann.want(t, "t<sam> 1")
	bob.want(t)
}

type only UserName

func (o only) MayReach(a Address) bool { return a == Address{User: UserName(o)} }

func TestDeliverGoesPastHandlers(t *testing.T) {
	r := NewRouter(RouterOptions{})
	box := new(mailbox)
	r.Directory().Join("u", box)
	serve(t, r, "t", HandlerFunc(func(*Message, *Answer) error { t.Error("handled"); return nil }))
	s := new(sender)
	if err := r.Deliver(&Message{Type: "t", To: users("u", "absent"), Data: text("1"), Receipt: s}); err != nil || s.results[0] != nil {
		t.Errorf("got %v, %v", err, s.results)
	}
	box.want(t, "t<> 1")
	if err := r.Deliver(&Message{Type: "t", Hops: MaxHops + 1, To: users("u")}); !errors.Is(err, ErrHops) {
		t.Errorf("too many hops: got %v", err)
	}
}

// A later is a handler that answers when it is told to.
type later struct{ answers []*Answer }

func (l *later) Handle(m *Message, a *Answer) {
	a.Detach()
	l.answers = append(l.answers, a)
}

func TestAnswerComesLater(t *testing.T) {
	r := NewRouter(RouterOptions{Name: "here"})
	box := new(mailbox)
	r.Directory().Join("u", box)
	l := new(later)
	serve(t, r, "t", l)
	s := new(sender)
	to := users("u")
	m := &Message{Type: "t", To: to, Data: text("borrowed"), Receipt: s, Batch: new(Batch)}
	if err := r.Put(m); err != nil {
		t.Fatal(err)
	}
	to[0] = Address{User: "overwritten"}
	if len(s.results) != 0 {
		t.Fatal("receipt before the answer")
	}
	a := l.answers[0]
	if id := a.Message().ID; id.Origin != "here" || id.Number == 0 {
		t.Errorf("got ID %v", id)
	}
	a.Resume(nil)
	a.Pass(text("late"))
	if len(s.results) != 0 {
		t.Fatal("receipt before Done")
	}
	a.Done(nil)
	box.want(t, "t<> late")
	if len(s.results) != 1 || s.results[0] != nil {
		t.Errorf("got receipts %v", s.results)
	}
}

func TestServerConfirmsLater(t *testing.T) {
	r := NewRouter(RouterOptions{})
	far := new(slowServer)
	r.Directory().SetServers(nil, far)
	serve(t, r, "t", do(Command{Verb: SendServers, To: users("@h:1", "@h:2")}))
	s := new(sender)
	if err := r.Put(&Message{Type: "t", Receipt: s, Data: text("x")}); err != nil {
		t.Fatal(err)
	}
	if len(s.results) != 0 || len(far.receipts) != 2 {
		t.Fatalf("got %d receipts before %d confirmations", len(s.results), len(far.receipts))
	}
	if st := r.Stats(); st.Delivered != 0 || st.Lost != 0 {
		t.Errorf("before any confirmation: %+v", st)
	}
	far.receipts[1].Done(&Message{}, errors.New("connection refused"))
	far.receipts[0].Done(&Message{}, nil)
	if len(s.results) != 1 || s.results[0] == nil {
		t.Errorf("got %v, want one failure", s.results)
	}
	if st := r.Stats(); st.Delivered != 1 || st.Lost != 1 || st.Failed != 1 {
		t.Errorf("got %+v, want one delivered and one lost", st)
	}
	if err := r.Drain(t.Context()); err != nil {
		t.Error(err)
	}
}

type slowServer struct{ receipts []Receipt }

func (s *slowServer) Put(m *Message) error {
	s.receipts = append(s.receipts, m.Receipt)
	return nil
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

// noted is a Receipt that keeps the notes.
type noted chan Notes

func (n noted) Done(m *Message, err error) { n <- m.Notes }

func TestNotesForTheSender(t *testing.T) {
	r := NewRouter(RouterOptions{})
	got := make(noted, 1)
	here, gone := []Address{{User: "here"}}, []Address{{User: "gone"}}
	defer r.Directory().Join("here", &mailbox{})()
	if err := r.SetRoutes([]Route{{Match: "to/here", To: here}, {Match: "to/gone", To: gone}}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		typ  Type
		to   []Address
		want Notes
	}{
		{"plain", here, 0},
		{"plain", gone, NoteAbsent},
		{"plain", append(here, gone...), NoteAbsent},
		{"plain", here, 0}, // nothing of the one before
		{"to/here", nil, 0},
		{"to/here", gone, NoteOverruled},
		{"to/gone", here, NoteAbsent | NoteOverruled},
	} {
		if err := r.Put(&Message{Type: c.typ, To: c.to, Receipt: got}); err != nil {
			t.Fatal(err)
		}
		if n := <-got; n != c.want || (n == 0) != (n.String() == "") {
			t.Errorf("%s to %v: got notes %d %q, want %d", c.typ, c.to, n, n, c.want)
		}
	}
}
