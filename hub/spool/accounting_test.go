package spool

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// large is a record so large that only a few are read ahead.
func large(i int) []byte { return fmt.Appendf(nil, "<%06d>%2000d", i, i) }

func appendLarge(t *testing.T, s *Spool, n int) {
	t.Helper()
	for i := range n {
		if _, err := s.Append(t.Context(), large(i+1)); err != nil {
			t.Fatal(err)
		}
	}
}

// damageRecords damages records from..to of the first segment.
func damageRecords(d *recorder, from, to int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	data := d.names[segmentName(1)].data
	for i := from; i <= to; i++ {
		data[bytes.Index(data, large(i))] ^= 0xff
	}
}

// confirmNext reads and confirms up to n records, and returns how many there were.
// For use in synctest only.
func confirmNext(t *testing.T, r *Reader, n int) (got int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for ; got < n; got++ {
		rec, err := r.Next(ctx)
		if err != nil {
			return got
		}
		if err := r.Confirm(rec.Seq); err != nil {
			t.Fatal(err)
		}
	}
	return got
}

// Of two readers, one has confirmed part of the records that are lost.
func TestLostPartlyConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newRecorder()
		d.note = false
		s := open(t, "account", Options{disk: d, SegmentSize: 1 << 20})
		a, b := reader(t, s, "a"), reader(t, s, "b")
		appendLarge(t, s, 100)
		if n := confirmNext(t, b, 50); n != 50 {
			t.Fatalf("%d records", n)
		}
		damageRecords(d, 40, 100)
		if n := confirmNext(t, a, 30); n != 30 {
			t.Fatalf("%d records", n)
		}
		confirmNext(t, a, 100)
		st := checkAccounting(t, s)
		for _, r := range st.Readers {
			if r.Queued != 0 {
				t.Errorf("reader %s: %d queued", r.Name, r.Queued)
			}
		}
		if st.Dropped.Damaged != 61 || st.Queued != 0 {
			t.Errorf("got %+v", st)
		}
		if n := confirmNext(t, b, 100); n != 0 {
			t.Errorf("%d lost records were handed out", n)
		}
		if _, err := s.Append(t.Context(), large(101)); err != nil {
			t.Fatal(err)
		}
		if confirmNext(t, a, 2) != 1 || confirmNext(t, b, 2) != 1 {
			t.Error("the record after was not handed out once")
		}
		st = checkAccounting(t, s)
		if st.Queued != 0 || st.Delivered != 40 {
			t.Errorf("got %+v", st)
		}
		closeSpool(t, s)
	})
}
