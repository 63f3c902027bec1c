package handlers

import (
	"hash/maphash"
	"sync"

	"github.com/besterhub/bester/hub"
)

// A worker handles its share of the messages, one after the other. All messages with
// the same ordering key (sender and type) go to the same worker.
type worker struct {
	s     *server
	in    chan *job // has room for all of the hub's credits: sending never blocks
	done  chan struct{}
	batch hub.Batch
}

// A job is a copy of a message, queued for a worker.
type job struct {
	tag  uint64
	m    hub.Message
	to   []hub.Address
	data []byte
}

var (
	jobs     = sync.Pool{New: func() any { return new(job) }}
	hashSeed = maphash.MakeSeed()
)

func (s *server) startWorkers() {
	if s.o.Concurrency == 1 {
		return
	}
	for range s.o.Concurrency {
		w := &worker{s: s, in: make(chan *job, s.o.Credits), done: make(chan struct{})}
		s.workers = append(s.workers, w)
		go w.run()
	}
}

// stopWorkers closes the workers' queues and waits until they have finished.
func (s *server) stopWorkers() {
	for _, w := range s.workers {
		close(w.in)
	}
	for _, w := range s.workers {
		<-w.done
	}
}

// dispatch queues a copy of m for its worker.
func (s *server) dispatch(tag uint64, m *hub.Message) {
	j := jobs.Get().(*job)
	j.tag, j.m = tag, *m
	j.data = append(j.data[:0], m.Data.Bytes...)
	j.to = append(j.to[:0], m.To...)
	j.m.Data.Bytes, j.m.To = j.data, j.to
	s.workers[orderHash(m)%uint64(len(s.workers))].in <- j
}

// orderHash hashes the ordering key of m. Messages that must stay in order have the same hash.
func orderHash(m *hub.Message) uint64 {
	h := maphash.String(hashSeed, string(m.Type))
	h = h*31 + maphash.String(hashSeed, string(m.From.User))
	return h*31 + maphash.String(hashSeed, string(m.From.Server))
}

func (w *worker) run() {
	defer close(w.done)
	for j := range w.in {
		w.s.handle(j.tag, &j.m, &w.batch)
		if cap(j.data) > maxPooledBuffer {
			j.data = nil
		}
		jobs.Put(j)
		if len(w.in) == 0 {
			w.batch.Flush()
		}
	}
	w.batch.Flush()
}
