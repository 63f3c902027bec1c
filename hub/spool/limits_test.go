package spool

import (
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// Sequences and times in a segment are 32 bits, counted from its header. A record
// beyond that range begins another segment.
func TestSequenceAndTimeRange(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		class  Class
		seqs   []uint64
		sleeps []time.Duration
	}{
		{Durable, []uint64{1<<31 - 2, 1 << 31, 1<<32 - 2, 1<<32 - 1, 1 << 32, 1 << 40}, []time.Duration{0, 0, 0, 0, 0, 0}},
		{Telemetry, []uint64{1<<31 - 2, 1 << 31, 1<<32 - 2, 1<<32 - 1, 1 << 32, 1 << 40}, []time.Duration{0, 0, 0, 0, 0, 0}},
		{Durable, []uint64{0, 0, 0, 0}, []time.Duration{24 * day, 25 * day, 49 * day, 50 * day}},
		{Telemetry, []uint64{0, 0, 0, 0}, []time.Duration{24 * day, 25 * day, 49 * day, 50 * day}},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := newRecorder()
			d.note = false
			o := Options{disk: d, Class: c.class, SegmentSize: minSegment, FlushEvery: time.Second}
			s := open(t, "far", o)
			var want []Record
			add := func() {
				data := []byte{byte(len(want))}
				at := s.clock()
				seq, err := s.Append(t.Context(), data)
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, Record{Seq: seq, Time: at, Data: data})
			}
			add()
			for i, jump := range c.seqs {
				if err := s.Sync(t.Context()); err != nil {
					t.Fatal(err)
				}
				s.mu.Lock()
				s.next += jump // as by telemetry that was confirmed in memory
				s.mu.Unlock()
				time.Sleep(c.sleeps[i])
				add()
				add()
			}
			for range 2 {
				r := reader(t, s, "up")
				for _, w := range want {
					rec, err := r.Next(t.Context())
					if err != nil || rec.Seq != w.Seq || rec.Time != w.Time || rec.Data[0] != w.Data[0] {
						t.Fatalf("got %d of %d, %v; want %d of %d", rec.Seq, rec.Time, err, w.Seq, w.Time)
					}
				}
				closeSpool(t, s)
				s = open(t, "far", o)
				if st := checkAccounting(t, s); st.Damage.Found > 0 || st.Queued != uint64(len(want)) {
					t.Errorf("opened again: %+v", st)
				}
			}
			closeSpool(t, s)
		})
	}
}

// Telemetry that was in memory for long keeps its time when it is written to a new
// segment.
func TestTimeInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newRecorder()
		d.note = false
		o := Options{disk: d, Class: Telemetry, SegmentSize: minSegment, FlushEvery: 24 * time.Hour}
		s := open(t, "time", o)
		for i := 1; i <= 200; i++ {
			if _, err := s.Append(t.Context(), make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		began := s.clock() - 200*60_000
		closeSpool(t, s)
		s = open(t, "time", o)
		r := reader(t, s, "up")
		for i := range uint64(200) {
			if rec, err := r.Next(t.Context()); err != nil || rec.Time != began+i*60_000 {
				t.Fatalf("record %d: time %d, %v; want %d", rec.Seq, rec.Time, err, began+i*60_000)
			}
		}
		closeSpool(t, s)
	})
}

// Numbers beyond maxPlausible are damage.
func TestImplausibleNumbers(t *testing.T) {
	for name, change := range map[string]func(d *recorder, h *header, b []byte) []byte{
		"floor":    func(_ *recorder, h *header, b []byte) []byte { h.floor = math.MaxUint64; return nil },
		"reserved": func(_ *recorder, h *header, b []byte) []byte { h.reserved = math.MaxUint64 - 1; return nil },
		"last":     func(_ *recorder, h *header, b []byte) []byte { h.prevLast = math.MaxUint64; return nil },
		"reader": func(_ *recorder, h *header, b []byte) []byte {
			h.readers = []position{{"up", math.MaxUint64 - 1}}
			return nil
		},
		"mark": func(_ *recorder, h *header, b []byte) []byte {
			data := make([]byte, checkpointSize)
			le.PutUint64(data[8:], math.MaxUint64)
			b, _ = h.appendRecord(b, h.crc, kindCheckpoint, h.first, h.time, data)
			return b
		},
		"written": func(_ *recorder, h *header, b []byte) []byte {
			data := make([]byte, checkpointSize+checkpointWearSize)
			le.PutUint64(data[checkpointSize+8:], math.MaxUint64)
			b, _ = h.appendRecord(b, h.crc, kindCheckpoint, h.first, h.time, data)
			return b
		},
		"position": func(_ *recorder, h *header, b []byte) []byte {
			data := append(make([]byte, 8), "up"...)
			le.PutUint64(data, math.MaxUint64-1)
			b, _ = h.appendRecord(b, h.crc, kindPosition, h.first, h.time, data)
			return b
		},
		"id": func(d *recorder, h *header, b []byte) []byte {
			d.names[idName] = &inode{idName, formatID(h.spool, math.MaxUint64)}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newRecorder()
			d.note = false
			h := &header{spool: 7, first: 1, salt: 3}
			change(d, h, nil)
			b := h.encode()
			if more := change(d, h, b); more != nil {
				b = more
			}
			d.names[segmentName(1)] = &inode{segmentName(1), b}
			s := open(t, "absurd", Options{disk: d})
			appendAll(t, s, 1, 3)
			expect(t, reader(t, s, "up"), 1, 3)
			closeSpool(t, s)
			s = open(t, "absurd", Options{disk: d})
			expect(t, reader(t, s, "up"), 1, 3)
			closeSpool(t, s)
		})
	}
}

// Irregular files with names like the spool's own do no harm, and links are not
// followed.
func TestIrregularFiles(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, Options{SegmentSize: minSegment})
	appendAll(t, s, 1, 10)
	closeSpool(t, s)
	for _, name := range []string{segmentName(5000), "segment.new", "thin.new", "1.spare", "x.damaged"} {
		if err := os.Symlink(outside, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{segmentName(11), segmentName(6000), "2.spare", "y.damaged"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{segmentName(7000), "3.spare", "other.new"} {
		if err := unix.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if rep, err := Verify(dir); err != nil || rep.Records != 10 {
		t.Errorf("Verify: %+v, %v", rep, err)
	}
	s = open(t, dir, Options{SegmentSize: minSegment})
	appendAll(t, s, 11, 100)
	expect(t, reader(t, s, "up"), 1, 100)
	if st := checkAccounting(t, s); st.Failures > 0 || st.Damage.Found != 4 {
		t.Errorf("got %+v", st)
	}
	closeSpool(t, s)
	if b, err := os.ReadFile(outside); err != nil || string(b) != "precious" {
		t.Errorf("the file that links led to: %q, %v", b, err)
	}
	s = open(t, dir, Options{SegmentSize: minSegment})
	expect(t, reader(t, s, "up"), 1, 100)
	if st := checkAccounting(t, s); st.Damage.Found > 0 {
		t.Errorf("opened again: %+v", st.Damage)
	}
}

// A reader comes to a segment while it is being downsampled. The segment stays as it
// is, and the next one is downsampled instead.
func TestDownsampleReaderFirst(t *testing.T) {
	d := newRecorder()
	d.note = false
	var s *Spool
	var came *segment
	d.fault = func(kind opKind, name string) error {
		if kind != opCut || name != downsampleName || came != nil {
			return nil
		}
		h, err := parseHeader(d.names[downsampleName].data)
		if err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		came = s.segs[slices.IndexFunc(s.segs, func(seg *segment) bool { return seg.head.first == h.first })]
		came.pins++
		return nil
	}
	log := &logRecorder{}
	s = open(t, "first", Options{disk: d, SegmentSize: minSegment, MaxBytes: 300 << 10, Overflow: Downsample, Log: slog.New(log)})
	for s.Stats().Dropped.Downsampled == 0 {
		if _, err := s.Append(t.Context(), make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	s.mu.Lock()
	if came == nil || came.head.level != 0 || came.size.n < 50 || came.retired {
		t.Errorf("the segment with a reader: %+v", came)
	}
	downsampled := 0
	for _, seg := range s.segs {
		if seg.head.level > 0 {
			downsampled++
		}
	}
	came.pins--
	s.mu.Unlock()
	if st := checkAccounting(t, s); downsampled != 1 || st.Dropped.Oldest != 0 || len(log.about(slog.LevelWarn, "")) != 0 {
		t.Errorf("%d segments were thinned out; %+v; %v", downsampled, st, log.lines)
	}
	closeSpool(t, s)
}

// A file that could not be quarantined is not counted as quarantined.
func TestQuarantineFails(t *testing.T) {
	d := newRecorder()
	d.note = false
	fails := true
	d.fault = func(kind opKind, name string) error {
		if fails && kind == opRename && name == segmentName(5000) {
			return unix.EIO
		}
		return nil
	}
	d.names[segmentName(5000)] = &inode{segmentName(5000), []byte("hello")}
	for _, want := range []uint64{0, 1, 0} {
		s := open(t, "aside", Options{disk: d, SegmentSize: minSegment})
		if st := checkAccounting(t, s); st.Damage.Quarantined != want {
			t.Errorf("got %+v, want %d set aside", st.Damage, want)
		}
		closeSpool(t, s)
		fails = false
	}
}

// If downsampling fails, as on a full card, it is not tried again with each record
// that must be dropped.
func TestDownsampleFails(t *testing.T) {
	d := newRecorder()
	d.note = false
	tries := 0
	d.fault = func(kind opKind, name string) error {
		if kind == opWrite && name == downsampleName {
			tries++
			return unix.ENOSPC
		}
		return nil
	}
	s := open(t, "full", Options{disk: d, SegmentSize: minSegment, MaxBytes: 300 << 10, Overflow: Downsample})
	for i := range 10000 {
		if err := s.AppendAsync(make([]byte, 100), nil); err != nil {
			t.Fatal(err)
		}
		if i%100 == 99 { // or else the records in memory leave no space for those on the card
			if err := s.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if st := checkAccounting(t, s); tries == 0 || tries > 5 || st.Dropped.Oldest == 0 || st.Failing != nil {
		t.Errorf("%d tries; %+v", tries, st)
	}
	for name := range d.names {
		if strings.HasSuffix(name, newSuffix) {
			t.Errorf("%s was left", name)
		}
	}
	closeSpool(t, s)
}
