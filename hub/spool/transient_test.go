package spool

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// An unopenable is a disk on which, for a while, no file, or one of them, can be
// opened.
type unopenable struct {
	*recorder
	err  error
	only string
}

// A lostLock is the lock of a folder that was replaced.
type lostLock struct{ lock }

func (lostLock) Held() bool { return false }

func (d *unopenable) Open(name string, write, create bool) (file, error) {
	d.mu.Lock()
	err := d.err
	d.mu.Unlock()
	if err != nil && (d.only == "" || d.only == name) {
		return nil, err
	}
	return d.recorder.Open(name, write, create)
}

// A file that cannot be opened now is not damaged: nothing is renamed, nothing is
// lost.
func TestOpenTransientError(t *testing.T) {
	for _, err := range []error{unix.EMFILE, unix.EACCES} {
		d := &unopenable{recorder: newRecorder()}
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
		if st := checkAccounting(t, s); st.Queued != 100 || st.Damage.Found != 0 {
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

// An id that cannot be opened now is not taken for a lost one, and its folder not for
// that of another spool.
func TestIDTransientError(t *testing.T) {
	d := &unopenable{recorder: newRecorder(), only: idName}
	d.note = false
	o := Options{disk: d, SegmentSize: minSegment}
	s := open(t, "later", o)
	appendAll(t, s, 1, 10)
	closeSpool(t, s)
	id := string(d.names[idName].data)
	for _, errno := range []error{unix.EMFILE, unix.ENFILE, unix.EACCES} {
		d.err = errno
		if s, err := Open("later", o); !errors.Is(err, errno) {
			t.Fatalf("got %v, %v, want %v", s, err, errno)
		}
		if got := string(d.names[idName].data); got != id {
			t.Fatalf("%v: the id became %q, was %q", errno, got, id)
		}
		if _, err := browse(&readOnlyDisk{disk: d, ctx: t.Context()}, Selection{}, nil); !errors.Is(err, errno) {
			t.Errorf("browse: %v, want %v", err, errno)
		}
	}
	d.err = nil
	s = open(t, "later", o)
	appendAll(t, s, 11, 11)
	for _, step := range []string{"reach", "in place"} {
		d.mu.Lock()
		d.err = unix.EMFILE
		d.mu.Unlock()
		var err error
		if step == "reach" {
			held := s.lock
			s.lock = lostLock{held}
			err = newWriter(s).reopenFolder()
			s.lock = held
		} else {
			s.device++ // another file system seems to be in its place
			err = s.checkMount()
			s.device--
		}
		if !errors.Is(err, unix.EMFILE) || errors.Is(err, ErrGone) {
			t.Errorf("%s: %v, want %v", step, err, unix.EMFILE)
		}
		d.mu.Lock()
		d.err = nil
		d.mu.Unlock()
	}
	closeSpool(t, s)
}

// The same holds while the spool is open: the reader waits and gets all records.
func TestReadTransientError(t *testing.T) {
	d := &unopenable{recorder: newRecorder()}
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
	if rec, err := r.Next(canceledContext()); err == nil {
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
	if st := checkAccounting(t, s); st.Dropped.Damaged != 0 || st.Damage.Found != 0 {
		t.Errorf("got %+v", st)
	}
	closeSpool(t, s)
}
