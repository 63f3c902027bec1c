package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// failing makes the changes of a recorder fail while the switch is on.
func failing(err error, only ...opKind) (*recorder, *atomic.Bool) {
	d := newRecorder()
	d.note = false
	var on atomic.Bool
	d.fault = func(kind opKind, _ string) error {
		if !on.Load() || len(only) > 0 && !strings.Contains(fmt.Sprint(only), string(kind)) {
			return nil
		}
		return err
	}
	return d, &on
}

func TestCardFails(t *testing.T) {
	for _, c := range []struct {
		cause, class error
		only         []opKind
	}{
		{unix.ENOSPC, ErrNoSpace, []opKind{opCreate, opWrite}},
		{unix.EIO, ErrIO, nil},
		{unix.EIO, ErrIO, []opKind{opSync}},
		{unix.EROFS, ErrReadOnly, nil},
		{fs.ErrNotExist, ErrGone, nil},
	} {
		t.Run(fmt.Sprint(c.cause, c.only), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, on := failing(c.cause, c.only...)
				s := open(t, "faults", Options{disk: d, SegmentSize: minSegment})
				r := reader(t, s, "up")
				appendAll(t, s, 1, 10)
				on.Store(true)
				began := time.Now()
				for range 20 {
					if _, err := s.Append(t.Context(), payload(0)); !errors.Is(err, c.class) || !errors.Is(err, c.cause) {
						t.Fatalf("Append: %v, want %v", err, c.class)
					}
				}
				if took := time.Since(began); took != 0 {
					t.Errorf("told after %v", took)
				}
				expect(t, r, 1, 10)
				if st := checkAccounting(t, s); st.Refused.Failed != 20 || !errors.Is(st.Failing, c.class) {
					t.Errorf("got %+v", st)
				}
				time.Sleep(time.Minute)
				on.Store(false)
				time.Sleep(5 * time.Second)
				if st := checkAccounting(t, s); st.Failing != nil {
					t.Fatalf("5 s after the cause ended: %+v", st)
				}
				appendAll(t, s, 11, 20)
				expect(t, r, 11, 20)
				closeSpool(t, s)
				s = open(t, "faults", Options{disk: d, SegmentSize: minSegment})
				expect(t, reader(t, s, "up"), 1, 20)
				if st := checkAccounting(t, s); st.Damage.Found != 0 {
					t.Errorf("damage: %+v", st.Damage)
				}
				closeSpool(t, s)
			})
		})
	}
}

// After one failed sync the batch is written again in another segment, and the
// callers do not notice.
func TestOneSyncFails(t *testing.T) {
	d := newRecorder()
	d.note = false
	var fails atomic.Int32
	d.fault = func(kind opKind, _ string) error {
		if kind == opSync && fails.Add(-1) == 0 {
			return unix.EIO
		}
		return nil
	}
	s := open(t, "faults", Options{disk: d, SegmentSize: minSegment})
	r := reader(t, s, "up")
	appendAll(t, s, 1, 5)
	fails.Store(1)
	appendAll(t, s, 6, 10)
	expect(t, r, 1, 10)
	if st := checkAccounting(t, s); st.Segments != 2 || st.Failing != nil || st.Failures != 0 {
		t.Errorf("got %+v", st)
	}
	closeSpool(t, s)
	s = open(t, "faults", Options{disk: d, SegmentSize: minSegment})
	expect(t, reader(t, s, "up"), 1, 10)
	if st := checkAccounting(t, s); st.Accepted != 10 || st.Damage.Found != 0 || len(st.Damage.Findings) != 0 {
		t.Errorf("got %+v", st)
	}
	closeSpool(t, s)
}

// A sync fails when only positions are written. The new segment still has space for
// the records in memory.
func TestPositionsFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newRecorder()
		d.note = false
		var fails atomic.Int32
		d.fault = func(kind opKind, _ string) error {
			if kind == opSync && fails.Add(-1) == 0 {
				return unix.EIO
			}
			return nil
		}
		o := Options{disk: d, Class: Telemetry, SegmentSize: minSegment}
		s := open(t, "faults", o)
		appendAll(t, s, 1, 5)
		reader(t, s, "up")
		fails.Store(1)
		time.Sleep(time.Minute) // the new reader is written
		if st := checkAccounting(t, s); st.Segments != 1 || st.InMemory != 5 || fails.Load() > 0 {
			t.Fatalf("got %+v, %d", st, fails.Load())
		}
		time.Sleep(time.Hour)
		if st := checkAccounting(t, s); st.InMemory != 0 {
			t.Fatalf("got %+v", st)
		}
		closeSpool(t, s)
		s = open(t, "faults", o)
		expect(t, reader(t, s, "up"), 1, 5)
		if st := checkAccounting(t, s); len(st.Damage.Findings) != 0 {
			t.Errorf("got %+v", st)
		}
		closeSpool(t, s)
	})
}

// Telemetry survives a failing card in memory, within its bound; durable records may
// wait in the same way.
func TestMemoryWhileCardFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, on := failing(unix.EIO)
		s := open(t, "faults", Options{disk: d, Class: Telemetry, SegmentSize: minSegment, MaxRecord: 1 << 10, Memory: 16 << 10, FlushEvery: time.Second})
		r := reader(t, s, "up")
		appendAll(t, s, 1, 10)
		on.Store(true)
		time.Sleep(2 * time.Second)
		appendAll(t, s, 11, 2000)
		st := checkAccounting(t, s)
		if st.Dropped.Memory == 0 || st.InMemory+st.Dropped.Memory != 2000 || st.Queued != st.InMemory {
			t.Fatalf("got %+v", st)
		}
		on.Store(false)
		time.Sleep(5 * time.Second)
		if st := checkAccounting(t, s); st.Failing != nil || st.InMemory != 0 {
			t.Errorf("5 s after the cause ended: %+v", st)
		}
		expect(t, r, int(st.Dropped.Memory)+1, 2000)
		closeSpool(t, s)
	})
	synctest.Test(t, func(t *testing.T) {
		d, on := failing(unix.EIO)
		s := open(t, "faults", Options{disk: d, BufferOnFailure: true, SegmentSize: minSegment})
		on.Store(true)
		done := make(chan result, 1)
		if err := s.AppendAsync(payload(1), func(seq uint64, err error) { done <- result{seq, err} }); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := s.Append(ctx, payload(2)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Append on a card that fails: %v", err)
		}
		on.Store(false)
		if r := <-done; r.err != nil || r.seq != 1 {
			t.Errorf("held: %+v", r)
		}
		closeSpool(t, s)
	})
}

// A sync that hangs delays only those who wait for it.
func TestSlowSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newRecorder()
		d.note = false
		s := open(t, "slow", Options{disk: d, SegmentSize: minSegment, MaxRecord: 1 << 10, Memory: 16 << 10})
		appendAll(t, s, 1, 1)
		d.mu.Lock()
		d.syncTime = 10 * time.Second
		d.mu.Unlock()
		began, calls, full := time.Now(), 0, 0
		done := make(chan result, 1000)
		for range 1000 {
			if err := s.AppendAsync(make([]byte, 100), func(seq uint64, err error) { done <- result{seq, err} }); errors.Is(err, ErrFull) {
				full++
			} else if err != nil {
				t.Fatal(err)
			} else {
				calls++
			}
		}
		if took := time.Since(began); took != 0 || full == 0 || calls == 0 {
			t.Errorf("AppendAsync took %v; %d taken, %d refused", took, calls, full)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if err := s.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close while a sync hangs: %v", err)
		}
		cancel()
		for range calls {
			if r := <-done; r.err != nil {
				t.Fatal(r.err)
			}
		}
		closeSpool(t, s)
	})
}

// RLIMIT_FSIZE stands in for a full disk.
func TestFileSizeLimit(t *testing.T) {
	if dir := os.Getenv("SPOOL_TEST_LIMIT"); dir != "" {
		limitedChild(t, dir)
		return
	}
	cmd := rerun(t, "TestFileSizeLimit", "SPOOL_TEST_LIMIT="+t.TempDir())
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	start(t, cmd)
	if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), "PASS") {
		t.Fatalf("%v\n%s", err, out.String())
	}
}

func limitedChild(t *testing.T, dir string) {
	s := open(t, dir, Options{})
	appendAll(t, s, 1, 10)
	old := unix.Rlimit{}
	unix.Getrlimit(unix.RLIMIT_FSIZE, &old)
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 4096, Max: old.Max}); err != nil {
		t.Skip(err)
	}
	for {
		if _, err := s.Append(t.Context(), make([]byte, 1000)); err != nil {
			if !errors.Is(err, ErrNoSpace) {
				t.Fatal(err)
			}
			break
		}
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	expect(t, reader(t, s, "up"), 1, 10)
	deadline := time.Now().Add(time.Minute)
	for {
		if _, err := s.Append(t.Context(), make([]byte, 1000)); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not back: %+v", s.Stats())
		}
		time.Sleep(50 * time.Millisecond)
	}
	closeSpool(t, s)
}
