package spool

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

var modelOps = flag.Int("spool.ops", 100000, "operations of the model test")

// A model is what a spool should be, as a slice.
type model struct {
	o         Options
	queue     []modelRecord
	next      uint64
	floor     uint64
	delivered uint64
	dropped   uint64
	refused   uint64
	accepted  uint64
	readers   map[string]*modelReader
}

type modelRecord struct {
	seq  uint64
	data []byte
}

type modelReader struct {
	committed uint64
	cursor    uint64          // the last handed out
	out       map[uint64]bool // handed out, above committed; true if confirmed
}

func (m *model) bytes() (n uint64) {
	for _, r := range m.queue {
		n += uint64(recordSize(len(r.data)))
	}
	return n
}

func (m *model) over(n, size uint64) bool {
	return m.bytes()+size > m.o.MaxBytes || m.o.MaxRecords > 0 && uint64(len(m.queue))+n > m.o.MaxRecords
}

func (m *model) append(data []byte) (uint64, bool) {
	size := uint64(recordSize(len(data)))
	if m.o.Full == DropNewest || m.o.Full == Wait {
		if m.over(1, size) {
			m.refused++
			return 0, false
		}
	}
	for len(m.queue) > 0 && m.over(1, size) {
		m.floor = m.queue[0].seq
		m.queue = m.queue[1:]
		m.dropped++
		for _, r := range m.readers {
			r.raise(m.floor)
		}
		m.advance()
	}
	m.queue = append(m.queue, modelRecord{m.next, bytes.Clone(data)})
	m.next++
	m.accepted++
	return m.next - 1, true
}

// raise moves the position to at least seq, and over what is confirmed behind it.
func (r *modelReader) raise(seq uint64) {
	if r.committed < seq {
		r.committed = seq
		for s := range r.out {
			if s <= seq {
				delete(r.out, s)
			}
		}
	}
	for {
		lowest := uint64(forgotten)
		for s := range r.out {
			lowest = min(lowest, s)
		}
		if !r.out[lowest] {
			return
		}
		delete(r.out, lowest)
		r.committed = lowest
	}
}

func (m *model) advance() {
	if len(m.readers) == 0 {
		return
	}
	low := uint64(forgotten)
	for _, r := range m.readers {
		low = min(low, r.committed)
	}
	for len(m.queue) > 0 && m.queue[0].seq <= low {
		m.queue = m.queue[1:]
		m.delivered++
	}
	m.floor = max(m.floor, low)
}

func (m *model) nextOf(r *modelReader) (rec modelRecord, ok bool) {
	for _, rec := range m.queue {
		if rec.seq <= max(r.cursor, r.committed, m.floor) {
			continue
		}
		confirmed, again := r.out[rec.seq]
		if !again && len(r.out) >= m.o.InFlight {
			return rec, false
		}
		r.cursor = rec.seq
		if confirmed {
			continue
		}
		r.out[rec.seq] = false
		return rec, true
	}
	return rec, false
}

func (m *model) compare(st Stats) error {
	d := st.Dropped
	if st.Accepted != st.Delivered+st.Queued+st.Expired+d.Oldest+d.Thinned+d.Damaged+d.Memory {
		return fmt.Errorf("the sum is wrong: %+v", st)
	}
	if st.Accepted != m.accepted || st.Queued != uint64(len(m.queue)) || st.QueuedBytes != m.bytes() ||
		st.Delivered != m.delivered || d.Oldest != m.dropped || st.Refused.Full != m.refused || st.Damage.Found != 0 {
		return fmt.Errorf("got %+v\nwant accepted %d, queued %d of %d bytes, delivered %d, dropped %d, refused %d",
			st, m.accepted, len(m.queue), m.bytes(), m.delivered, m.dropped, m.refused)
	}
	if len(st.Readers) != len(m.readers) {
		return fmt.Errorf("readers %+v, want %d", st.Readers, len(m.readers))
	}
	for _, r := range st.Readers {
		want := m.readers[r.Name]
		if want == nil || r.Position != want.committed || r.InFlight != len(want.out) {
			return fmt.Errorf("reader %+v, want %+v", r, want)
		}
	}
	return nil
}

func TestModel(t *testing.T) {
	n := short(*modelOps)
	for i, o := range []Options{
		{MaxRecords: 200},
		{MaxBytes: 100 << 10, Full: DropNewest},
		{Class: Telemetry, MaxBytes: 200 << 10},
		{Class: Telemetry, MaxRecords: 100, Full: Wait},
		{MaxBytes: 1 << 20, MaxRecords: 3000},
	} {
		t.Run(fmt.Sprintf("%d-%d", o.Class, o.Full), func(t *testing.T) {
			t.Parallel()
			runModel(t, o, n/5, uint64(i))
		})
	}
}

func runModel(t *testing.T, o Options, n int, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 2))
	d := newRecorder()
	d.note = false
	o.disk, o.SegmentSize, o.InFlight, o.MaxRecord = d, minSegment, 50, 4<<10
	s := open(t, "model", o)
	m := &model{o: s.opt, next: 1, readers: map[string]*modelReader{}}
	done, cancel := context.WithCancel(context.Background())
	cancel()
	names := []string{"a", "b", "c"}
	fatal := func(op string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("seed %d: %s: %v", seed, op, err)
		}
	}
	for range n {
		name := names[min(2, rng.IntN(12)/5)]
		r := m.readers[name]
		op := rng.IntN(100)
		if r == nil && (op >= 45 || m.readers["a"] == nil) {
			op = 99
		}
		switch {
		case op < 45:
			data := make([]byte, rng.IntN(1<<rng.IntN(13)))
			for i := range data {
				data[i] = byte(rng.Uint32())
			}
			full := m.over(1, uint64(recordSize(len(data))))
			want, ok := m.append(data)
			result := make(chan error, 1)
			var got uint64
			err := s.AppendAsync(data, func(seq uint64, err error) { got = seq; result <- err })
			if err == nil {
				err = <-result
			}
			if ok != (err == nil) || ok && got != want || !ok && !errors.Is(err, ErrFull) {
				t.Fatalf("append: %d, %v; want %d, %v", got, err, want, ok)
			}
			if full && o.Class == Telemetry {
				fatal("sync", s.Sync(t.Context())) // makes room first
			}
		case op < 70:
			for range 1 + rng.IntN(8) {
				want, ok := m.nextOf(r)
				rec, err := reader(t, s, name).Next(done)
				if ok != (err == nil) || ok && (rec.Seq != want.seq || !bytes.Equal(rec.Data, want.data)) {
					t.Fatalf("next of %s: %d, %v; want %d, %v", name, rec.Seq, err, want.seq, ok)
				}
			}
		case op < 94:
			var out []uint64
			for seq, confirmed := range r.out {
				if !confirmed {
					out = append(out, seq)
				}
			}
			slices.Sort(out)
			for range min((len(out)+1)/2, 1+rng.IntN(10)) {
				seq := out[rng.IntN(len(out))]
				if rng.IntN(4) > 0 {
					seq = out[0]
					out = out[1:]
				}
				if _, ok := r.out[seq]; ok {
					r.out[seq] = true
					r.raise(0)
					m.advance()
				}
				fatal("confirm", reader(t, s, name).Confirm(seq))
			}
		case op < 96:
			r.cursor = r.committed
			reader(t, s, name).Rewind()
		case op < 97:
			fatal("sync", s.Sync(t.Context()))
		case op < 98 && rng.IntN(10) == 0:
			fatal("close", s.Close(t.Context()))
			s = open(t, "model", o)
			m.delivered, m.dropped, m.refused, m.accepted = 0, 0, 0, uint64(len(m.queue))
			for _, r := range m.readers {
				r.cursor, r.out = r.committed, map[uint64]bool{}
			}
		case r == nil:
			reader(t, s, name)
			m.readers[name] = &modelReader{committed: m.floor, cursor: m.floor, out: map[uint64]bool{}}
		case op == 98 && name != "a" && rng.IntN(3) == 0:
			s.Forget(name)
			delete(m.readers, name)
			m.advance()
		}
		fatal(fmt.Sprintf("after %d", op), m.compare(s.Stats()))
	}
	st := s.Stats()
	t.Logf("%d operations: accepted %d, delivered %d, dropped %d, refused %d; %d segments", n, st.Accepted, st.Delivered, st.Dropped.Oldest, st.Refused.Full, st.Segments)
}
