package spool

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// seqsOf browses a part of a spool and returns the sequences and gaps.
func seqsOf(t *testing.T, dir string, sel Selection) (Report, []uint64, []Gap) {
	t.Helper()
	var seqs []uint64
	var gaps []Gap
	rep, err := Browse(t.Context(), dir, sel, func(rec Record) error {
		if string(rec.Data) != string(payload(int(rec.Seq))) {
			t.Errorf("%d: %q", rec.Seq, rec.Data)
		}
		seqs = append(seqs, rec.Seq)
		if rec.Gap != (Gap{}) {
			gaps = append(gaps, rec.Gap)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return rep, seqs, gaps
}

// seqRange is the sequences from first to last.
func seqRange(first, last uint64) (all []uint64) {
	for ; first <= last; first++ {
		all = append(all, first)
	}
	return all
}

// longSpool is a closed spool of several segments, in which the reader up confirmed
// 10 records and the reader other 20.
func longSpool(t *testing.T, n int) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "spool")
	s := open(t, dir, Options{SegmentSize: minSegment})
	up, other := reader(t, s, "up"), reader(t, s, "other")
	for i := 1; i < n; i++ {
		if err := s.AppendAsync(payload(i), nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Append(t.Context(), payload(n)); err != nil {
		t.Fatal(err)
	}
	for r, n := range map[*Reader]int{up: 10, other: 20} {
		expect(t, r, 1, n)
		for i := range n {
			r.Confirm(uint64(i + 1))
		}
	}
	closeSpool(t, s)
	return dir
}

func TestBrowse(t *testing.T) {
	const n = 4000
	dir := longSpool(t, n)
	whole, _, _ := seqsOf(t, dir, Selection{})
	if len(whole.Segments) < 3 || whole.InUse != 0 {
		t.Fatalf("%d segments, in use by %d", len(whole.Segments), whole.InUse)
	}
	border := whole.Segments[1].First
	for _, test := range []struct {
		sel      Selection
		from, to uint64
		segments int // that are read; 0: all
	}{
		{Selection{}, 11, n, 0},
		{Selection{From: 5}, 11, n, 0},
		{Selection{From: n}, n, n, 1},
		{Selection{From: n + 1}, 1, 0, -1},
		{Selection{To: 15}, 11, 15, 1},
		{Selection{To: 10}, 1, 0, 1},
		{Selection{From: border - 1, To: border}, border - 1, border, 2},
		{Selection{Reader: "up"}, 11, n, 0},
		{Selection{Reader: "other"}, 21, n, 0},
		{Selection{Reader: "other", From: 100, To: 100}, 100, 100, 1},
		{Selection{Last: 1}, n, n, 1},
		{Selection{Last: n}, 11, n, 0},
		{Selection{Last: n - border + 3}, border - 2, n, 0},
		{Selection{Last: 3, To: border}, border - 2, border, 2},
		{Selection{Last: 30, Reader: "other", To: 22}, 21, 22, 1},
	} {
		rep, seqs, gaps := seqsOf(t, dir, test.sel)
		if !slices.Equal(seqs, seqRange(test.from, test.to)) || len(gaps) > 0 || rep.Gap != (Gap{}) {
			t.Errorf("%+v: got %d records, gaps %v, %v at the end; want %d to %d", test.sel, len(seqs), gaps, rep.Gap, test.from, test.to)
		}
		want := test.segments
		if want == 0 {
			want = len(whole.Segments)
		}
		if want = max(want, 0); len(rep.Segments) != want {
			t.Errorf("%+v: %d segments read, want %d", test.sel, len(rep.Segments), want)
		}
		if rep.Records != uint64(len(seqs)) || len(rep.Findings) > 0 || !rep.Closed {
			t.Errorf("%+v: %+v", test.sel, rep)
		}
	}
}

// Damage within the selection shows as a gap and as a loss.
func TestBrowseDamaged(t *testing.T) {
	dir := longSpool(t, 4000)
	whole, _, _ := seqsOf(t, dir, Selection{})
	second := whole.Segments[1]
	path := filepath.Join(dir, second.File)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		b[dataStart+i] ^= 0xff
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	rep, _, gaps := seqsOf(t, dir, Selection{})
	if len(gaps) != 1 || len(rep.Findings) != 1 || rep.Findings[0].Gap != gaps[0] || rep.Findings[0].File != second.File || rep.Damage() != 1 || !rep.Segments[1].Damaged {
		t.Fatalf("gaps %v, %+v", gaps, rep)
	}
	damagedGap := gaps[0]
	if rep, _, gaps := seqsOf(t, dir, Selection{From: damagedGap.From + 1, To: damagedGap.To + 1}); len(gaps) != 1 || gaps[0] != (Gap{damagedGap.From + 1, damagedGap.To}) || len(rep.Findings) != 1 {
		t.Errorf("from within: gaps %v, %+v", gaps, rep.Findings)
	}
	if rep, seqs, gaps := seqsOf(t, dir, Selection{From: damagedGap.From - 1, To: damagedGap.To}); len(seqs) != 1 || len(gaps) != 0 || rep.Gap != damagedGap || len(rep.Findings) != 1 {
		t.Errorf("up to its end: %v, gaps %v, at the end %v, %+v", seqs, gaps, rep.Gap, rep.Findings)
	}
	if rep, _, gaps := seqsOf(t, dir, Selection{From: damagedGap.To + 1}); len(gaps) != 0 || len(rep.Findings) != 0 {
		t.Errorf("behind it: gaps %v, %+v", gaps, rep.Findings)
	}
	if err := os.Remove(filepath.Join(dir, idName)); err != nil {
		t.Fatal(err)
	}
	rep, _, _ = seqsOf(t, dir, Selection{})
	if !slices.Contains(rep.Findings, Finding{Cause: Missing, File: idName}) {
		t.Errorf("without the id: %+v", rep.Findings)
	}
}

// A spool that is being written to, dropped from and downsampled is not taken for a
// damaged one.
func TestBrowseOpen(t *testing.T) {
	for name, full := range map[string]OverflowPolicy{"drop": DropOldest, "thin": Downsample} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "spool")
			s := open(t, dir, Options{SegmentSize: minSegment, MaxBytes: 8 * minSegment, Overflow: full})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() {
				for i := 1; ; i++ {
					if _, err := s.Append(ctx, make([]byte, 8000)); err != nil {
						done <- err
						return
					}
				}
			}()
			dropped := func() uint64 {
				d := s.Stats().Dropped
				return d.Oldest + d.Downsampled
			}
			for n := 0; n < short(40) || dropped() < uint64(short(200)); n++ {
				rep, err := Verify(dir)
				if err != nil || rep.Damage() > 0 {
					t.Errorf("%+v, %v", rep.Findings, err)
					break
				}
				if pid := rep.InUse; pid != 0 && pid != os.Getpid() {
					t.Errorf("in use by %d, want %d", pid, os.Getpid())
				}
			}
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
}

func TestBrowseErrors(t *testing.T) {
	dir := longSpool(t, 4000)
	if _, err := Browse(t.Context(), dir, Selection{Reader: "none"}, nil); !errors.Is(err, ErrNoReader) {
		t.Errorf("no reader: %v", err)
	}
	if _, err := Verify(t.TempDir()); !errors.Is(err, ErrNoSpool) {
		t.Errorf("an empty folder: %v", err)
	}
	if _, err := Verify(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	seen := 0
	if _, err := Browse(ctx, dir, Selection{}, func(rec Record) error {
		if seen++; rec.Seq == 100 {
			cancel()
		}
		return nil
	}); !errors.Is(err, context.Canceled) || seen > 91 {
		t.Errorf("canceled: %v after %d records", err, seen)
	}
	shown := uint64(0)
	if _, err := Browse(t.Context(), dir, Selection{Progress: func(done, total uint64) {
		if done < shown || done > total {
			t.Errorf("progress %d of %d after %d", done, total, shown)
		}
		shown = done
	}}, nil); err != nil || shown == 0 {
		t.Errorf("progress up to %d, %v", shown, err)
	}
	if os.Geteuid() != 0 { // root may read anything
		if err := os.Chmod(filepath.Join(dir, segmentName(1)), 0); err != nil {
			t.Fatal(err)
		}
		if _, err := Verify(dir); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("no permission: %v", err)
		}
	}
}

// After damage anywhere, readable records are shown unchanged, unreadable ones are a
// gap and a loss, and a part of the spool shows the same as the whole.
func TestBrowseDamage(t *testing.T) {
	const n = 800
	w := makeClosedSpool(t, n)
	rng := rand.New(rand.NewPCG(3, 3))
	for round := range short(300) {
		files, hits := w.damage(rng)
		d := newRecorder()
		d.note = false
		touched := false
		for name, b := range files {
			d.names[name] = &inode{name, slices.Clone(b)}
		}
		for _, h := range hits {
			touched = touched || h.from < w.ends[h.file] && !bytes.Equal(files[h.file], w.files[h.file])
		}
		look := func(sel Selection) (rep Report, seqs []uint64) {
			last := max(sel.From, 1) - 1
			rep, err := browse(&readOnlyDisk{disk: d, ctx: t.Context()}, sel, func(rec Record) error {
				if string(rec.Data) != w.records[rec.Seq].data || rec.Seq <= last {
					t.Errorf("round %d: record %d after %d: not as written", round, rec.Seq, last)
				}
				if want := (Gap{last + 1, rec.Seq - 1}); sel.Last == 0 && (want.To < want.From) != (rec.Gap == Gap{}) || rec.Gap != (Gap{}) && rec.Gap.To != want.To {
					t.Errorf("round %d: record %d after %d: gap %+v", round, rec.Seq, last, rec.Gap)
				}
				last, seqs = rec.Seq, append(seqs, rec.Seq)
				return nil
			})
			if err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			return rep, seqs
		}
		rep, seqs := look(Selection{})
		if touched != (rep.Damage() > 0) {
			t.Fatalf("round %d: %+v: touched %v, reported %+v", round, hits, touched, rep.Findings)
		}
		for seq := uint64(1); seq <= n; seq++ {
			if _, read := slices.BinarySearch(seqs, seq); read == slices.ContainsFunc(rep.Findings, func(l Finding) bool { return l.Gap.From <= seq && seq <= l.Gap.To }) {
				t.Fatalf("round %d: %+v: record %d: read %v, reported %+v", round, hits, seq, read, rep.Findings)
			}
		}
		told := 0
		for _, l := range rep.Findings {
			if l.Gap.From <= l.Gap.To && l.Gap.To > 0 {
				told += int(l.Gap.To + 1 - l.Gap.From)
			}
		}
		if told != n-len(seqs) {
			t.Fatalf("round %d: %+v: %d records cannot be read, reported %+v", round, hits, n-len(seqs), rep.Findings)
		}
		from, count := 1+uint64(rng.IntN(n)), 1+rng.IntN(n)
		at, _ := slices.BinarySearch(seqs, from)
		if _, part := look(Selection{From: from}); !slices.Equal(part, seqs[at:]) {
			t.Fatalf("round %d: %+v: from %d: %d records, want %d", round, hits, from, len(part), len(seqs)-at)
		}
		if _, part := look(Selection{To: from - 1}); from > 1 && !slices.Equal(part, seqs[:at]) {
			t.Fatalf("round %d: %+v: to %d: %d records, want %d", round, hits, from-1, len(part), at)
		}
		if _, part := look(Selection{Last: uint64(count)}); !slices.Equal(part, seqs[max(0, len(seqs)-count):]) {
			t.Fatalf("round %d: %+v: the last %d: %d records", round, hits, count, len(part))
		}
	}
}
