package bformat

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestBudgetLeavesHeadroom(t *testing.T) {
	b := NewBudget(1000)
	for i, c := range []struct {
		n, holds int
		good     bool
		used     int
	}{
		{501, 0, false, 0}, // more than is left for others
		{500, 0, true, 500},
		{1, 500, false, 500},
		{250, 0, true, 750}, // a holder of nothing still gets something
		{126, 0, false, 750},
		{100, 0, true, 850},
		{25, 100, true, 875},
		{25, 125, false, 875},
	} {
		if good := b.tryAcquire(c.n, c.holds); good != c.good || b.Used() != c.used {
			t.Errorf("%d: take(%d, %d): %t, %d used; want %t, %d", i, c.n, c.holds, good, b.Used(), c.good, c.used)
		}
	}
	b.acquire(1000)
	if b.tryAcquire(1, 0) || b.Refused() != 5 {
		t.Errorf("%d refused, want 5", b.Refused())
	}
	b.release(1875)
	b.SetLimit(10)
	if b.Used() != 0 || b.Limit() != 10 || b.tryAcquire(6, 0) || !b.tryAcquire(5, 0) {
		t.Error("not as new under another limit")
	}
	if none := (*Budget)(nil); !none.tryAcquire(1<<30, 1<<30) {
		t.Error("no budget has a limit")
	}
}

func TestReaderBudget(t *testing.T) {
	const long = 300_000
	_, stream := frames(3, 10, long, 20)
	b := NewBudget(2 * (long + HeaderSize))
	r := NewReader(bytes.NewReader(stream), 0)
	r.SetBudget(b)
	for i, want := range []struct{ size, used int }{{10, 0}, {long, long + HeaderSize}, {20, 0}} {
		p, err := r.Next()
		if err != nil || len(p) != want.size || b.Used() != want.used {
			t.Fatalf("frame %d: %d bytes, %v, %d used; want %+v", i, len(p), err, b.Used(), want)
		}
	}

	b.SetLimit(long)
	r = NewReader(bytes.NewReader(stream), 0)
	r.SetBudget(b)
	if p, err := r.Next(); err != nil || len(p) != 10 {
		t.Fatalf("got %d bytes, %v", len(p), err)
	}
	for range 2 {
		if _, err := r.Next(); !errors.Is(err, ErrMemory) || !strings.Contains(err.Error(), "300000 bytes") {
			t.Fatalf("got %v, want ErrMemory", err)
		}
	}
	if b.Used() != 0 || b.Refused() != 1 {
		t.Errorf("%d used, %d refused", b.Used(), b.Refused())
	}

	for name, end := range map[string]func(r *Reader) error{
		"cut off":  func(r *Reader) error { _, err := r.Next(); return err },
		"released": func(r *Reader) error { r.Next(); r.Release(); return nil },
	} {
		b.SetLimit(1 << 20)
		r = NewReader(bytes.NewReader(Append(nil, make([]byte, long))[:200_000]), 0)
		r.SetBudget(b)
		if err := end(r); err != nil && err != io.ErrUnexpectedEOF || b.Used() != 0 {
			t.Errorf("%s: %v, %d used", name, err, b.Used())
		}
	}
}

// Progress tells a frame that advances from one that has stalled.
func TestReaderProgress(t *testing.T) {
	var seen []uint64
	var r *Reader
	_, stream := frames(3, 200_000, 5, 5)
	steps := []int{2, 10, 100, 65536, 65536, 68822, 9, 7}
	r = NewReader(readerFunc(func(b []byte) (int, error) {
		seen = append(seen, r.Progress())
		if len(steps) == 0 {
			return 0, io.EOF
		}
		n := copy(b[:min(len(b), steps[0])], stream)
		stream = stream[n:]
		if steps[0] -= n; steps[0] <= 0 {
			steps = steps[1:]
		}
		return n, nil
	}), 0)
	for {
		if _, err := r.Next(); err != nil {
			break
		}
		if r.Progress() != 0 {
			t.Errorf("progress %d while nobody waits", r.Progress())
		}
	}
	// Three times 64 KiB of the first frame, each of the others' beginning, and the end.
	if got, want := slices.Compact(seen), []uint64{0, 1, 65537, 131073, 0, 200005, 200014, 0}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// With nothing left in the budget a queue is full at its guaranteed size, or, while a write
// is in flight, at its exempt size. Its policy then applies.
func TestQueueWithoutBudget(t *testing.T) {
	for _, c := range []struct {
		name string
		full OverflowPolicy
		busy bool
		most int
	}{
		{"drop oldest", DropOldest, false, guaranteedSize}, {"drop newest", DropNewest, false, guaranteedSize}, {"close", Close, false, guaranteedSize},
		{"drop oldest, busy", DropOldest, true, exemptSize}, {"drop newest, busy", DropNewest, true, exemptSize}, {"close, busy", Close, true, exemptSize},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := NewBudget(0)
			told := 0
			q := NewQueue(io.Discard, QueueOptions{Overflow: c.full, Budget: b, OnLoss: func(l Losses) { told += int(l.Total()) }})
			q.busy = c.busy
			const n = 1000
			var err error
			for i := range uint32(n) {
				if err = q.Put(Droppable(0), binary.LittleEndian.AppendUint32(make([]byte, 80), i)); err == dropErrors[LossMemory] {
					told, err = told+1, nil
				}
				if err != nil {
					break
				}
				if cap(q.chunk.buf) > c.most {
					t.Fatalf("%d bytes for what waits", cap(q.chunk.buf))
				}
			}
			if c.full == Close {
				if err != ErrFull || told != int(lost(q)) {
					t.Errorf("got %v, %d told", err, told)
				}
				return
			}
			if b.Starved() == 0 {
				t.Error("frames are dropped for want of memory, and nobody knows")
			}
			waiting, _ := q.Waiting()
			if err != nil || waiting+told != n || waiting < c.most/2/88 || b.Used() > c.most {
				t.Errorf("%v: %d wait, %d dropped, %d used", err, waiting, told, b.Used())
			}
			last := binary.LittleEndian.Uint32(q.chunk.buf[len(q.chunk.buf)-4:])
			if newest := last == n-1; newest != (c.full == DropOldest) {
				t.Errorf("the last is %d", last)
			}
		})
	}
}

// A queue that drops frames because of its own limit does not count as starved, even if
// memory is short.
func TestQueueFullByItself(t *testing.T) {
	for name, full := range map[string]OverflowPolicy{"drop oldest": DropOldest, "drop newest": DropNewest, "close": Close} {
		b := NewBudget(0)
		q := NewQueue(io.Discard, QueueOptions{Limit: exemptSize / 2, Overflow: full, Budget: b})
		b.tryAcquire(1, 0)
		refused := uint64(0)
		for range 100 {
			if q.Put(Droppable(0), make([]byte, 100)) == dropErrors[LossFull] {
				refused++
			}
		}
		if lost(q)+refused < 2 || b.Refused() == 0 || b.Starved() != 0 {
			t.Errorf("%s: %d dropped, %d refused, %d starved", name, lost(q), b.Refused(), b.Starved())
		}
	}
}

// Required frames are kept even without budget, but backpressure begins early, and ends
// once there is memory again.
func TestQueueRequiredWithoutBudget(t *testing.T) {
	b := NewBudget(0)
	q := NewQueue(io.Discard, QueueOptions{Budget: b})
	required := strings.Repeat("f", 96)
	n := 0
	for ; !q.Backpressured(); n++ {
		put(t, q, Required, required)
	}
	if n > 2*exemptSize/100 || b.Used() > guaranteedSize {
		t.Errorf("backpressured after %d frames, with %d bytes", n, b.Used())
	}
	if waiting, _ := q.Waiting(); waiting != n {
		t.Errorf("%d of %d wait", waiting, n)
	}
	done := run(q)
	q.Wait()
	b.SetLimit(1 << 20)
	for range 2000 {
		put(t, q, Droppable(0), required)
	}
	if lost(q) != 0 {
		t.Errorf("dropped %d with memory enough", lost(q))
	}
	q.Shutdown()
	if err := <-done; err != nil || b.Used() != 0 {
		t.Errorf("%v, %d used at the end", err, b.Used())
	}
}

// With the budget used up by others, a peer that reads still gets all frames, in bursts too.
// The test does the work of Run itself, so that Run cannot dequeue part of a burst.
func TestQueueGuaranteedWithoutBudget(t *testing.T) {
	b := NewBudget(0)
	q := NewQueue(io.Discard, QueueOptions{Budget: b})
	for i := range 50 {
		n, size := 100, 200
		if i%2 == 0 {
			n, size = 1, 20_000
		}
		for range n {
			put(t, q, Droppable(0), strings.Repeat("x", size))
		}
		k, _, _ := q.dequeue()
		if k == nil {
			t.Fatalf("burst %d: all is dropped", i)
		}
		if got := payloads(t, k.buf); len(got) != n || len(got[0]) != size {
			t.Fatalf("burst %d: got %d frames, want %d", i, len(got), n)
		}
		q.releaseChunk(k)
		if k, done, err := q.dequeue(); k != nil || done { // the write has ended
			t.Fatalf("burst %d: %v after all was taken", i, err)
		}
	}
	if lost(q) != 0 || b.Used() != 0 || b.Starved() != 0 {
		t.Errorf("%d dropped, %d used, %d starved", lost(q), b.Used(), b.Starved())
	}
}

// A queue releases all that it acquired, also for frames being written and dropped ones.
func TestQueueGivesBudgetBack(t *testing.T) {
	b := NewBudget(4 << 20)
	g := newGate()
	q := NewQueue(g, QueueOptions{Budget: b})
	fill := func(n int) {
		for range n {
			put(t, q, Droppable(0), strings.Repeat("x", 996))
		}
	}
	fill(100)
	if b.Used() != 320<<10 {
		t.Errorf("%d used for 100 KB", b.Used())
	}
	done := run(q)
	q.Flush()
	<-g.entered
	fill(300) // and its limit is 256 KiB
	if want := 2 * 320 << 10; b.Used() != want || lost(q) == 0 {
		t.Errorf("%d used with a write in flight, want %d; %d dropped", b.Used(), want, lost(q))
	}
	q.Fail(nil)
	g.open <- nil
	if err := <-done; err != io.ErrClosedPipe || b.Used() != 0 {
		t.Errorf("%v, %d used at the end", err, b.Used())
	}
}

// A frame whose encoding outgrows the chunk, with no budget left, is dropped like any other.
func TestQueueOutgrownWithoutBudget(t *testing.T) {
	q := NewQueue(io.Discard, QueueOptions{Budget: NewBudget(0)})
	q.busy = true
	for i := range 500 {
		b := q.Begin()
		b = append(b, bytes.Repeat([]byte{byte(i)}, 1000+i)...)
		if err := q.End(b, Droppable(0)); err != nil {
			t.Fatal(err)
		}
		if cap(q.chunk.buf) > exemptSize {
			t.Fatalf("%d bytes for what waits", cap(q.chunk.buf))
		}
	}
	got := payloads(t, q.chunk.buf)
	if len(got) < 3 || len(got)+int(lost(q)) != 500 {
		t.Errorf("%d wait, %d dropped", len(got), lost(q))
	}
	for i, p := range got {
		if want := 1500 - len(got) + i; len(p) != want || p[0] != byte(want-1000) {
			t.Errorf("frame %d has %d bytes, want %d", i, len(p), want)
		}
	}
}
