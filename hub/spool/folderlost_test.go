package spool

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// The folder of an open spool is removed. Its records are lost and counted, and the
// spool goes on in a new folder.
func TestFolderGone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, Options{SegmentSize: minSegment})
		r := reader(t, s, "up")
		appendAll(t, s, 1, 10)
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		// The first append either fails with ErrGone or goes to the new folder.
		for {
			seq, err := s.Append(t.Context(), payload(11))
			if err == nil {
				if seq != 11 {
					t.Fatalf("seq %d", seq)
				}
				break
			}
			if !errors.Is(err, ErrGone) {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond) // the spool tries each second
		}
		expect(t, r, 11, 11)
		if id, _, ok, _ := readID(folder(dir)); !ok || id != s.id {
			t.Errorf("the folder made again has the id %x, want %x", id, s.id)
		}
		st := checkAccounting(t, s)
		if st.Dropped.Damaged != 10 {
			t.Errorf("got %+v", st)
		}
		closeSpool(t, s)
		s = open(t, dir, Options{SegmentSize: minSegment})
		expect(t, reader(t, s, "up"), 11, 11)
	})
}

// The folder is moved away. It is not created anew, and when it is back, so are all
// its records.
func TestFolderMoved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, Options{SegmentSize: minSegment})
		r := reader(t, s, "up")
		appendAll(t, s, 1, 10)
		if err := os.Rename(dir, dir+"2"); err != nil {
			t.Fatal(err)
		}
		told := 0
		n := 10
		for ; told < 2; time.Sleep(500 * time.Millisecond) { // the second error comes after a retry
			if _, err := s.Append(t.Context(), payload(n+1)); err == nil {
				n++ // into the folder, wherever it is
			} else if !errors.Is(err, ErrGone) {
				t.Fatal(err)
			} else {
				told++
			}
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the folder was made anew: %v", err)
		}
		if err := os.Rename(dir+"2", dir); err != nil {
			t.Fatal(err)
		}
		for s.Stats().Failing != nil {
			time.Sleep(10 * time.Millisecond)
		}
		appendAll(t, s, n+1, n+1)
		expect(t, r, 1, n+1)
		closeSpool(t, s)
		s = open(t, dir, Options{SegmentSize: minSegment})
		expect(t, reader(t, s, "up"), 1, n+1)
		if st := checkAccounting(t, s); st.Damage.Found != 0 {
			t.Errorf("damage: %+v", st.Damage)
		}
		closeSpool(t, s)
	})
}

// A segment could not be removed when it was retired because the folder was gone just
// then. Open does not take it, or its successors, for missing.
func TestUnremovedSegment(t *testing.T) {
	d := newRecorder()
	d.note = false
	o := Options{disk: d, SegmentSize: minSegment, InFlight: 1 << 20}
	s := open(t, "left", o)
	r := reader(t, s, "up")
	appendAll(t, s, 1, 5000)
	name, node := segmentName(1), *d.names[segmentName(1)]
	expect(t, r, 1, 5000)
	for i := range 4900 {
		r.Confirm(uint64(i + 1))
	}
	closeSpool(t, s)
	if d.names[name] != nil || len(s.segs) == 0 || s.segs[0].head.prev == 1 {
		t.Fatal("no segments were put away after the first")
	}
	d.names[name] = &node
	s = open(t, "left", o)
	if st := checkAccounting(t, s); st.Damage.Found != 0 || st.Queued != 100 || d.names[name] != nil {
		t.Errorf("got %+v, the file is there: %v", st, d.names[name] != nil)
	}
	expect(t, reader(t, s, "up"), 4901, 5000)
	closeSpool(t, s)
}

// The log itself has filled the disk. Confirmed records free space, although their
// positions must be written first.
func TestDiskFullOfLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newRecorder()
		d.note, d.capacity = false, 1<<20
		o := Options{disk: d, SegmentSize: minSegment, MaxBytes: 1 << 40, InFlight: 1 << 20}
		s := open(t, "full", o)
		r := reader(t, s, "up")
		n, done := 0, uint64(0)
		for round := range 10 {
			for {
				_, err := s.Append(t.Context(), payload(n+1))
				if errors.Is(err, ErrNoSpace) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				n++
			}
			time.Sleep(time.Minute)
			if st := checkAccounting(t, s); !errors.Is(st.Failing, ErrNoSpace) {
				t.Fatalf("round %d: %+v", round, st)
			}
			st := s.Stats()
			expect(t, r, int(done)+1, n)
			for ; done < uint64(n)-st.Queued/2; done++ {
				r.Confirm(done + 1)
			}
			r.Rewind()
			time.Sleep(5 * time.Second)
			if st := checkAccounting(t, s); st.Failing != nil {
				t.Fatalf("round %d: 5 s after there could be room: %+v", round, st)
			}
		}
		appendAll(t, s, n+1, n+1)
		closeSpool(t, s)
		s = open(t, "full", o)
		expect(t, reader(t, s, "up"), int(done)+1, n+1)
		if st := checkAccounting(t, s); st.Damage.Found != 0 {
			t.Errorf("damage: %+v", st.Damage)
		}
	})
}
