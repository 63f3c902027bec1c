package spool

import (
	"cmp"
	"fmt"
	"slices"
)

// A Report is what Verify found.
type Report struct {
	Segments    []SegmentReport
	Records     uint64 // that can be read and are not done with
	Bytes       uint64 // they take
	First, Last uint64 // their lowest and highest sequence, 0 if there are none
	Next        uint64 // the sequence that the next record would get
	Floor       uint64 // records up to here are done with
	Closed      bool   // the last program closed the spool
	Readers     []ReaderStats
	Losses      []Loss // all that is wrong, Torn and PowerCut included
}

// SegmentReport is one file of the log.
type SegmentReport struct {
	File           string
	First, Last    uint64 // sequences
	Records, Bytes uint64 // that can be read
	Began          uint64 // ms of the spool's clock
	Thinned        int    // how often
	Damaged        bool
}

// Verify reads all of the spool in dir, and changes nothing. It is no error that
// something is damaged; the report says what. A spool that is open may be
// verified, too; what is being written then may show as Torn. Errors: the folder
// cannot be read.
func Verify(dir string) (Report, error) {
	rep, err := walk(folder(dir), nil)
	if err != nil {
		err = fmt.Errorf("spool: verify %q: %w", dir, err)
	}
	return rep, err
}

// Walk calls f for each record of the spool in dir that can be read and that is
// not done with, in order, with the Gap before it, and changes nothing. Data is
// borrowed until f returns. It ends with f's error if that is not nil.
func Walk(dir string, f func(Record) error) error {
	_, err := walk(folder(dir), f)
	if err != nil {
		return fmt.Errorf("spool: walk %q: %w", dir, err)
	}
	return nil
}

func walk(d disk, fn func(Record) error) (rep Report, err error) {
	c, err := inspect(d)
	if err != nil {
		return rep, err
	}
	floor, _ := c.floor()
	rep = Report{Next: c.next, Floor: floor, Closed: c.state.closed, Losses: c.losses}
	for _, w := range c.wrong {
		rep.Losses = append(rep.Losses, Loss{Cause: Foreign, File: w.name})
	}
	for name, seq := range c.state.readers {
		rep.Readers = append(rep.Readers, ReaderStats{Name: name, Position: seq})
	}
	slices.SortFunc(rep.Readers, func(a, b ReaderStats) int { return cmp.Compare(a.Name, b.Name) })
	last := floor
	for i, seg := range c.segs {
		f, err := d.Open(seg.name, false, false)
		if err != nil {
			return rep, err
		}
		part, err := rep.segment(f, seg, &last, fn)
		f.Close()
		if i+1 < len(c.segs) { // the newest was examined when it was looked at
			for _, h := range part.holes {
				if !h.more {
					h.to = max(seg.last, h.from-1)
				}
				rep.Losses = append(rep.Losses, Loss{Gap{h.from, h.to}, h.to + 1 - h.from, Damaged, seg.name})
			}
		}
		rep.Segments = append(rep.Segments, SegmentReport{
			File: seg.name, First: seg.head.first, Last: part.last, Records: part.size.n, Bytes: part.size.bytes,
			Began: seg.head.time, Thinned: int(seg.head.level), Damaged: seg.hurt() || i+1 < len(c.segs) && len(part.holes) > 0,
		})
		if err != nil {
			return rep, err
		}
	}
	return rep, nil
}

// segment reads one segment for the report.
func (rep *Report) segment(f file, seg *segment, last *uint64, fn func(Record) error) (v survey, err error) {
	v.last = seg.head.first - 1
	for sc := newScanner(f, seg.head, seg.end); ; {
		r, h, ok := sc.next()
		if h.found {
			v.holes = append(v.holes, h)
		}
		if !ok {
			return v, nil
		}
		if r.kind != kindData {
			continue
		}
		v.size.add(tally{1, uint64(r.size)})
		v.last = r.seq
		if r.seq <= rep.Floor {
			continue
		}
		rep.Records++
		rep.Bytes += uint64(r.size)
		rep.First, rep.Last = min(cmp.Or(rep.First, r.seq), r.seq), r.seq
		for i := range rep.Readers {
			if r.seq > rep.Readers[i].Position {
				rep.Readers[i].Queued++
			}
		}
		if fn != nil {
			rec := Record{Seq: r.seq, Time: r.time, Data: r.data}
			if r.seq > *last+1 {
				rec.Gap = Gap{*last + 1, r.seq - 1}
			}
			if err := fn(rec); err != nil {
				return v, err
			}
		}
		*last = r.seq
	}
}
