package spool

import (
	"context"
	"flag"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/besterhub/bester/hub/spool/internal/loopfs"
)

var dayLength = flag.Duration("spool.day", 20*time.Second, "how long a day's telemetry may take")

// load appends n records, so many in flight, each waited for.
func load(t testing.TB, s *Spool, n, flight, size int) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range flight {
		all.Go(func() {
			data := make([]byte, size)
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				le.PutUint64(data, uint64(i))
				if _, err := s.Append(context.Background(), data); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

// drain confirms records as they come, until ctx ends.
func drain(ctx context.Context, r *Reader) {
	for {
		rec, err := r.Next(ctx)
		if err != nil {
			return
		}
		r.Confirm(rec.Seq)
	}
}

// written is what the device wrote while f ran.
func written(t testing.TB, fs *loopfs.FS, f func()) uint64 {
	t.Helper()
	before, err := fs.Written()
	if err != nil {
		t.Fatal(err)
	}
	f()
	after, err := fs.Written()
	if err != nil {
		t.Fatal(err)
	}
	return after - before
}

// This is what the card writes for each byte of data, with the file system's journal.
// New blocks cost the same again, once in the life of a folder. With few in flight
// nothing on ext4 is cheaper, for a sync with a journal entry costs 12 KiB of
// journal, more than the batch.
func TestLoopCard(t *testing.T) {
	const all = 1 << 40
	for _, c := range []struct {
		name            string
		flight, n, size int
		bound           uint64
		warm            int // records before that
		read            bool
		most            float64
	}{
		{"from an empty folder", 64, 1_000_000, 128, 16 << 20, 0, false, 2},
		{"full", 64, 200_000, 128, 16 << 20, 150_000, false, 2},
		{"read as it comes", 64, 200_000, 128, 16 << 20, 150_000, true, 2},
		{"growing into new blocks", 256, 200_000, 128, all, 0, false, 2},
		{"growing into new blocks", 64, 200_000, 128, all, 0, false, 3},
		{"full", 1, 5000, 100, 256 << 10, 5000, false, 45},
		{"read as it comes", 1, 5000, 100, 256 << 10, 5000, true, 45},
		{"growing into new blocks", 1, 5000, 100, all, 0, false, 45},
	} {
		t.Run(fmt.Sprintf("%d in flight/%s", c.flight, c.name), func(t *testing.T) {
			fs := loopFS(t, 256<<20)
			s := open(t, filepath.Join(fs.Dir, "s"), Options{MaxBytes: c.bound})
			load(t, s, c.warm, 256, c.size)
			if c.read {
				go drain(t.Context(), reader(t, s, "up"))
			}
			check(t, s, fs, c.n, c.flight, c.size, c.most)
		})
	}
	t.Run("64 in flight/growing again", func(t *testing.T) {
		fs := loopFS(t, 256<<20)
		s := open(t, filepath.Join(fs.Dir, "s"), Options{})
		load(t, s, 200_000, 256, 128)
		r := reader(t, s, "up")
		for range 200_000 {
			rec, err := r.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			r.Confirm(rec.Seq)
		}
		if err := s.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		check(t, s, fs, 200_000, 64, 128, 2)
	})
}

func check(t *testing.T, s *Spool, fs *loopfs.FS, n, flight, size int, most float64) {
	before := s.Stats().Writes
	bytes := written(t, fs, func() { load(t, s, n, flight, size) })
	st := s.Stats().Writes
	payload := float64(n * size)
	got := float64(bytes) / payload
	t.Logf("%.2f bytes for each of data, %.2f without the journal; %.1f records a sync",
		got, float64(st.Written-before.Written)/payload, float64(n)/float64(st.Syncs-before.Syncs))
	if got > most {
		t.Errorf("%.2f bytes for each of data, want at most %v", got, most)
	}
	closeSpool(t, s)
}

// Telemetry that is read as it comes is hardly ever written to the card: at the real
// pace for a while, and in a day that passes as much faster.
func TestLoopTelemetry(t *testing.T) {
	const day, perDay = 24 * time.Hour, 10 * 24 * 3600
	for _, c := range []struct {
		name   string
		faster time.Duration
		n      int
	}{
		{"at the real pace", 1, perDay / int(day / *dayLength)},
		{"a day", day / *dayLength, perDay},
	} {
		t.Run(c.name, func(t *testing.T) {
			fs := loopFS(t, 64<<20)
			s := open(t, filepath.Join(fs.Dir, "s"), Options{Class: Telemetry, FlushEvery: 5 * time.Minute / c.faster, CommitEvery: 10 * time.Second / c.faster})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r := reader(t, s, "up")
			if err := s.Sync(ctx); err != nil { // the reader's name is written, once
				t.Fatal(err)
			}
			go drain(ctx, r)
			syncs := s.Stats().Writes.Syncs
			bytes := written(t, fs, func() {
				for began, i := time.Now(), 0; i < c.n; i++ {
					if due := time.Duration(i) * *dayLength / time.Duration(c.n); due > time.Since(began) {
						time.Sleep(max(due-time.Since(began), time.Millisecond))
					}
					load(t, s, 1, 1, 100)
				}
			})
			syncs = s.Stats().Writes.Syncs - syncs
			// Of the journal's entries for the time of each change, many changes that
			// come faster share one.
			bytes += syncs * 3 * pageSize
			t.Logf("%d records in %v: %d syncs, %d kB written with their journal", c.n, *dayLength, syncs, bytes/1000)
			if bytes > 5e6 {
				t.Errorf("%d bytes written, want at most 5 MB a day", bytes)
			}
			if st := checkAccounting(t, s); st.Delivered < uint64(c.n)*9/10 {
				t.Errorf("the reader did not keep up: %+v", st)
			}
			cancel()
			closeSpool(t, s)
		})
	}
}
