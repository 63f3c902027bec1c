package link

import (
	"errors"
	"testing"

	"github.com/besterhub/bester/hub"
)

// A flood fills a handler's queue and is refused from then on; the few messages of other
// senders get in, and the room for them is bounded, too.
func TestFloodIsRefusedAndOthersAreNot(t *testing.T) {
	for name, o := range map[string]Options{"messages": {QueueMessages: 400}, "bytes": {QueueMessages: 1 << 20, QueueBytes: 400 * (jobOverhead + 10)}} {
		t.Run(name, func(t *testing.T) {
			s := NewSlot("slow", o) // nobody serves it
			r := hub.NewRouter(hub.RouterOptions{})
			if _, err := r.Serve("t", s); err != nil {
				t.Fatal(err)
			}
			refused := make(map[hub.UserName]int)
			put := func(from hub.UserName, n int) {
				for range n {
					m := hub.Message{Type: "t", From: hub.Address{User: from}, Data: hub.Data{Bytes: []byte("0123456789")},
						Receipt: receiptFunc(func(m *hub.Message, err error) {
							if errors.Is(err, hub.ErrFull) {
								refused[m.From.User]++
							}
						})}
					if err := r.Put(&m); err != nil {
						t.Fatal(err)
					}
				}
			}
			names := []hub.UserName{"ann", "bob", "cleo"}
			const flood = "flood"
			put(flood, 1000)
			for range 10 {
				for _, name := range names {
					put(name, 1)
				}
				put(flood, 100)
			}
			if n := refused[flood]; n != 1600 {
				t.Errorf("%d of 2000 messages of the flood were refused, want 1600", n)
			}
			for _, name := range names {
				if refused[name] > 0 {
					t.Errorf("%d messages of %s were refused", refused[name], name)
				}
			}
			for range 50 {
				for _, name := range names {
					put(name, 10)
				}
			}
			if s.jobs > 500 {
				t.Errorf("%d messages wait, want at most 500", s.jobs)
			}
			s.Close(hub.ErrClosed)
			if n := s.shares.held; n != 0 {
				t.Errorf("an empty queue is held by %d senders", n)
			}
		})
	}
}

// However many senders come and go, no more are remembered than hold something, twice, and
// some besides. None of them is taken for another.
func TestSharesAreExactAndBounded(t *testing.T) {
	var s shares
	var waiting []*job
	for i := range 5000 {
		j := &job{size: 10}
		s.add(j, uint32(i))
		if waiting = append(waiting, j); len(waiting) > 100 {
			s.remove(waiting[0])
			waiting = waiting[1:]
		}
		if most := 2*101 + maxIdleShares + 1; s.held != len(waiting) || len(s.bySender) > most {
			t.Fatalf("%d senders hold something, %d are remembered; want %d, at most %d", s.held, len(s.bySender), len(waiting), most)
		}
	}
	for _, j := range waiting {
		if j.share.waiting != 1 || j.share.bytes != 10 {
			t.Errorf("sender %d holds %+v, want one job of 10 bytes", j.share.sender, *j.share)
		}
	}
}

type receiptFunc func(m *hub.Message, err error)

func (f receiptFunc) Done(m *hub.Message, err error) { f(m, err) }

// What a process has in hand does not count against its sender where the queue is full, but
// it does again once it has come back out of order.
func TestSharesCountWhatWaits(t *testing.T) {
	o := &Options{QueueMessages: 8, QueueBytes: 1 << 20}
	var s shares
	const anna, bob = 1, 2
	var inFlight []*job
	for range 3 {
		j := &job{size: 10}
		s.add(j, anna)
		s.send(j)
		inFlight = append(inFlight, j)
	}
	for range 8 {
		s.add(&job{size: 10}, bob)
	}
	if s.full(o, anna, 8, 110, 10) {
		t.Error("a sender of whom nothing waits is refused")
	}
	if !s.full(o, bob, 8, 110, 10) {
		t.Error("the sender who fills the queue is not refused")
	}
	for _, j := range inFlight {
		s.receive(j)
	}
	if !s.full(o, anna, 8, 110, 10) {
		t.Error("answers that wait are not counted")
	}
	for _, j := range inFlight {
		s.remove(j)
	}
	if s.held != 1 {
		t.Errorf("%d senders hold something, want 1", s.held)
	}
}
