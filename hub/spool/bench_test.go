package spool

import (
	"context"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkAppend appends records of 128 bytes with some number in flight, on a card
// in memory with some sync time. p99 is of the time until a record is accepted.
func BenchmarkAppend(b *testing.B) {
	for _, sync := range []time.Duration{200 * time.Microsecond, 10 * time.Millisecond} {
		for _, flight := range []int{1, 256} {
			b.Run(fmt.Sprintf("sync=%v/inflight=%d", sync, flight), func(b *testing.B) {
				d := newRecorder()
				d.note, d.syncTime, d.wait = false, sync, sleepExact
				s := open(b, "bench", Options{disk: d, MaxBytes: 64 << 20})
				benchAppend(b, s, flight)
			})
		}
	}
	b.Run("folder/inflight=256", func(b *testing.B) {
		benchAppend(b, open(b, filepath.Join(b.TempDir(), "s"), Options{}), 256)
	})
	b.Run("folder/inflight=1", func(b *testing.B) {
		benchAppend(b, open(b, filepath.Join(b.TempDir(), "s"), Options{}), 1)
	})
}

func benchAppend(b *testing.B, s *Spool, flight int) {
	took := make([]time.Duration, b.N)
	var next sync.Mutex
	n := 0
	var all sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for range flight {
		all.Go(func() {
			data := make([]byte, 128)
			for {
				next.Lock()
				i := n
				n++
				next.Unlock()
				if i >= b.N {
					return
				}
				binary.LittleEndian.PutUint64(data, uint64(i))
				began := time.Now()
				if _, err := s.Append(context.Background(), data); err != nil {
					b.Error(err)
					return
				}
				took[i] = time.Since(began)
			}
		})
	}
	all.Wait()
	b.StopTimer()
	slices.Sort(took)
	st := s.Stats()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(took[b.N*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(st.Writes.Amplification(), "written/payload")
	b.ReportMetric(float64(b.N)/float64(st.Writes.Syncs), "records/sync")
}

// BenchmarkStream appends asynchronously while a reader confirms, like an upstream
// that keeps up.
func BenchmarkStream(b *testing.B) {
	for _, class := range []Class{Durable, Telemetry} {
		b.Run(fmt.Sprint(class), func(b *testing.B) {
			s := open(b, filepath.Join(b.TempDir(), "s"), Options{Class: class})
			r := reader(b, s, "up")
			data := make([]byte, 128)
			credits := make(chan struct{}, 256)
			b.ReportAllocs()
			b.ResetTimer()
			go func() {
				done := func(uint64, error) {}
				for range b.N {
					credits <- struct{}{}
					if err := s.AppendAsync(data, done); err != nil {
						b.Error(err)
					}
				}
			}()
			for range b.N {
				rec, err := r.Next(context.Background())
				if err != nil {
					b.Fatal(err)
				}
				r.Confirm(rec.Seq)
				<-credits
			}
			b.StopTimer()
			b.ReportMetric(s.Stats().Writes.Amplification(), "written/payload")
		})
	}
}

// BenchmarkOpen opens a spool of a million records, half of them confirmed.
func BenchmarkOpen(b *testing.B) {
	d := newRecorder()
	d.note = false
	o := Options{disk: d, MaxBytes: 1 << 30, InFlight: 1 << 20}
	s := open(b, "bench", o)
	r := reader(b, s, "up")
	fill(b, s, 1_000_000)
	for i := range 500_000 {
		if _, err := r.Next(context.Background()); err != nil {
			b.Fatal(err)
		}
		r.Confirm(uint64(i + 1))
	}
	closeSpool(b, s)
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		s := open(b, "bench", o)
		if got := s.Stats().Found; got != 500_000 {
			b.Fatalf("found %d", got)
		}
		closeSpool(b, s)
	}
}

// fill appends n records of 128 bytes, as fast as memory takes them.
func fill(t testing.TB, s *Spool, n int) {
	data := make([]byte, 128)
	var last sync.WaitGroup
	last.Add(n)
	done := func(_ uint64, err error) {
		if err != nil {
			t.Error(err)
		}
		last.Done()
	}
	for range n {
		for {
			if err := s.AppendAsync(data, done); err == nil {
				break
			}
			s.Sync(context.Background())
		}
	}
	last.Wait()
}
