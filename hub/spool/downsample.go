package spool

import (
	"math"
	"slices"
	"time"
)

const (
	maxDownsampleLevel = 24 // the intervals are so long by then that a segment is within one
	downsampleRetry    = time.Minute
)

// downsample frees space by downsampling one segment: of those that no reader has
// come to and that were downsampled least, the oldest. It tells whether space was
// freed.
func (w *writer) downsample() bool {
	s := w.s
	if time.Now().Before(w.downsampleAt) {
		return false
	}
	for {
		s.mu.Lock()
		seg, n := w.downsampleCandidate(), uint64(0)
		if seg != nil {
			n = seg.size.n
		}
		s.mu.Unlock()
		if seg == nil {
			return false
		}
		f, err := s.disk.Open(seg.name, false, false)
		if err != nil {
			return false
		}
		keep, all := s.selectDownsampled(f, seg)
		if uint64(len(keep)) > n/8*7 || !all {
			h := *seg.head // not worth a write: the next interval may be
			h.level++
			f.Close()
			s.mu.Lock()
			if w.downsampleCandidate() == seg { // else a reader has come, and uses the present header
				seg.head = &h
			}
			s.mu.Unlock()
			continue
		}
		h, err := w.rewriteSegment(f, seg, keep)
		f.Close()
		downsampled := false
		if err == nil {
			downsampled, err = w.replaceSegment(seg, h)
		}
		if err != nil {
			s.disk.Remove(downsampleName)
			s.logWarning("thinning out failed", err)
			w.downsampleAt = time.Now().Add(downsampleRetry) // else each append would write a file in vain
			return false
		}
		if downsampled {
			return true
		}
	}
}

const downsampleName = "thin" + newSuffix

// downsampleCandidate chooses the segment to downsample. The writer's own cursor may
// be in it: it finds its place again. Called under mu.
func (w *writer) downsampleCandidate() (best *segment) {
	s := w.s
	delivered := s.floor
	for _, r := range s.list {
		delivered = max(delivered, r.committed, r.window.last())
	}
	for i, seg := range s.segs {
		pins := seg.pins
		if seg == w.cur.seg {
			pins--
		}
		if i+1 == len(s.segs) || pins > 0 || seg.head.first <= delivered || len(seg.holes) > 0 || seg.size.n == 0 || seg.head.level >= maxDownsampleLevel {
			continue
		}
		if best == nil || seg.head.level < best.head.level {
			best = seg
		}
	}
	return best
}

// extremes are the records that downsampling keeps of one series in one interval.
type extremes struct {
	first, last, min, max uint64
	least, greatest       float64
}

// selectDownsampled returns the sequences of a segment to keep, in order. all is
// false if the segment is damaged: it is then left as it is.
func (s *Spool) selectDownsampled(f file, seg *segment) (keep []uint64, all bool) {
	every := uint64(min(max(1, s.opt.DownsampleEvery.Milliseconds()), 1<<40-1)) << seg.head.level
	series := map[string]*extremes{}
	interval := uint64(0)
	finish := func() {
		for name, e := range series {
			keep = append(keep, e.first, e.last)
			if s.opt.Series != nil {
				keep = append(keep, e.min, e.max)
			}
			delete(series, name)
		}
	}
	for sc := newScanner(f, seg.head, seg.end); ; {
		r, h, ok := sc.next()
		if h.found {
			return nil, false
		}
		if !ok {
			break
		}
		if r.kind != kindData {
			continue
		}
		if r.time/every != interval {
			finish()
			interval = r.time / every
		}
		name, value, known := "", 0.0, true
		if s.opt.Series != nil {
			name, value, known = s.opt.Series(r.data)
		}
		if !known {
			keep = append(keep, r.seq)
			continue
		}
		e := series[name]
		if e == nil {
			e = &extremes{r.seq, r.seq, r.seq, r.seq, value, value}
			series[name] = e
		}
		e.last = r.seq
		if value < e.least || math.IsNaN(e.least) {
			e.min, e.least = r.seq, value
		}
		if value > e.greatest || math.IsNaN(e.greatest) {
			e.max, e.greatest = r.seq, value
		}
	}
	finish()
	slices.Sort(keep)
	return slices.Compact(keep), true
}

// rewriteSegment writes the records to keep into a new file.
func (w *writer) rewriteSegment(f file, seg *segment, keep []uint64) (*header, error) {
	h := *seg.head
	h.level++
	h.salt = uint32(random())
	h.own, h.ownEnd = recordCount{}, dataStart
	for sc := newScanner(f, seg.head, seg.end); ; {
		r, _, ok := sc.next()
		if !ok {
			break
		}
		if _, kept := slices.BinarySearch(keep, r.seq); kept && r.kind == kindData {
			h.own.add(recordCount{1, uint64(r.size)})
		}
	}
	h.ownEnd += h.own.bytes
	to, err := w.s.disk.Open(downsampleName, true, true)
	if err != nil {
		return nil, err
	}
	defer to.Close()
	began := time.Now()
	out, prev, at := h.encode(), uint32(0), int64(0)
	prev = h.crc
	for sc := newScanner(f, seg.head, seg.end); err == nil; {
		r, _, ok := sc.next()
		if !ok {
			break
		}
		if _, kept := slices.BinarySearch(keep, r.seq); !kept || r.kind != kindData {
			continue
		}
		out, prev = h.appendRecord(out, prev, kindData, r.seq, r.time, r.data)
		if len(out) >= viewMax {
			_, err = to.WriteAt(out, at)
			at += int64(len(out))
			out = out[:0]
		}
	}
	if err == nil {
		_, err = to.WriteAt(out, at)
	}
	if err == nil {
		err = to.Truncate(int64(h.ownEnd))
	}
	if err == nil {
		err = to.Sync()
	}
	w.s.mu.Lock()
	w.s.count.countWrite(pages(0, int64(h.ownEnd)), 1, time.Since(began), w.s.clock())
	w.s.mu.Unlock()
	return &h, err
}

// replaceSegment replaces the segment's file by the new one. Cursors that come to it
// meanwhile wait. If a reader has come to it before, the segment stays as it is: done
// is false, and another may be downsampled. The folder need not be synced: after a
// power cut either file is right.
func (w *writer) replaceSegment(seg *segment, h *header) (done bool, err error) {
	s := w.s
	s.mu.Lock()
	if w.downsampleCandidate() != seg {
		s.mu.Unlock()
		return false, s.disk.Remove(downsampleName)
	}
	seg.replacing = true
	s.mu.Unlock()
	err = s.disk.Rename(downsampleName, seg.name)
	s.mu.Lock()
	if err == nil {
		less := seg.size
		less.sub(h.own)
		s.count.dropped.Downsampled += less.n
		s.total.sub(less)
		s.epoch++
		seg.head, seg.size, seg.end = h, h.own, int64(h.ownEnd)
		seg.gen++
		s.floorAdvanced()
	}
	seg.replacing = false
	s.replaced.Broadcast()
	s.mu.Unlock()
	return err == nil, err
}
