package hub

import (
	"context"
	"errors"
	"strings"
	"testing"
)

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

func TestFailedDelivery(t *testing.T) {
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

func TestReachIsEnforced(t *testing.T) {
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

func TestDeliverBypassesHandlers(t *testing.T) {
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

// A later is a handler whose answers the test gives later.
type later struct{ answers []*Answer }

func (l *later) Handle(m *Message, a *Answer) {
	a.Detach()
	l.answers = append(l.answers, a)
}

func TestDetachedAnswer(t *testing.T) {
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

// noted is a Receipt that passes on the notes.
type noted chan Notes

func (n noted) Done(m *Message, err error) { n <- m.Notes }

func TestNotesForTheSender(t *testing.T) {
	r := NewRouter(RouterOptions{})
	got := make(noted, 1)
	here, gone := []Address{{User: "here"}}, []Address{{User: "gone"}}
	defer r.Directory().Join("here", &mailbox{})()
	if err := r.SetRoutes([]Route{{Match: "to/here", To: here}, {Match: "to/gone", To: gone}, {Match: "to/both", To: append(here, gone...)}}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		typ  Type
		to   []Address
		want Notes
	}{
		{"plain", here, 0},
		{"plain", gone, NoteAbsent | NoteNobody | oneAbsent},
		{"plain", append(gone, gone...), NoteAbsent | NoteNobody | 2*oneAbsent},
		{"plain", append(here, gone...), NoteAbsent | oneAbsent},
		{"plain", here, 0}, // nothing of the one before
		{"to/here", nil, 0},
		{"to/here", gone, NoteOverruled},
		{"to/gone", here, NoteReceiverAbsent | NoteNobody | NoteOverruled | oneAbsent},
		{"to/both", nil, NoteReceiverAbsent | oneAbsent},
	} {
		if err := r.Put(&Message{Type: c.typ, To: c.to, Receipt: got}); err != nil {
			t.Fatal(err)
		}
		if n := <-got; n != c.want || (n == 0) != (n.String() == "") {
			t.Errorf("%s to %v: got notes %d %q, want %d", c.typ, c.to, n, n, c.want)
		}
	}
}
