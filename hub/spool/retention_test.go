package spool

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestOptions(t *testing.T) {
	for _, o := range []Options{
		{Class: 7}, {Overflow: 9}, {SegmentSize: 1000}, {SegmentSize: 100 << 10, MaxRecord: 50 << 10}, {Memory: 1, MaxRecord: 10},
		{MaxAge: -1}, {InFlight: -1}, {MaxBytes: 100, MaxRecord: 100},
	} {
		if _, err := Open(t.TempDir(), o); err == nil {
			t.Errorf("Open with %+v: no error", o)
		}
	}
	s := open(t, t.TempDir(), Options{MaxBytes: 1000})
	appendAll(t, s, 1, 100)
	if st := checkAccounting(t, s); st.QueuedBytes > 1000 || st.Dropped.Oldest == 0 {
		t.Errorf("got %+v", st)
	}
	if _, err := s.Append(t.Context(), make([]byte, 2000)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Append of 2000 bytes: %v", err)
	}
	if _, err := s.Reader(""); err == nil {
		t.Error("a reader without a name")
	}
}

func TestExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newRecorder()
		d.note = false
		o := Options{disk: d, SegmentSize: minSegment, MaxAge: time.Hour}
		s := open(t, "age", o)
		appendAll(t, s, 1, 1000)
		time.Sleep(40 * time.Minute)
		appendAll(t, s, 1001, 1500)
		time.Sleep(25 * time.Minute)
		if st := checkAccounting(t, s); st.Expired != 1000 || st.Queued != 500 {
			t.Errorf("after 65 minutes: %+v", st)
		}
		r := reader(t, s, "up")
		expect(t, r, 1001, 1200)
		for i := 1001; i <= 1100; i++ {
			r.Confirm(uint64(i))
		}
		closeSpool(t, s)
		time.Sleep(time.Hour)
		s = open(t, "age", o)
		time.Sleep(time.Second)
		if st := checkAccounting(t, s); st.Expired != 400 || st.Queued != 0 {
			t.Errorf("opened an hour later: %+v", st)
		}
		appendAll(t, s, 1501, 1501)
		expect(t, reader(t, s, "up"), 1501, 1501)
		closeSpool(t, s)
	})
}

// Ages do not jump with the machine's clock. A record written while that was far in
// the future does not make earlier ones expire, and is not younger than later ones.
func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newRecorder()
		d.note = false
		s := open(t, "clock", Options{disk: d})
		s.openedMS += 1e12
		appendAll(t, s, 1, 1)
		closeSpool(t, s)
		s = open(t, "clock", Options{disk: d, MaxAge: time.Hour})
		appendAll(t, s, 2, 2)
		time.Sleep(30 * time.Minute)
		if st := checkAccounting(t, s); st.Queued != 2 {
			t.Errorf("got %+v", st)
		}
		r := reader(t, s, "up")
		a, _ := r.Next(t.Context())
		at := a.Time
		if b, _ := r.Next(t.Context()); b.Time < at {
			t.Errorf("time went from %d to %d", at, b.Time)
		}
		time.Sleep(time.Hour)
		if st := checkAccounting(t, s); st.Expired != 2 {
			t.Errorf("got %+v", st)
		}
		closeSpool(t, s)
	})
}

func TestWaitForSpace(t *testing.T) {
	s := open(t, t.TempDir(), Options{MaxRecords: 10, Overflow: Wait})
	r := reader(t, s, "up")
	appendAll(t, s, 1, 10)
	if err := s.AppendAsync(payload(11), nil); !errors.Is(err, ErrFull) {
		t.Errorf("AppendAsync: %v, want ErrFull", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := s.Append(ctx, payload(11)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Append: %v", err)
	}
	done := make(chan error)
	go func() {
		_, err := s.Append(context.Background(), payload(11))
		done <- err
	}()
	expect(t, r, 1, 1)
	r.Confirm(1)
	if err := <-done; err != nil {
		t.Error(err)
	}
	expect(t, r, 2, 11)
}

// Downsampling keeps the first, last, least and greatest of each interval of each
// series.
func TestDownsample(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newRecorder()
		d.note = false
		series := func(b []byte) (string, float64, bool) {
			if len(b) < 9 {
				return "", 0, false
			}
			return string(b[:1]), float64(binary.LittleEndian.Uint64(b[1:])), true
		}
		o := Options{disk: d, SegmentSize: minSegment, MaxBytes: 600 << 10, MaxRecord: 1 << 10, Overflow: Downsample, DownsampleEvery: time.Minute, Series: series}
		s := open(t, "thin", o)
		reader(t, s, "up")
		type sample struct {
			seq, value, time uint64
			series           byte
		}
		var all []sample
		rng := rand.New(rand.NewPCG(3, 3))
		add := func() {
			b := make([]byte, 60)
			b[0] = "ab"[rng.IntN(2)]
			value := rng.Uint64N(1e6)
			binary.LittleEndian.PutUint64(b[1:], value)
			if rng.IntN(500) == 0 {
				b = b[:3]
			}
			at := s.clock()
			seq, err := s.Append(t.Context(), b)
			if err != nil {
				t.Fatal(err)
			}
			one := sample{seq, value, at, b[0]}
			if len(b) == 3 {
				one.series = 0
			}
			all = append(all, one)
			time.Sleep(time.Second)
		}
		for range 15000 {
			add()
		}
		st := checkAccounting(t, s)
		if st.Dropped.Oldest != 0 || st.Dropped.Downsampled == 0 || st.QueuedBytes > o.MaxBytes || st.Queued+st.Dropped.Downsampled != 15000 {
			t.Fatalf("got %+v", st)
		}
		closeSpool(t, s)
		s = open(t, "thin", o)
		if again := checkAccounting(t, s); again.Queued != st.Queued || again.QueuedBytes != st.QueuedBytes || again.Damage.Found != 0 {
			t.Fatalf("opened again: %+v\nwas %+v", again, st)
		}
		r := reader(t, s, "up")
		got := map[uint64]bool{}
		for range st.Queued {
			rec, err := r.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got[rec.Seq] = true
			r.Confirm(rec.Seq)
		}
		// The extremes of each hour are those of some interval in it.
		type key struct {
			series byte
			hour   uint64
		}
		groups := map[key][]sample{}
		for _, one := range all {
			if one.series == 0 && !got[one.seq] {
				t.Errorf("%d is of no series and was thinned out", one.seq)
			}
			k := key{one.series, one.time / 3600_000}
			groups[k] = append(groups[k], one)
		}
		for k, g := range groups {
			least := slices.MinFunc(g, func(a, b sample) int { return int(a.value) - int(b.value) })
			most := slices.MaxFunc(g, func(a, b sample) int { return int(a.value) - int(b.value) })
			for _, one := range []sample{g[0], g[len(g)-1], least, most} {
				if !got[one.seq] {
					t.Errorf("%v: %+v was thinned out", k, one)
				}
			}
		}
		if st := checkAccounting(t, s); st.Queued != 0 || uint64(len(got)) != st.Delivered {
			t.Errorf("got %+v", st)
		}
		closeSpool(t, s)
	})
}

// Telemetry whose reader keeps up is hardly ever written to the card.
func TestTelemetryCard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newRecorder()
		d.note = false
		s := open(t, "card", Options{disk: d, Class: Telemetry, DayBudget: 5e6})
		r := reader(t, s, "up")
		hours := 24
		if testing.Short() || raceEnabled {
			hours = 1
		}
		for i := 1; i <= 10*hours*3600; i++ {
			if _, err := s.Append(t.Context(), payload(i)); err != nil {
				t.Fatal(err)
			}
			rec, err := r.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if i%10 == 0 {
				for seq := rec.Seq - 9; seq <= rec.Seq; seq++ {
					r.Confirm(seq)
				}
			}
			time.Sleep(100 * time.Millisecond)
		}
		st := checkAccounting(t, s)
		t.Logf("%d hours: %d bytes in %d syncs for %d of payload", hours, st.Writes.Day, st.Writes.Syncs, st.Writes.Payload)
		if st.Writes.Day > st.Writes.Budget || st.Delivered != uint64(10*hours*3600) {
			t.Errorf("got %+v", st)
		}
		closeSpool(t, s)
	})
}

// A power cut may cost only telemetry that was in memory for less than FlushEvery.
func TestTelemetryPowerCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, d := newCrashDisk(nil)
		c, _ := newCrashDisk(nil)
		o := Options{disk: d, Class: Telemetry, FlushEvery: time.Minute}
		s := open(t, "cut", o)
		for i := range 300 {
			appendAll(t, s, i+1, i+1)
			time.Sleep(time.Second)
		}
		d.mu.Lock()
		ops := slices.Clone(d.ops)
		d.mu.Unlock()
		for _, op := range ops {
			c.observe(op)
		}
		_, o.disk = newCrashDisk(c.cut(rand.New(rand.NewPCG(1, 1))))
		after := open(t, "cut", o)
		r := reader(t, after, "up")
		expect(t, r, 1, 239)
		seq, err := after.Append(t.Context(), payload(0))
		if err != nil || seq <= 300 {
			t.Errorf("a sequence was given twice: %d, %v", seq, err)
		}
		st := after.Stats()
		if len(st.Damage.Findings) != 1 || st.Damage.Findings[0].Cause != PowerCut || st.Damage.Found != 0 {
			t.Errorf("got %+v", st.Damage)
		}
		closeSpool(t, after)
		closeSpool(t, s)
	})
}

// In steady state neither appending nor reading allocates.
func TestAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, class := range []Class{Durable, Telemetry} {
		t.Run(fmt.Sprint(class), func(t *testing.T) {
			s := open(t, t.TempDir(), Options{Class: class})
			r := reader(t, s, "up")
			data := make([]byte, 128)
			var all sync.WaitGroup
			done := func(uint64, error) { all.Done() }
			const n = 1000
			round := func() {
				all.Add(n)
				for range n {
					if err := s.AppendAsync(data, done); err != nil {
						t.Fatal(err)
					}
				}
				all.Wait()
				for range n {
					rec, err := r.Next(context.Background())
					if err != nil {
						t.Fatal(err)
					}
					r.Confirm(rec.Seq)
				}
			}
			for range 100 {
				round()
			}
			// A new segment costs some: a round is a thirtieth of one.
			if got := testing.AllocsPerRun(100, round); got > 20 {
				t.Errorf("%v allocations for %d records", got, n)
			}
			one := func() {
				seq, err := s.Append(context.Background(), data)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := r.Next(context.Background()); err != nil {
					t.Fatal(err)
				}
				r.Confirm(seq)
			}
			if got := testing.AllocsPerRun(1000, one); got > 0 {
				t.Errorf("%v allocations for a record alone", got)
			}
		})
	}
}
