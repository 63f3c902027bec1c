package link

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"testing"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/hubtest"
	"github.com/besterhub/bester/hub/wire"
)

func TestSlotKeepsTheContractOfHandlers(t *testing.T) {
	hubtest.TestHandler(t, func(t *testing.T) hub.Handler {
		s := NewSlot("x", Options{})
		s.Install(hub.HandlerFunc(hubtest.Pass))
		return s
	})
	hubtest.TestHandler(t, func(t *testing.T) hub.Handler {
		s := NewSlot("x", Options{})
		t.Cleanup(func() { s.Close(hub.ErrClosed) })
		go s.Install(hub.HandlerFunc(hubtest.Pass)) // while messages come
		return s
	})
}

func TestVacantSlotIsBounded(t *testing.T) {
	s := NewSlot("x", Options{QueueMessages: 3})
	var as hubtest.Answers
	ask(&as, s, "anna", 4)
	wantErr(t, as.Wait(t, 1)[0].Err, hub.ErrFull, "3 messages wait for it already")
	s.Close(errors.New("gone"))
	ask(&as, s, "anna", 1)
	for _, a := range as.Wait(t, 5)[1:] {
		if a.Err == nil || a.Err.Error() != "gone" {
			t.Errorf("got %v", a.Err)
		}
	}
	s = NewSlot("x", Options{QueueBytes: 1})
	ask(&as, s, "anna", 2)
	wantErr(t, as.Wait(t, 6)[5].Err, hub.ErrFull, "bytes wait")
	s.Close(hub.ErrClosed)
}

// A handler can be installed in a closed slot, and handed over from there.
func TestHandlerIsInstalledInAClosedSlot(t *testing.T) {
	s := NewSlot("x", Options{})
	var as hubtest.Answers
	s.Close(errors.New("could not be started"))
	s.Install(hub.HandlerFunc(hubtest.Pass))
	successor := s.Vacate(Options{})
	ask(&as, successor, "anna", 2)
	s.Install(hub.HandlerFunc(hubtest.Pass))
	for _, a := range as.Wait(t, 2) {
		if a.Err != nil {
			t.Error(a.Err)
		}
	}
}

// A handler is replaced while messages are in flight, wait and arrive. Each is answered in
// order: those in flight by the old handler, the others by the new one.
func TestGroupIsReplacedWithoutLoss(t *testing.T) {
	h := newHub(t, Options{})
	s := NewSlot("x", Options{})
	old, err := h.Add(Config{Name: "x", Types: []hub.Pattern{}})
	if err != nil {
		t.Fatal(err)
	}
	s.Install(old)
	p := h.peer(hello(1))
	var as hubtest.Answers
	for i := range 3 {
		as.Ask(s, message("reading/a", "anna", i, fmt.Sprint(i)))
	}
	tag, _ := p.handle()

	successor := s.Vacate(Options{})
	retired := make(chan error, 1)
	go func() { retired <- old.Retire(t.Context(), successor) }()
	until(t, "closing", func() (Stats, bool) {
		old.mu.Lock()
		defer old.mu.Unlock()
		return Stats{}, old.successor != nil
	})
	for i := 3; i < 5; i++ { // through the slot, and through a route that still has the old handler
		as.Ask([]hub.Handler{s, old}[i-3], message("reading/a", "anna", i, fmt.Sprint(i)))
	}
	p.pass(tag)
	if kinds := p.closed(); len(kinds) != 1 || kinds[0] != wire.KindGoodbye {
		t.Errorf("the old process got frames of kind %v, want a goodbye alone", kinds)
	}
	if err := <-retired; err != nil {
		t.Fatal(err)
	}

	next, err := h.Add(Config{Name: "x", Types: []hub.Pattern{}})
	if err != nil {
		t.Fatal(err)
	}
	s.Install(next)
	as.Ask(s, message("reading/a", "anna", 5, "5"))
	q := h.peer(hello(8))
	for want := uint64(1); want < 6; want++ {
		tag, m := q.handle()
		if m.ID.Number != want || string(m.Data.Bytes) != string([]byte{byte(want)}) {
			t.Errorf("message %d with data %x came where %d was due", m.ID.Number, m.Data.Bytes, want)
		}
		q.pass(tag)
	}
	for i, a := range as.Wait(t, 6) {
		if a.Err != nil || a.Message.ID.Number != uint64(i) || a.Text(0) != fmt.Sprint(i) {
			t.Errorf("answer %d: message %d, %q, %v", i, a.Message.ID.Number, a.Text(0), a.Err)
		}
	}
}

func TestClassicIsReplacedWithoutLoss(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	asked, answer := make(chan string, 10), make(chan struct{})
	classicServer(t, path, func(c net.Conn) {
		data := readFrame(c)
		asked <- data
		<-answer
		c.Write(bformat.Append(nil, []byte(`{"header":{"status":"0","command":{"type":"sendClients","data":["anna"]}},"data":`+data+`}`)))
	})
	config := ClassicConfig{Name: "old", Path: path}
	s := NewSlot("old", Options{})
	old := NewClassic(config)
	s.Install(old)
	var as hubtest.Answers
	for i := range 3 {
		as.Ask(s, message("t", "anna", i, fmt.Sprint(i)))
	}
	if got := <-asked; got != "0" {
		t.Fatalf("got %s", got)
	}
	successor := s.Vacate(Options{})
	retired := make(chan error, 1)
	go func() { retired <- old.Retire(t.Context(), successor) }()
	until(t, "closing", func() (Stats, bool) {
		old.mu.Lock()
		defer old.mu.Unlock()
		return Stats{}, old.successor != nil
	})
	as.Ask(s, message("t", "anna", 3, "3"))
	as.Ask(s, message("t", "bert", 0, "10"))
	as.Ask(old, message("t", "bert", 1, "11"))
	close(answer)
	if err := <-retired; err != nil {
		t.Fatal(err)
	}
	if a := as.Wait(t, 1); len(a) != 1 || len(asked) != 0 {
		t.Errorf("%d answers and %d more asked, want one and none", len(a), len(asked))
	}
	next := newClassic(t, config)
	s.Install(next)
	got := make(map[hub.UserName]uint64)
	for _, a := range as.Wait(t, 6) {
		from := a.Message.From.User
		if a.Err != nil || a.Message.ID.Number != got[from] {
			t.Errorf("%s: message %d (%v) where %d was due", from, a.Message.ID.Number, a.Err, got[from])
		}
		got[from]++
	}
}
