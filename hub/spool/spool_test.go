package spool

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// short is how often to repeat what is to be done n times, where time matters.
func short(n int) int {
	if testing.Short() || raceEnabled {
		n /= 10
	}
	return n
}

// open opens a spool that is closed when the test ends.
func open(t testing.TB, dir string, o Options) *Spool {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(context.Background()) })
	return s
}

func appendAll(t testing.TB, s *Spool, from, to int) {
	t.Helper()
	for i := from; i <= to; i++ {
		seq, err := s.Append(t.Context(), payload(i))
		if err != nil {
			t.Fatal(err)
		}
		if seq != uint64(i) {
			t.Fatalf("Append: seq %d, want %d", seq, i)
		}
	}
}

func payload(i int) []byte { return fmt.Appendf(nil, "record %d", i) }

func reader(t testing.TB, s *Spool, name string) *Reader {
	t.Helper()
	r, err := s.Reader(name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// expect reads records from..to.
func expect(t testing.TB, r *Reader, from, to int) {
	t.Helper()
	for i := from; i <= to; i++ {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		rec, err := r.Next(ctx)
		cancel()
		if err != nil {
			t.Fatalf("Next of %d: %v; %+v", i, err, r.s.Stats())
		}
		if rec.Seq != uint64(i) || string(rec.Data) != string(payload(i)) {
			t.Fatalf("Next: %d %q, want %d", rec.Seq, rec.Data, i)
		}
	}
}

// checkAccounting checks the law of Stats.
func checkAccounting(t testing.TB, s *Spool) Stats {
	t.Helper()
	st := s.Stats()
	d := st.Dropped
	if sum := st.Delivered + st.Queued + st.Expired + d.Oldest + d.Downsampled + d.Damaged + d.Memory; sum != st.Accepted {
		t.Fatalf("accepted %d, accounted for %d: %+v", st.Accepted, sum, st)
	}
	return st
}

func closeSpool(t testing.TB, s *Spool) {
	t.Helper()
	if err := s.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func TestReopen(t *testing.T) {
	for _, class := range []Class{Durable, Telemetry} {
		t.Run(fmt.Sprint(class), func(t *testing.T) {
			dir := t.TempDir()
			o := Options{Class: class, SegmentSize: minSegment}
			s := open(t, dir, o)
			r := reader(t, s, "up")
			appendAll(t, s, 1, 3000)
			expect(t, r, 1, 2000)
			for i := 1000; i >= 1; i-- {
				if err := r.Confirm(uint64(i)); err != nil {
					t.Fatal(err)
				}
			}
			r.Confirm(1002)
			if got := r.Position(); got != 1000 {
				t.Errorf("position %d, want 1000", got)
			}
			if err := r.Confirm(2001); !errors.Is(err, ErrNotHandedOut) {
				t.Errorf("Confirm of what was not handed out: %v", err)
			}
			r.Rewind()
			expect(t, r, 1001, 1001)
			expect(t, r, 1003, 3000)
			st := checkAccounting(t, s)
			if st.Queued != 2000 || st.Delivered != 1000 {
				t.Errorf("got %+v", st)
			}
			closeSpool(t, s)

			s = open(t, dir, o)
			st = checkAccounting(t, s)
			if st.Found != 2000 || st.Damage.Found != 0 || st.Readers[0].Position != 1000 {
				t.Errorf("after opening: %+v", st)
			}
			r = reader(t, s, "up")
			expect(t, r, 1001, 3000)
			appendAll(t, s, 3001, 3001)
			expect(t, r, 3001, 3001)
			for i := 1001; i <= 3001; i++ {
				r.Confirm(uint64(i))
			}
			if st = checkAccounting(t, s); st.Queued != 0 {
				t.Errorf("all is confirmed: %+v", st)
			}
			if err := s.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(dir, o); !errors.Is(err, ErrLocked) {
				t.Errorf("second Open: %v, want ErrLocked", err)
			}
			closeSpool(t, s)
		})
	}
}
