package handlers

import (
	"hash/maphash"
	"sync"

	"github.com/besterhub/bester/hub"
)

// A lane handles the messages of some senders and types, one after the other.
type lane struct {
	s     *server
	in    chan *parcel // holds as many as the hub has credits: filling it never waits
	done  chan struct{}
	batch hub.Batch
}

// A parcel is a copy of a message on its way to its lane.
type parcel struct {
	tag  uint64
	m    hub.Message
	to   []hub.Address
	data []byte
}

var (
	parcels = sync.Pool{New: func() any { return new(parcel) }}
	seed    = maphash.MakeSeed()
)

func (s *server) startLanes() {
	if s.o.Concurrency == 1 {
		return
	}
	for range s.o.Concurrency {
		l := &lane{s: s, in: make(chan *parcel, s.o.Credits), done: make(chan struct{})}
		s.lanes = append(s.lanes, l)
		go l.run()
	}
}

// stopLanes has the lanes finish what they have, and waits for it.
func (s *server) stopLanes() {
	for _, l := range s.lanes {
		close(l.in)
	}
	for _, l := range s.lanes {
		<-l.done
	}
}

// dispatch copies m for its lane.
func (s *server) dispatch(tag uint64, m *hub.Message) {
	p := parcels.Get().(*parcel)
	p.tag, p.m = tag, *m
	p.data = append(p.data[:0], m.Data.Bytes...)
	p.to = append(p.to[:0], m.To...)
	p.m.Data.Bytes, p.m.To = p.data, p.to
	s.lanes[laneOf(m)%uint64(len(s.lanes))].in <- p
}

// laneOf is the same number for messages that must stay in order.
func laneOf(m *hub.Message) uint64 {
	h := maphash.String(seed, string(m.Type))
	h = h*31 + maphash.String(seed, string(m.From.User))
	return h*31 + maphash.String(seed, string(m.From.Server))
}

func (l *lane) run() {
	defer close(l.done)
	for p := range l.in {
		l.s.handle(p.tag, &p.m, &l.batch)
		if cap(p.data) > maxKept {
			p.data = nil
		}
		parcels.Put(p)
		if len(l.in) == 0 {
			l.batch.Flush()
		}
	}
	l.batch.Flush()
}
