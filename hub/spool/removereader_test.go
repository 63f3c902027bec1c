package spool

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
)

// A power cut comes right after a reader was removed. Segments that were kept for
// it alone may be retired only once the card knows that it was removed.
func TestRemoveReaderPowerCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, d := newCrashDisk(nil)
		o := Options{disk: d, SegmentSize: minSegment}
		s := open(t, "remove", o)
		r := reader(t, s, "up")
		reader(t, s, "down")
		appendAll(t, s, 1, 3000)
		expect(t, r, 1, 3000)
		for i := range uint64(3000) {
			r.Confirm(i + 1)
		}
		if err := s.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		before, quiet := s.Stats().Segments, len(d.ops)
		s.RemoveReader("down")
		synctest.Wait()
		if n := s.Stats().Segments; n != 1 || before < 2 {
			t.Fatalf("%d segments, %d when removed", before, n)
		}
		for i, op := range d.ops {
			c.observe(op)
			if i < quiet {
				continue
			}
			_, after := newCrashDisk(c.cut(rand.New(rand.NewPCG(1, 1))))
			cat, err := inspect(after)
			if err != nil || len(cat.findings) > 0 && cat.findings[0].Cause != Torn {
				t.Fatalf("after %s %s: %+v, %v", op.kind, op.from+op.to, cat.findings, err)
			}
		}
		closeSpool(t, s)
	})
}

// A reader is created again while the writer writes that it was removed. The card
// learns of the new one, too.
func TestRemovedReaderReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newRecorder()
		d.note = false
		o := Options{disk: d, SegmentSize: minSegment}
		s := open(t, "remove", o)
		reader(t, s, "up")
		appendAll(t, s, 1, 1200)
		reader(t, s, "down")
		if err := s.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		// The batch in which it is removed begins a segment, and it comes again
		// after the batch was put together and before the header is written.
		s.RemoveReader("down")
		again := false
		d.fault = func(kind opKind, name string) error {
			if kind == opCreate && name == "segment"+newSuffix && !again {
				again = true
				if _, err := s.Reader("down"); err != nil {
					t.Error(err)
				}
			}
			return nil
		}
		for i := 1201; !again; i++ {
			if i == 5000 {
				t.Fatal("no segment was begun")
			}
			appendAll(t, s, i, i)
			if !again {
				s.Reader("down")
				s.RemoveReader("down")
			}
		}
		closeSpool(t, s)
		s = open(t, "remove", o)
		if s.readers["down"] == nil {
			t.Error("the reader that came again is not there")
		}
		closeSpool(t, s)
	})
}
