package bformat

import (
	"io"
	"net"
	"testing"
)

// benchmarkQueue has many goroutines put frames of 64 bytes, 64 a flush.
func benchmarkQueue(b *testing.B, w io.Writer) {
	q := NewQueue(w, QueueOptions{Limit: 1 << 20, Overflow: DropOldest})
	done := run(q)
	payload := make([]byte, 64)
	b.ReportAllocs()
	b.SetBytes(68)
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if err := q.End(append(q.Begin(), payload...), Droppable(0)); err != nil {
				b.Error(err)
				return
			}
			if i%64 == 63 {
				q.Flush()
			}
		}
	})
	b.StopTimer()
	q.Shutdown()
	if err := <-done; err != nil {
		b.Error(err)
	}
	b.ReportMetric(float64(lost(q))/float64(b.N), "dropped/op")
}

func BenchmarkQueueDiscard(b *testing.B) { benchmarkQueue(b, io.Discard) }

func BenchmarkQueuePipe(b *testing.B) {
	x, y := net.Pipe()
	drain(b, x, y)
}

func BenchmarkQueueTCP(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Skip(err)
	}
	defer l.Close()
	x, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	y, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	drain(b, x, y)
}

// drain benchmarks a queue onto x while a Reader takes its frames from y.
func drain(b *testing.B, x, y net.Conn) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		r := NewReader(y, 0)
		for {
			if _, err := r.Next(); err != nil {
				return
			}
		}
	}()
	benchmarkQueue(b, x)
	x.Close()
	<-done
	y.Close()
}
