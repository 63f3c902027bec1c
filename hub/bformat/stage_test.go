package bformat

import (
	"encoding/binary"
	"io"
	"net"
	"testing"

	"go.uber.org/goleak"
)

func stage(s *Stage, payload string) error { return s.End(append(s.Begin(), payload...), Droppable(0)) }

// Frames of all sizes, staged and not, arrive in order and complete, or are counted as dropped.
func TestStageCountsEveryFrame(t *testing.T) {
	defer goleak.VerifyNone(t)
	for name, limit := range map[string]int{"room": 64 << 20, "overload": 64 << 10} {
		t.Run(name, func(t *testing.T) {
			a, b := net.Pipe()
			told := 0
			q := NewQueue(a, QueueOptions{Limit: limit, OnLoss: func(l Losses) { told += int(l.Total()) }})
			done := run(q)
			const n = 20000
			put := make(chan bool)
			go func() {
				defer close(put)
				defer q.Shutdown()
				s := NewStage(q)
				for i := range uint32(n) {
					payload := binary.LittleEndian.AppendUint32(make([]byte, i%90), i)
					if i%500 == 7 {
						payload = append(make([]byte, 2*MaxStaged), payload...)
					}
					var err error
					if i%50 > 0 {
						err = s.End(append(s.Begin(), payload...), Droppable(0))
					} else if err = s.Flush(); err == nil {
						err = q.Put(RequiredDelivery, payload)
					}
					if err != nil {
						t.Error(err)
						return
					}
					if i%97 == 0 || i == n-1 {
						s.Begin() // and abandoned
						if err := s.Flush(); err != nil {
							t.Error(err)
						}
						q.Flush()
					}
				}
			}()
			go func() { <-done; a.Close() }()
			if name == "overload" {
				<-put // the peer reads too late for most
			}
			got, required := arrivals(t, b)
			d := int(lost(q))
			if got+d != n || told != d || required != n/50 || (d > 0) != (name == "overload") || q.Stats().Accepted != n {
				t.Errorf("%d written (%d required), %d dropped, %d told; want %d in all, %d of them required", got, required, d, told, n, n/50)
			}
		})
	}
}

// A queue that has ended counts staged frames as dropped.
func TestStageEnded(t *testing.T) {
	for _, want := range []error{io.ErrUnexpectedEOF, ErrShutdown} {
		q := NewQueue(io.Discard, QueueOptions{})
		s := NewStage(q)
		for range 3 {
			if err := stage(s, "x"); err != nil {
				t.Fatal(err)
			}
		}
		if want == ErrShutdown {
			q.Shutdown()
		} else {
			q.Fail(want)
		}
		if err := s.Flush(); err != want || s.Lost() != 3 || s.Lost() != 0 || lost(q) != 0 {
			t.Errorf("Flush: %v with %d dropped, want %v and 3", err, lost(q), want)
		}
		if err := s.Flush(); err != nil || s.pooled != nil || q.chunk != nil {
			t.Errorf("an empty stage: %v; it holds a buffer: %t, the queue: %t", err, s.pooled != nil, q.chunk != nil)
		}
	}
}

func TestStageAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("pools forget under the race detector")
	}
	wrote := make(chan struct{})
	q := NewQueue(writerFunc(func(b []byte) (int, error) { wrote <- struct{}{}; return len(b), nil }), QueueOptions{})
	done := run(q)
	s := NewStage(q)
	payload := make([]byte, 64)
	if got := testing.AllocsPerRun(2000, func() {
		for range 200 {
			if err := s.End(append(s.Begin(), payload...), Droppable(0)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
		q.Flush()
		<-wrote
	}); got != 0 {
		t.Errorf("%v allocations for 200 frames, want 0", got)
	}
	q.Shutdown()
	<-done
}
