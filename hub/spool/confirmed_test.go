package spool

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Damage to records that were confirmed is not a loss for any reader.
func TestDamageOfWhatWasConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newRecorder()
		d.note = false
		o := Options{disk: d, SegmentSize: 128 << 10} // of two segments the first is damaged
		s := open(t, "confirmed", o)
		r := reader(t, s, "r")
		appendLarge(t, s, 100)
		confirmNext(t, r, 50)
		closeSpool(t, s)
		damageRecords(d, 21, 23)
		damageRecords(d, 55, 55)
		s = open(t, "confirmed", o)
		r = reader(t, s, "r")
		if got := s.Stats().Queued; got != 50 {
			t.Errorf("got %d queued, want 50: one of them cannot be read, which nobody knows yet", got)
		}
		if got := confirmNext(t, r, 50); got != 49 {
			t.Errorf("got %d records, want 49", got)
		}
		if st := checkAccounting(t, s); st.Queued != 0 || st.QueuedBytes != 0 || st.Delivered != 49 || st.Dropped.Damaged != 1 {
			t.Errorf("got %+v", st)
		}
		closeSpool(t, s)
	})
}

// Readers that meet the same damage at once count it once.
func TestManyReadersOneDamage(t *testing.T) {
	for range 20 {
		d := newRecorder()
		d.note = false
		s := open(t, "many", Options{disk: d, SegmentSize: 1 << 20})
		const readers = 4
		var list []*Reader
		for i := range readers {
			list = append(list, reader(t, s, string(rune('a'+i))))
		}
		appendLarge(t, s, 200)
		damageRecords(d, 100, 102)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		var all sync.WaitGroup
		for _, r := range list {
			all.Go(func() {
				for range 197 {
					rec, err := r.Next(ctx)
					if err != nil {
						t.Error(err)
						return
					}
					r.Confirm(rec.Seq)
				}
			})
		}
		all.Wait()
		cancel()
		if st := checkAccounting(t, s); st.Queued != 0 || st.Dropped.Damaged != 3 || st.Delivered != 197 {
			t.Fatalf("got %+v", st)
		}
		closeSpool(t, s)
	}
}
