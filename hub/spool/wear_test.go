package spool

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A logRecorder records what a spool logs.
type logRecorder struct {
	slog.Handler // for what is not needed
	mu           sync.Mutex
	lines        []slog.Record
}

func (l *logRecorder) Enabled(context.Context, slog.Level) bool { return true }

func (l *logRecorder) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, r)
	return nil
}

// about returns the lines of a level that contain a text.
func (l *logRecorder) about(level slog.Level, text string) (lines []slog.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.lines {
		if r.Level == level && strings.Contains(r.Message, text) {
			lines = append(lines, r)
		}
	}
	return lines
}

// attrs are the attributes of a line.
func attrs(r slog.Record) map[string]any {
	m := map[string]any{}
	r.Attrs(func(a slog.Attr) bool { m[a.Key] = a.Value.Any(); return true })
	return m
}

// onDisk is the wear that the log tells, whether it was closed or not.
func onDisk(t *testing.T, d disk) Wear {
	t.Helper()
	c, err := inspect(d)
	if err != nil {
		t.Fatal(err)
	}
	return c.state.wear.summary()
}

// The hours of a day, with pauses of any length, also those that a wrong clock makes.
func TestWearCounters(t *testing.T) {
	var l wearCounters
	type entry struct{ at, n uint64 }
	var all []entry
	at := uint64(1_700_000_000_000)
	for i, pause := range []uint64{0, 1, hourMS, 5 * hourMS, hourMS / 2, hourMS / 2, 17 * hourMS, 23 * hourMS, hourMS, 24 * hourMS, 25 * hourMS, 30 * 24 * hourMS, 1 << 60} {
		at += pause
		n := uint64(1) << i
		l.add(n/2, n, at)
		all = append(all, entry{at, n})
		l.add(0, 0, at-min(at, 3*hourMS)) // that the time went back changes nothing
		want := uint64(0)
		for _, e := range all {
			if e.at/hourMS+24 > at/hourMS {
				want += e.n
			}
		}
		if got := l.day(); got != want || l.at != at || l.written != 2*n-1 {
			t.Errorf("pause %d: day %b, want %b; %+v", i, got, want, l)
		}
	}
	for _, c := range []struct {
		w    Wear
		want uint64
	}{
		{Wear{}, 0},
		{Wear{Since: 1000, Until: 2000, Written: 77}, 77},
		{Wear{Since: 1000, Until: 1000 + 48*hourMS, Written: 1000}, 500},
	} {
		if got := c.w.Average(); got != c.want {
			t.Errorf("%+v: %d a day, want %d", c.w, got, c.want)
		}
	}
}

// The spool's clock does not begin before the time of the figures on the card, or
// hours would be mixed up.
func TestClockAfterWear(t *testing.T) {
	d := newRecorder()
	d.note = false
	h := &header{spool: 7, first: 1, salt: 3, time: 1000}
	h.wear.since = 500
	ahead := uint64(time.Now().Add(5 * time.Hour).UnixMilli())
	h.wear.add(10, 20, ahead)
	d.names[segmentName(1)] = &inode{segmentName(1), h.encode()}
	s := open(t, "ahead", Options{disk: d})
	if st := s.Stats(); st.Clock < ahead || st.Writes.Day != 20 || st.Writes.Total.Until < ahead {
		t.Errorf("got %+v, want a clock from %d on", st, ahead)
	}
	closeSpool(t, s)
}

// minutes appends a record a minute, each written on its own.
func minutes(t *testing.T, s *Spool, n int) {
	t.Helper()
	for range n {
		if _, err := s.Append(t.Context(), make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
	}
}

// A day beyond the budget is logged once a day, and the totals are logged at Close.
// The next run knows of the day of the previous one.
func TestDayBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newRecorder()
		d.note = false
		log := &logRecorder{}
		const budget = 3 << 20 // a page each minute is 5.9 MB a day
		o := Options{disk: d, DayBudget: budget, MaxBytes: 1 << 20, Log: slog.New(log)}
		warned := func(after string, want int) {
			t.Helper()
			if got := log.about(slog.LevelWarn, "24 hours"); len(got) != want {
				t.Fatalf("%s: warned %d times, want %d", after, len(got), want)
			}
		}
		s := open(t, "budget", o)
		began := s.clock()
		minutes(t, s, 10*60)
		warned("10 hours", 0)
		minutes(t, s, 6*60)
		warned("16 hours", 1)
		st := s.Stats().Writes
		if got := attrs(log.about(slog.LevelWarn, "24 hours")[0]); got["day"].(uint64) <= budget || got["day"].(uint64) > budget+1<<20 || got["budget"] != uint64(budget) || got["amplification"].(float64) < 30 {
			t.Errorf("warned of %v", got)
		}
		closeSpool(t, s)
		closed := s.Stats().Writes
		if got := attrs(log.about(slog.LevelInfo, "closed")[0]); got["written"] != closed.Written || got["payload"] != uint64(16*60*100) || got["amplification"] != hundredths(closed.Amplification()) {
			t.Errorf("closed with %v, card %+v", got, closed)
		}

		s = open(t, "budget", o)
		if again := s.Stats().Writes; again.Written != 0 || again.Day < closed.Day || again.Total.Written != closed.Total.Written || closed.Total.Written < st.Written || again.Total.Since != began {
			t.Errorf("opened again: %+v, was %+v", again, closed)
		}
		minutes(t, s, 1)
		warned("opened again", 2) // a new run does not know that it was logged
		minutes(t, s, 23*60)
		warned("39 hours", 2)
		minutes(t, s, 2*60)
		warned("41 hours", 3)
		day := s.Stats().Writes.Day
		if want := uint64(24 * 60 * pageSize); day < want*9/10 || day > want*12/10 {
			t.Errorf("%d in a day, want about %d", day, want)
		}
		time.Sleep(12 * time.Hour)
		if half := s.Stats().Writes.Day; half < day*4/10 || half > day*6/10 {
			t.Errorf("%d in a day, 12 hours later %d", day, half)
		}
		time.Sleep(12 * time.Hour)
		if got := s.Stats().Writes.Day; got != 0 {
			t.Errorf("a day later: %d", got)
		}
		minutes(t, s, 60)
		warned("a day later", 3)
		closeSpool(t, s)
	})
}

// At any moment, as after a kill, the figures on the card are at most an hour or 256
// KiB old, and the next run goes on from them.
func TestWearOnCard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			pause time.Duration
			size  int
		}{{time.Second, 100}, {5 * time.Minute, 100}, {7 * time.Hour, 100}, {time.Second, 30_000}} {
			d := newRecorder()
			d.note = false
			o := Options{disk: d, MaxBytes: 1 << 20, SegmentSize: 256 << 10}
			s := open(t, "on card", o)
			was, exact := Wear{}, 0
			for range 500 {
				if _, err := s.Append(t.Context(), make([]byte, c.size)); err != nil {
					t.Fatal(err)
				}
				got, is := onDisk(t, d), s.Stats().Writes.Total
				if got.Written < was.Written || got.Until < was.Until || got.Written > is.Written || got.Since != is.Since || got.Payload > is.Payload {
					t.Fatalf("%v: %+v, was %+v, is %+v", c, got, was, is)
				}
				const most = wearEvery + zeroAhead + 8*pageSize // including the write that passes the bound
				if is.Until-got.Until > hourMS || is.Written-got.Written > most {
					t.Fatalf("%v: on the card %+v, is %+v", c, got, is)
				}
				if got.Until == is.Until {
					if got.Payload == is.Payload {
						exact++ // by a checkpoint in the same batch
					} else if got.Payload != is.Payload-uint64(c.size) { // by the header before it
						t.Fatalf("%v: what is said to be as of now, %+v, is older than %+v", c, got, is)
					}
				}
				was = got
				time.Sleep(c.pause)
			}
			if exact == 0 {
				t.Errorf("%v: no mark had the record that it came with", c)
			}
			killed := newRecorder()
			killed.note = false
			for name, n := range d.names {
				killed.names[name] = &inode{name, slices.Clone(n.data)}
			}
			o.disk = killed
			next := open(t, "killed", o)
			st := next.Stats().Writes
			if st.Total.Payload != was.Payload || st.Total.Written != was.Written || st.Total.Since != was.Since || st.Day > was.Day || st.Payload != 0 || st.Written != 0 {
				t.Errorf("%v: opened with %+v; on the card was %+v", c, st, was)
			}
			closeSpool(t, next)
			closeSpool(t, s)
		}
	})
}

// The totals over several runs on real files, of both classes, include downsampled,
// dropped and never written records. Verify reports the same.
func TestWearReopen(t *testing.T) {
	for _, o := range []Options{{}, {Class: Telemetry}, {MaxBytes: 400 << 10, Overflow: Downsample}, {MaxBytes: 200 << 10}} {
		t.Run(fmt.Sprint(o.Class, o.Overflow, o.MaxBytes), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "s")
			o.SegmentSize, o.MaxRecord = minSegment, 8<<10
			payload, written := uint64(0), uint64(0)
			for life := range 4 {
				s := open(t, dir, o)
				if got := s.Stats().Writes; got.Total.Payload != payload || got.Total.Written-got.Written != written || got.Payload != 0 {
					t.Fatalf("life %d: %+v, want %d and %d", life, got, payload, written)
				}
				for i := range 300 {
					if _, err := s.Append(t.Context(), make([]byte, 3000)); err != nil {
						t.Fatal(err)
					}
					if o.Class == Telemetry && life == 2 && i%2 == 0 { // confirmed in memory: never written
						rec, err := reader(t, s, "up").Next(t.Context())
						if err != nil {
							t.Fatal(err)
						}
						reader(t, s, "up").Confirm(rec.Seq)
					}
				}
				payload += 300 * 3000
				closeSpool(t, s)
				st := s.Stats()
				written += st.Writes.Written
				rep, err := Verify(dir)
				if err != nil || rep.Wear.Payload != payload || rep.Wear.Written != written || st.Writes.Total.Written != written || rep.Wear.Since != st.Writes.Total.Since || rep.Wear.Day != written {
					t.Fatalf("life %d: %+v, %v; want %d and %d; %+v", life, rep.Wear, err, payload, written, st.Writes)
				}
				if o.Overflow == Downsample && life == 0 && st.Dropped.Downsampled == 0 {
					t.Error("nothing was thinned out")
				}
			}
		})
	}
	dir := t.TempDir()
	s := open(t, dir, Options{})
	if rep, err := Verify(dir); err != nil || rep.Wear != (Wear{}) || s.Stats().Writes.Total != (Wear{}) {
		t.Errorf("never written: %+v, %v", rep.Wear, err)
	}
	closeSpool(t, s)
}

// If damage hides the newest figures, counting goes on from the newest that are
// readable.
func TestWearDamaged(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	o := Options{SegmentSize: minSegment}
	s := open(t, dir, o)
	for range 100 {
		if _, err := s.Append(t.Context(), make([]byte, 3000)); err != nil {
			t.Fatal(err)
		}
	}
	closeSpool(t, s)
	damaged := func(name string, from, to int) {
		t.Helper()
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt(make([]byte, to-from), int64(from)); err != nil {
			t.Fatal(err)
		}
	}
	whole := onDisk(t, folder(dir))
	c, err := inspect(folder(dir))
	if err != nil || len(c.segs) < 4 {
		t.Fatalf("%d segments, %v", len(c.segs), err)
	}
	newest := c.segs[len(c.segs)-1]
	damaged(newest.name, int(newest.end)-recordSize(checkpointSize+checkpointWearSize), int(newest.end)) // the checkpoint of Close
	if got, want := onDisk(t, folder(dir)), newest.head.wear; got.Payload < want.payload || got.Payload >= whole.Payload || got.Written < want.written {
		t.Errorf("without the mark: %+v, want at least %+v and less than %+v", got, want, whole)
	}
	damaged(newest.name, 0, pageSize)
	if got, want := onDisk(t, folder(dir)), newest.head.wear; got.Payload < want.payload {
		t.Errorf("with one header: %+v, want %+v", got, want)
	}
	damaged(newest.name, 0, dataStart)
	got, want := onDisk(t, folder(dir)), c.segs[len(c.segs)-2].head.wear
	if got.Payload < want.payload || got.Payload >= whole.Payload || got.Since != whole.Since {
		t.Errorf("without the newest: %+v, want %+v", got, want)
	}
	s = open(t, dir, o)
	if _, err := s.Append(t.Context(), make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	closeSpool(t, s)
	if after := onDisk(t, folder(dir)); after.Payload != got.Payload+1000 || after.Written != got.Written+s.Stats().Writes.Written {
		t.Errorf("opened with %+v, closed with %+v", got, after)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	if got := onDisk(t, folder(dir)); got != (Wear{}) {
		t.Errorf("without any segment: %+v", got)
	}
}

// The greatest number of readers, with the longest names, fits in a header.
func TestHeaderFitsReaders(t *testing.T) {
	h := header{spool: 1, first: 2}
	for i := range maxReaders {
		h.readers = append(h.readers, position{fmt.Sprintf("%0*d", maxReaderName, i), maxPlausible - 1})
	}
	h.wear.add(maxPlausible-1, maxPlausible-1, maxPlausible-1)
	h.wear.since = maxPlausible - 1
	again, err := parseHeader(h.encode())
	if err != nil || !slices.Equal(again.readers, h.readers) || again.wear != h.wear {
		t.Errorf("%+v became %+v, %v", h, again, err)
	}
}
