package spool

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

var damageRounds = flag.Int("spool.damage", 1000, "rounds of the damage test")

// A closedSpool holds the files of a spool that was closed, and where its records
// are.
type closedSpool struct {
	files       map[string][]byte
	records     map[uint64]recordSpan // sequence → where
	ends        map[string]int        // where the records of a file end
	next        uint64
	total       Wear
	downsampled bool // some records were downsampled: gaps are wider than the loss
}

type recordSpan struct {
	file     string
	from, to int
	data     string
}

func makeClosedSpool(t *testing.T, n int) closedSpool {
	t.Helper()
	return makeClosedSpoolWith(t, n, Options{MaxBytes: 1 << 30})
}

func makeClosedSpoolWith(t *testing.T, n int, o Options) closedSpool {
	t.Helper()
	d := newRecorder()
	d.note = false
	o.disk, o.SegmentSize, o.MaxRecord = d, minSegment, 4<<10
	s := open(t, "whole", o)
	reader(t, s, "up")
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range n {
		if _, err := s.Append(t.Context(), bytes.Repeat(payload(i+1), 1+rng.IntN(60))); err != nil {
			t.Fatal(err)
		}
	}
	closeSpool(t, s)
	n -= int(checkAccounting(t, s).Dropped.Downsampled)
	w := closedSpool{map[string][]byte{}, map[uint64]recordSpan{}, map[string]int{}, s.next, s.Stats().Writes.Total, o.Overflow == Downsample}
	for name, node := range d.names {
		w.files[name] = node.data
	}
	c, err := inspect(d)
	if err != nil {
		t.Fatal(err)
	}
	for _, seg := range c.segs {
		f, _ := d.Open(seg.name, false, false)
		for sc := newScanner(f, seg.head, seg.end); ; {
			r, _, ok := sc.next()
			if !ok {
				break
			}
			if r.kind == kindData {
				w.records[r.seq] = recordSpan{seg.name, int(sc.off) - r.size, int(sc.off), string(r.data)}
			}
		}
		w.ends[seg.name] = int(seg.end)
	}
	if len(w.records) != n {
		t.Fatalf("%d records of %d", len(w.records), n)
	}
	return w
}

// A damagedRange is a stretch of a file that was damaged.
type damagedRange struct {
	file     string
	from, to int
}

// damage damages some of the files, and returns the ranges.
func (w closedSpool) damage(rng *rand.Rand) (files map[string][]byte, hits []damagedRange) {
	files = maps.Clone(w.files)
	var names []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(name, segmentSuffix) {
			names = append(names, name)
		}
	}
	for range 1 + rng.IntN(3) {
		name := names[rng.IntN(len(names))]
		b := slices.Clone(files[name])
		if len(b) < pageSize {
			continue
		}
		h := damagedRange{name, 0, 0}
		switch rng.IntN(4) {
		case 0, 1:
			h.from = rng.IntN(len(b))
			h.to = h.from + 1
			b[h.from] ^= 1 << rng.IntN(8)
		case 2:
			h.from = rng.IntN(len(b)) &^ (pageSize - 1)
			h.to = min(len(b), h.from+pageSize)
			clear(b[h.from:h.to])
		case 3:
			h.from, h.to = rng.IntN(len(b)), len(b)
			b = b[:h.from]
		}
		files[name] = b
		hits = append(hits, h)
	}
	return files, hits
}

// After damage anywhere the spool opens, all undamaged records are delivered, and
// damaged files are found, counted and quarantined.
func TestDamage(t *testing.T) {
	whole := makeClosedSpool(t, 800)
	thin := makeClosedSpoolWith(t, 2000, Options{MaxBytes: 500 << 10, Overflow: Downsample, Series: func(data []byte) (string, float64, bool) {
		return "", 0, data[len(data)-1]%4 != 0
	}})
	rng := rand.New(rand.NewPCG(2, 2))
	n := short(*damageRounds)
	for round := range n {
		w := whole
		if round%4 == 0 {
			w = thin
		}
		files, hits := w.damage(rng)
		if err := w.checkDamaged(files, hits); err != nil {
			t.Fatalf("round %d: %+v: %v", round, hits, err)
		}
	}
}

func (w closedSpool) checkDamaged(files map[string][]byte, hits []damagedRange) error {
	// A file with both headers damaged is lost as a whole.
	headers := map[string]int{}
	touched := false
	for _, h := range hits {
		first, second := h.from < pageSize, h.from < dataStart && h.to > pageSize
		if first {
			headers[h.file] |= 1
		}
		if second {
			headers[h.file] |= 2
		}
		touched = touched || h.from < w.ends[h.file] && !bytes.Equal(files[h.file], w.files[h.file])
	}
	wasHit := func(at recordSpan) bool {
		if headers[at.file] == 3 {
			return true
		}
		for _, h := range hits {
			if h.file == at.file && h.from < at.to && at.from < h.to {
				return true
			}
		}
		return false
	}
	d := newRecorder()
	d.note = false
	for name, b := range files {
		d.names[name] = &inode{name, slices.Clone(b)}
	}
	s, err := Open("hurt", Options{disk: d, SegmentSize: minSegment, MaxBytes: 1 << 30, MaxRecord: 4 << 10})
	if err != nil {
		return err
	}
	defer s.Close(context.Background())
	r, err := s.Reader("up")
	if err != nil {
		return err
	}
	if err := w.checkTotal(s.Stats().Writes.Total, files, headers, hits); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	got, last, gaps := map[uint64]bool{}, uint64(0), uint64(0)
	for {
		rec, err := r.Next(ctx)
		if err != nil {
			break
		}
		if string(rec.Data) != w.records[rec.Seq].data || rec.Seq <= last {
			return fmt.Errorf("record %d after %d: not as written", rec.Seq, last)
		}
		if want := (Gap{last + 1, rec.Seq - 1}); rec.Seq > last+1 && rec.Gap != want || rec.Seq == last+1 && rec.Gap != (Gap{}) {
			return fmt.Errorf("record %d after %d: gap %+v", rec.Seq, last, rec.Gap)
		}
		if rec.Gap.From > 0 {
			gaps += rec.Gap.To + 1 - rec.Gap.From
		}
		last, got[rec.Seq] = rec.Seq, true
		r.Confirm(rec.Seq)
	}
	lost := uint64(0)
	for seq, at := range w.records {
		switch {
		case !got[seq] && !wasHit(at):
			return fmt.Errorf("record %d was not hit and is lost: %+v", seq, at)
		case !got[seq]:
			lost++
		}
	}
	st := s.Stats()
	dr := st.Dropped
	if st.Delivered+st.Queued+st.Expired+dr.Oldest+dr.Downsampled+dr.Damaged+dr.Memory != st.Accepted || st.Queued != 0 || st.Delivered != uint64(len(got)) {
		return fmt.Errorf("%d lost: %+v", lost, st)
	}
	if touched && st.Damage.Found == 0 {
		return fmt.Errorf("not noticed: %+v", st)
	}
	reported, records, missing, known := uint64(0), uint64(0), map[uint64]bool{}, true
	for _, l := range st.Damage.Findings {
		if l.Cause == Missing && w.downsampled {
			known = false // the number of downsampled records was lost with the file
		}
		if l.Gap.From > 0 {
			reported += l.Gap.To + 1 - l.Gap.From
			records += l.Records
		}
		for seq := l.Gap.From; seq <= l.Gap.To; seq++ {
			missing[seq] = true
		}
	}
	for seq := range w.records {
		if missing[seq] == got[seq] {
			return fmt.Errorf("record %d: delivered: %v, reported as missing: %v; %+v", seq, got[seq], missing[seq], st.Damage)
		}
	}
	if lost > records || lost < records && known || lost != reported && !w.downsampled {
		return fmt.Errorf("%d lost, reported %d of %d: %+v", lost, records, reported, st.Damage)
	}
	if seq, err := s.Append(context.Background(), []byte("after")); err != nil || seq < w.next {
		return fmt.Errorf("append: %d, %v", seq, err)
	}
	return nil
}

// checkTotal checks that the totals are those of Close. If the newest file was
// damaged, they must be those of one of its checkpoints or of the newest header that
// is left.
func (w closedSpool) checkTotal(got Wear, files map[string][]byte, headers map[string]int, hits []damagedRange) error {
	names := slices.Sorted(maps.Keys(w.ends))
	newest := names[len(names)-1]
	untouched := !slices.ContainsFunc(hits, func(h damagedRange) bool { return h.file == newest && h.from < w.ends[newest] })
	if untouched {
		if got.Since != w.total.Since || got.Payload != w.total.Payload || got.Written != w.total.Written {
			return fmt.Errorf("totals %+v, closed with %+v", got, w.total)
		}
		return nil
	}
	var least wearCounters
	for _, name := range names {
		if files[name] != nil && headers[name] != 3 {
			least = headerOf(w.files[name]).wear
		}
	}
	if got.Payload < least.payload || got.Written < least.written || got.Payload > w.total.Payload || got.Written > w.total.Written {
		return fmt.Errorf("totals %+v, want from %+v to %+v", got, least, w.total)
	}
	return nil
}

func headerOf(b []byte) *header {
	h, err := parseHeader(b)
	if err != nil {
		panic(err)
	}
	return h
}

// Files may be missing, foreign, duplicated or misnamed.
func TestWrongFiles(t *testing.T) {
	w := makeClosedSpool(t, 800)
	other := makeClosedSpool(t, 50)
	names := slices.Sorted(maps.Keys(w.ends))
	for name, change := range map[string]func(files map[string][]byte) []damagedRange{
		"missing": func(f map[string][]byte) []damagedRange {
			delete(f, names[1])
			return []damagedRange{{names[1], 0, 1 << 30}}
		},
		"first missing": func(f map[string][]byte) []damagedRange {
			delete(f, names[0])
			return []damagedRange{{names[0], 0, 1 << 30}}
		},
		"newest missing": func(f map[string][]byte) []damagedRange {
			delete(f, names[len(names)-1])
			return []damagedRange{{names[len(names)-1], 0, 1 << 30}}
		},
		"all missing": func(f map[string][]byte) (hits []damagedRange) {
			for _, n := range names {
				delete(f, n)
				hits = append(hits, damagedRange{n, 0, 1 << 30})
			}
			return hits
		},
		"foreign": func(f map[string][]byte) []damagedRange {
			f["0000000000000301.spool"] = bytes.Clone(other.files[segmentName(1)])
			return nil
		},
		"twice":   func(f map[string][]byte) []damagedRange { f[segmentName(5000)] = f[names[1]]; return nil },
		"text":    func(f map[string][]byte) []damagedRange { f[segmentName(7000)] = []byte("hello"); return nil },
		"no name": func(f map[string][]byte) []damagedRange { f["x.spool"] = f[names[0]]; return nil },
		"no id":   func(f map[string][]byte) []damagedRange { delete(f, idName); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			files := maps.Clone(w.files)
			hits := change(files)
			if err := w.checkDamaged(files, hits); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWalk(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{SegmentSize: minSegment})
	r := reader(t, s, "up")
	appendAll(t, s, 1, 100)
	expect(t, r, 1, 10)
	for i := range 10 {
		r.Confirm(uint64(i + 1))
	}
	closeSpool(t, s)
	rep, err := Verify(dir)
	if err != nil || rep.Records != 90 || rep.First != 11 || rep.Last != 100 || rep.Next != 101 || !rep.Closed || len(rep.Findings) != 0 || rep.Readers[0].Queued != 90 {
		t.Errorf("Verify: %+v, %v", rep, err)
	}
	stop := errors.New("stop")
	want := uint64(11)
	if err := Walk(dir, func(rec Record) error {
		if rec.Seq != want || string(rec.Data) != string(payload(int(want))) {
			t.Errorf("Walk: %d %q, want %d", rec.Seq, rec.Data, want)
		}
		if want++; want > 50 {
			return stop
		}
		return nil
	}); !errors.Is(err, stop) {
		t.Errorf("Walk: %v", err)
	}
	if _, err := Verify(dir + "/none"); err == nil {
		t.Error("Verify of no folder: no error")
	}
}
