package spool

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// A candidate is a file with the name of a segment.
type candidate struct {
	name     string
	first    uint64
	head     *header
	size     int64
	damaged  bool // one of the two headers is damaged
	vanished bool // removed meanwhile by another process
	why      string
	err      error // it could not be opened now; says nothing of the content
}

// A catalog is the content of a folder.
type catalog struct {
	id, next     uint64
	knownID      bool
	segs         []*segment  // in order, with ends and sizes; the newest is last
	foreign      []candidate // files that are not segments of this log
	damaged      []*segment  // segments that are known to be damaged
	findings     []Finding
	state        *state
	newest       scanResult
	preallocated []string
	leftovers    []string // files left behind by a power cut or a failing card
}

// inspect reads the content of the folder, and writes nothing.
func inspect(d disk) (*catalog, error) {
	names, err := d.List()
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	c := &catalog{state: newState(&header{})}
	if c.id, c.next, c.knownID, err = readID(d); err != nil {
		return nil, err
	}
	var found []candidate
	for _, name := range names {
		switch {
		case strings.HasSuffix(name, newSuffix):
			c.leftovers = append(c.leftovers, name)
		case strings.HasSuffix(name, preallocatedSuffix):
			c.preallocated = append(c.preallocated, name)
		case strings.HasSuffix(name, segmentSuffix):
			if f := readCandidate(d, name); f.err != nil {
				return nil, fmt.Errorf("%s: %w", name, f.err)
			} else if f.vanished {
				continue
			} else if f.why != "" {
				c.foreign = append(c.foreign, f)
			} else {
				found = append(found, f)
			}
		}
	}
	if err := c.linkSegments(d, c.dropForeign(found)); err != nil {
		return nil, err
	}
	return c, nil
}

// readCandidate reads the header of one file.
func readCandidate(d disk, name string) candidate {
	c := candidate{name: name}
	first, ok := parseSegmentName(name)
	if !ok {
		c.why = "not the name of a segment"
		return c
	}
	c.first = first
	f, err := d.Open(name, false, false)
	if err != nil {
		if c.why = err.Error(); errors.Is(err, fs.ErrNotExist) {
			c.vanished = true
		} else if transient(err) {
			c.err = err
		}
		return c
	}
	defer f.Close()
	if c.size, err = f.Size(); err != nil {
		c.why = err.Error()
		return c
	}
	if c.head, c.damaged, err = readHeader(f); err != nil {
		c.why = err.Error()
	} else if c.head.first != first {
		c.why = fmt.Sprintf("is the segment %s by its header", segmentName(c.head.first))
	}
	return c
}

// dropForeign removes the segments of other spools. If the id file is lost, the id
// that most segments have is right.
func (c *catalog) dropForeign(found []candidate) []candidate {
	if !c.knownID {
		votes := map[uint64]int{}
		for _, f := range found {
			if votes[f.head.spool]++; votes[f.head.spool] > votes[c.id] || c.id == 0 {
				c.id = f.head.spool
			}
		}
	}
	return slices.DeleteFunc(found, func(f candidate) bool {
		if f.head.spool == c.id {
			return false
		}
		f.why = "belongs to another spool"
		c.foreign = append(c.foreign, f)
		return true
	})
}

// linkSegments links the segments, from the newest back: each names its predecessor,
// and tells where that one ends and what is in it.
func (c *catalog) linkSegments(d disk, found []candidate) (err error) {
	slices.SortFunc(found, func(a, b candidate) int { return cmp.Compare(a.first, b.first) })
	var next *header
	var floor uint64
	for i := len(found) - 1; i >= 0; i-- {
		f := found[i]
		seg := &segment{name: f.name, head: f.head, end: min(f.size, maxSegment+dataStart)}
		if next != nil && next.prev < f.first {
			if f.head.prev == next.prev { // abandoned when the card failed; no record in it was acknowledged
				c.leftovers = append(c.leftovers, f.name)
				continue
			}
			f.why = "no segment comes after it"
			c.foreign = append(c.foreign, f)
			continue
		}
		switch {
		case next == nil:
			c.state = newState(f.head)
			if c.newest, err = scanFile(d, seg, false, c.state); err != nil {
				return err
			}
			seg.end, seg.size, seg.last = c.newest.end, c.newest.size, c.newest.last
			c.noteHoles(seg, c.newest, Torn)
			floor, _ = c.floor()
		case next.prev == f.first:
			seg.end, seg.last = int64(next.prevEnd), next.prevLast
			seg.size = next.before
			seg.size.sub(f.head.before)
			if f.head.level > 0 {
				seg.end, seg.size = int64(f.head.ownEnd), f.head.own
			}
			if f.size < seg.end {
				c.damaged = append(c.damaged, seg)
			}
		case next.prevLast <= floor: // the missing segments are done with, and so is this
			c.leftovers = append(c.leftovers, f.name)
			continue
		default: // the successor is missing: only reading tells where this one ends
			v, err := scanFile(d, seg, false, nil)
			if err != nil {
				return err
			}
			seg.end, seg.size, seg.last = v.end, v.size, v.last
			c.noteHoles(seg, v, Damaged)
			lost := next.before
			lost.sub(f.head.before)
			lost.sub(v.size)
			lost.n = min(lost.n, next.prevLast-min(v.last, next.prevLast)) // without the losses in holes
			c.findings = append(c.findings, Finding{Gap{v.last + 1, next.prevLast}, lost.n, Missing, segmentName(next.prev)})
		}
		if f.damaged {
			seg.addHole(0, true)
			c.findings = append(c.findings, Finding{Cause: Damaged, File: f.name})
		}
		c.segs = append(c.segs, seg)
		next = f.head
	}
	slices.Reverse(c.segs)
	c.noteMissing(next)
	return nil
}

// noteHoles records the holes of a segment that was read whole.
func (c *catalog) noteHoles(seg *segment, v scanResult, cause Cause) {
	if cause == Torn && (c.state.closed || seg.head.first < c.next) {
		cause = Damaged // it was intact when it was closed
	}
	for _, h := range v.holes {
		seg.addHole(h.off, cause == Damaged)
		c.findings = append(c.findings, Finding{Gap{h.from, h.to}, h.to + 1 - h.from, cause, seg.name})
	}
}

// noteMissing records the gaps before the first segment and after the last.
func (c *catalog) noteMissing(first *header) {
	floor, high := c.floor()
	if first != nil && first.prev != 0 && floor < first.prevLast {
		c.findings = append(c.findings, Finding{Gap{floor + 1, first.prevLast}, first.prevLast - floor, Missing, segmentName(first.prev)})
	}
	last := uint64(0)
	if n := len(c.segs); n > 0 {
		newest := c.segs[n-1]
		if last = newest.last; newest.head.first < c.next && !c.state.closed {
			newest.addHole(newest.end, true) // it was closed, and now its end is missing
			c.findings = append(c.findings, Finding{Cause: Damaged, File: newest.name})
		}
	}
	from := max(last, floor) + 1
	switch {
	case c.state.closed:
	case c.next > from: // the log was longer when it was closed
		c.findings = append(c.findings, Finding{Gap{from, c.next - 1}, c.next - from, Missing, ""})
		from = c.next
		fallthrough
	default:
		if c.state.reserved > from {
			c.findings = append(c.findings, Finding{Gap{from, c.state.reserved - 1}, 0, PowerCut, ""})
		}
	}
	c.next = max(c.next, c.state.reserved, last+1, floor+1, high+1)
}

// floor is the low-water mark, up to which all records are done with, and the highest
// position.
func (c *catalog) floor() (floor, high uint64) {
	low := uint64(removedPosition)
	for _, seq := range c.state.readers {
		low, high = min(low, seq), max(high, seq)
	}
	if len(c.state.readers) == 0 {
		low = 0
	}
	return max(low, c.state.floor), high
}

// scanFile reads a segment whose end is not known.
func scanFile(d disk, seg *segment, ended bool, st *state) (scanResult, error) {
	f, err := d.Open(seg.name, false, false)
	switch {
	case err != nil && transient(err):
		return scanResult{}, fmt.Errorf("%s: %w", seg.name, err)
	case err != nil:
		return scanResult{last: seg.head.first - 1, end: dataStart, state: st}, nil
	}
	defer f.Close()
	return scanSegment(f, seg.head, seg.end, ended, st), nil
}

// load takes over the content of the folder.
func (s *Spool) load(w *writer) error {
	c, err := inspect(s.disk)
	if err != nil {
		return err
	}
	s.opened, s.openedMS = time.Now(), uint64(max(0, time.Now().UnixMilli()))
	for _, name := range c.leftovers {
		s.disk.Remove(name)
	}
	w.findPreallocated(c.preallocated, len(c.segs))
	for _, f := range c.foreign {
		s.noteFinding(Finding{Cause: Foreign, File: f.name})
		s.logWarning("file set aside", fmt.Errorf("%s: %s", f.name, f.why))
		s.quarantine(f.name)
	}
	for _, l := range c.findings {
		s.noteFinding(l)
	}
	s.segs, s.next = c.segs, c.next
	floor, _ := c.floor()
	s.floor = floor
	for _, seg := range s.segs {
		s.total.add(seg.size)
		s.openedMS = max(s.openedMS, seg.head.time)
	}
	s.openedMS = max(s.openedMS, c.newest.time, c.state.wear.at)
	s.count.wear = c.state.wear
	if s.passed, err = s.tallyUpTo(floor); err != nil {
		return err
	}
	s.count.found = s.total.n - s.passed.n
	s.count.accepted = s.count.found
	for name, seq := range c.state.readers {
		at := max(seq, floor)
		passed := s.passed
		if at > floor {
			if passed, err = s.tallyUpTo(at); err != nil {
				return err
			}
		}
		s.addReader(name, at, passed).known = true
	}
	slices.SortFunc(s.list, func(a, b *Reader) int { return cmp.Compare(a.name, b.name) })
	l := &c.state.wear
	s.saved = checkpoint{floor: c.state.floor, reserved: c.state.reserved, payload: l.payload, written: l.written, at: l.at, closed: c.state.closed}
	for _, seg := range c.damaged {
		s.recordDamage(seg)
	}
	if s.id = c.id; !c.knownID {
		if s.id == 0 {
			s.id = random() | 1
		}
		if err := writeID(s.disk, s.id, 0); err != nil {
			s.logWarning("the id cannot be written", err)
		}
	}
	return nil
}

// tallyUpTo counts the records up to seq. It counts whole segments by their headers,
// and reads the one that holds seq.
func (s *Spool) tallyUpTo(seq uint64) (t recordCount, err error) {
	for _, seg := range s.segs {
		if seg.last <= seq {
			t.add(seg.size)
			continue
		}
		if seg.head.first > seq {
			break
		}
		f, err := s.disk.Open(seg.name, false, false)
		if err != nil && transient(err) {
			return t, fmt.Errorf("%s: %w", seg.name, err)
		}
		if err == nil {
			t.add(seg.tallyUpTo(f, seq))
			f.Close()
		}
		break
	}
	return t, nil
}

// tallyUpTo counts the records of the segment up to seq: those that can be read, and
// those lost in holes before it, for the segment's size includes them.
func (seg *segment) tallyUpTo(f file, seq uint64) recordCount {
	var part, all recordCount
	missing := uint64(0)
	for sc := newScanner(f, seg.head, seg.end); ; {
		r, h, ok := sc.next()
		if h.found && h.from <= seq {
			if !h.more {
				h.to = max(seg.last, h.from-1)
			}
			missing += min(h.to, seq) + 1 - h.from
		}
		if !ok || r.seq > seq && missing == 0 {
			break // records after seq only tell how much is lost
		}
		if r.kind != kindData {
			continue
		}
		all.add(recordCount{1, uint64(r.size)})
		if r.seq <= seq {
			part.add(recordCount{1, uint64(r.size)})
		}
	}
	lost := seg.size
	lost.sub(all)
	if n := min(missing, lost.n); n > 0 {
		part.add(recordCount{n, lost.bytes / lost.n * n})
	}
	if part.n > seg.size.n {
		return seg.size
	}
	return part
}
