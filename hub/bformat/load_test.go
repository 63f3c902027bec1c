package bformat

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
)

// Many producers put and flush frames: all frames arrive, those of each producer in order.
func TestQueueManyProducers(t *testing.T) {
	defer goleak.VerifyNone(t)
	const producers, each = 8, 3000
	a, b := net.Pipe()
	q := NewQueue(a, QueueOptions{Limit: 64 << 20})
	done := run(q)
	var wg sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			for i := range each {
				buf := q.Begin()
				buf = binary.LittleEndian.AppendUint32(buf, uint32(p))
				buf = binary.LittleEndian.AppendUint32(buf, uint32(i))
				if err := q.End(buf, Class(i%2)); err != nil {
					t.Error(err)
				}
				if i%7 == 0 || i == each-1 {
					q.Flush()
				}
			}
		})
	}
	var next [producers]uint32
	r := NewReader(b, 0)
	for range producers * each {
		f, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		p, i := binary.LittleEndian.Uint32(f), binary.LittleEndian.Uint32(f[4:])
		if next[p] != i {
			t.Fatalf("producer %d: got %d, want %d", p, i, next[p])
		}
		next[p]++
	}
	wg.Wait()
	q.Shutdown()
	if err := <-done; err != nil {
		t.Error(err)
	}
	a.Close()
	b.Close()
}

// Under overload every frame is either written or counted, in order.
func TestQueueOverloadCountsEveryFrame(t *testing.T) {
	defer goleak.VerifyNone(t)
	a, b := net.Pipe()
	var told, refused atomic.Int64
	q := NewQueue(a, QueueOptions{Limit: 16000, OnLoss: func(l Losses) { told.Add(int64(l.Total())) }})
	done := run(q)
	const n = 20000
	go func() {
		for i := range uint32(n) {
			class := Droppable(uint32(i))
			if i%50 == 0 {
				class = RequiredDelivery
			}
			err := q.Put(class, binary.LittleEndian.AppendUint32(make([]byte, i%90, 100), i))
			if err == dropErrors[LossFull] {
				refused.Add(1)
			} else if err != nil {
				t.Error("Put failed")
				break
			}
			q.Flush()
		}
		q.Shutdown()
	}()
	go func() { <-done; a.Close() }()
	got, required := arrivals(t, b)
	if d := lost(q); got+int(d)+int(refused.Load()) != n || told.Load() != int64(d) {
		t.Errorf("%d written, %d dropped, %d told, %d refused; want %d in all", got, d, told.Load(), refused.Load(), n)
	}
	if required != n/50 {
		t.Errorf("%d of the frames that may not be dropped arrived, want %d", required, n/50)
	}
}

// arrivals reads numbered frames until the end and checks their order. It returns how many
// came, and how many of them are required frames, which every fiftieth is.
func arrivals(t *testing.T, from io.Reader) (got, required int) {
	t.Helper()
	last := -1
	for r := NewReader(from, 0); ; got++ {
		f, err := r.Next()
		if err == io.EOF {
			return got, required
		}
		if err != nil {
			t.Fatal(err)
		}
		i := int(binary.LittleEndian.Uint32(f[len(f)-4:]))
		if i <= last {
			t.Fatalf("%d after %d", i, last)
		}
		last = i
		if i%50 == 0 {
			required++
		}
	}
}
