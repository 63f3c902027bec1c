package spool

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// shy is a disk that lets nobody open files for a while.
type shy struct {
	*recorder
	err error
}

func (d *shy) Open(name string, write, create bool) (file, error) {
	d.mu.Lock()
	err := d.err
	d.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return d.recorder.Open(name, write, create)
}

// What cannot be opened now is no damage: nothing is renamed, nothing is lost.
func TestOpenLater(t *testing.T) {
	for _, err := range []error{unix.EMFILE, unix.EACCES} {
		d := &shy{recorder: newRecorder()}
		d.note = false
		o := Options{disk: d, SegmentSize: 128 << 10}
		s := open(t, "later", o)
		appendLarge(t, s, 100)
		closeSpool(t, s)
		d.err = err
		if s, got := Open("later", o); !errors.Is(got, err) {
			t.Fatalf("got %v, %v, want %v", s, got, err)
		}
		d.err = nil
		s = open(t, "later", o)
		r := reader(t, s, "r")
		if st := balance(t, s); st.Queued != 100 || st.Damage.Found != 0 {
			t.Errorf("%v: got %+v", err, st)
		}
		for range 100 {
			rec, err := r.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			r.Confirm(rec.Seq)
		}
		closeSpool(t, s)
	}
}

// Nor is it while the spool is open: the reader waits and gets it all.
func TestReadLater(t *testing.T) {
	d := &shy{recorder: newRecorder()}
	d.note = false
	o := Options{disk: d, SegmentSize: 128 << 10}
	s := open(t, "later", o)
	appendLarge(t, s, 100)
	closeSpool(t, s)
	s = open(t, "later", o)
	r := reader(t, s, "r")
	d.mu.Lock()
	d.err = unix.EMFILE
	d.mu.Unlock()
	if rec, err := r.Next(never()); err == nil {
		t.Fatalf("got %d from a file that cannot be opened", rec.Seq)
	}
	d.mu.Lock()
	d.err = nil
	d.mu.Unlock()
	for i := range 100 {
		rec, err := r.Next(t.Context())
		if err != nil || rec.Seq != uint64(i+1) {
			t.Fatalf("got %d, %v, want %d", rec.Seq, err, i+1)
		}
		r.Confirm(rec.Seq)
	}
	if st := balance(t, s); st.Dropped.Damaged != 0 || st.Damage.Found != 0 {
		t.Errorf("got %+v", st)
	}
	closeSpool(t, s)
}
