package spool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// A readOnlyDisk opens files for reading only, counts the bytes read, and fails when
// ctx has ended.
type readOnlyDisk struct {
	disk
	ctx         context.Context
	done, total uint64
	progress    func(done, total uint64)
}

type readOnlyFile struct {
	file
	d *readOnlyDisk
}

func (d *readOnlyDisk) Open(name string, _, _ bool) (file, error) {
	f, err := d.disk.Open(name, false, false)
	if err != nil {
		return nil, err
	}
	return readOnlyFile{f, d}, nil
}

func (d *readOnlyDisk) Same(name string, f file) bool {
	return d.disk.Same(name, f.(readOnlyFile).file)
}

func (f readOnlyFile) ReadAt(b []byte, off int64) (int, error) {
	d := f.d
	if err := d.ctx.Err(); err != nil {
		return 0, err
	}
	if d.progress != nil {
		d.done += uint64(len(b))
		d.progress(min(d.done, d.total), d.total)
	}
	return f.file.ReadAt(b, off)
}

// notASpool tells whether nothing in the folder belongs to a spool.
func (d *readOnlyDisk) notASpool() bool {
	names, err := d.List()
	return err == nil && !slices.ContainsFunc(names, func(name string) bool {
		_, segment := parseSegmentName(name)
		return segment || name == idName
	})
}

// catalog reads the content of the folder. It tries again when another process
// changes the folder meanwhile, for the parts may then not fit together.
func (d *readOnlyDisk) catalog() (c *catalog, err error) {
	for range 5 {
		before, err := d.logFiles()
		if err != nil {
			return nil, err
		}
		if c, err = inspect(d); err != nil {
			return nil, err
		}
		if err := d.ctx.Err(); err != nil {
			return nil, err
		}
		after, err := d.logFiles()
		if err != nil {
			return nil, err
		}
		if slices.Equal(before, after) {
			break
		}
	}
	return c, nil
}

// logFiles lists the files of the log and the id. A file that may not be opened is an
// error: inspect would take it for damage.
func (d *readOnlyDisk) logFiles() (parts []string, err error) {
	names, err := d.List()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if name != idName && !strings.HasSuffix(name, segmentSuffix) {
			continue
		}
		f, err := d.disk.Open(name, false, false)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case errors.Is(err, fs.ErrPermission):
			return nil, err
		case err == nil:
			f.Close()
		}
		parts = append(parts, name)
	}
	slices.Sort(parts)
	return parts, nil
}

// A browser reads the segments for Browse.
type browser struct {
	d     *readOnlyDisk
	fn    func(Record) error
	rep   Report
	after uint64           // records up to this sequence are not selected
	to    uint64           // the last sequence selected
	last  uint64           // the last sequence read
	skip  uint64           // so many more records are skipped
	known map[Finding]bool // findings known before the segments are read
}

// errSelectionEnd ends the reading at the end of the selection.
var errSelectionEnd = errors.New("end")

func browse(d *readOnlyDisk, sel Selection, fn func(Record) error) (Report, error) {
	c, err := d.catalog()
	if err != nil {
		return Report{}, err
	}
	b := &browser{d: d, fn: fn, rep: newReport(d, c), to: cmp.Or(sel.To, removedPosition)}
	b.after = max(b.rep.Floor, max(sel.From, 1)-1)
	if sel.Reader != "" {
		at := slices.IndexFunc(b.rep.Readers, func(r ReaderStats) bool { return r.Name == sel.Reader })
		if at < 0 {
			return b.rep, fmt.Errorf("%q: %w", sel.Reader, ErrNoReader)
		}
		b.after = max(b.after, b.rep.Readers[at].Position)
	}
	segs, everything := c.segs, sel.From == 0 && sel.To == 0 && sel.Last == 0 && sel.Reader == ""
	if !everything {
		segs = slices.DeleteFunc(slices.Clone(segs), func(s *segment) bool { return s.last <= b.after || s.head.first > b.to })
		b.rep.Findings = slices.DeleteFunc(b.rep.Findings, b.outsideSelection)
	}
	if sel.Last > 0 && len(segs) > 0 {
		segs = b.tail(segs, sel.Last)
		b.after = max(b.after, segs[0].head.first-1)
		b.rep.Findings = slices.DeleteFunc(b.rep.Findings, b.outsideSelection)
	}
	b.last = b.after
	b.known = map[Finding]bool{}
	for _, l := range b.rep.Findings {
		b.known[l] = true
	}
	for _, seg := range segs {
		d.total += uint64(max(0, seg.end))
	}
	d.progress = sel.Progress
	for _, seg := range segs {
		if err := b.readSegment(seg, seg == c.segs[len(c.segs)-1]); err == errSelectionEnd {
			break
		} else if err != nil {
			return b.rep, err
		}
	}
	return b.rep, nil
}

// newReport reports what is known before the segments are read.
func newReport(d *readOnlyDisk, c *catalog) Report {
	floor, _ := c.floor()
	rep := Report{Next: c.next, Floor: floor, Closed: c.state.closed, Wear: c.state.wear.summary(), Findings: slices.Clone(c.findings), Foreign: map[string]string{}}
	for _, w := range c.foreign {
		rep.Findings = append(rep.Findings, Finding{Cause: Foreign, File: w.name})
		rep.Foreign[w.name] = w.why
	}
	if !c.knownID && len(c.segs) > 0 {
		l := Finding{Cause: Missing, File: idName}
		if f, err := d.Open(idName, false, false); err == nil {
			f.Close()
			l.Cause = Damaged
		}
		rep.Findings = append(rep.Findings, l)
	}
	for name, seq := range c.state.readers {
		rep.Readers = append(rep.Readers, ReaderStats{Name: name, Position: max(seq, floor)})
	}
	slices.SortFunc(rep.Readers, func(a, b ReaderStats) int { return cmp.Compare(a.Name, b.Name) })
	return rep
}

// outsideSelection tells whether a loss is outside the selection.
func (b *browser) outsideSelection(l Finding) bool {
	return l.Gap.From <= l.Gap.To && l.Gap.To > 0 && (l.Gap.To <= b.after || l.Gap.From > b.to)
}

// tail returns the segments that hold the last n selected records, and notes how many
// of the first segment are skipped.
func (b *browser) tail(segs []*segment, n uint64) []*segment {
	have := uint64(0)
	for i := len(segs) - 1; i >= 0; i-- {
		f, err := b.d.Open(segs[i].name, false, false)
		if err != nil {
			continue
		}
		for sc := newScanner(f, segs[i].head, segs[i].end); ; {
			r, _, ok := sc.next()
			if !ok || r.seq > b.to {
				break
			}
			if r.kind == kindData && r.seq > b.after {
				have++
			}
		}
		f.Close()
		if have >= n {
			b.skip = have - n
			return segs[i:]
		}
	}
	return segs
}

// readSegment reads one segment. A segment that another process retires or
// downsamples meanwhile is not damaged: it is read again, as far as it is still
// there.
func (b *browser) readSegment(seg *segment, newest bool) error {
	for {
		f, err := b.d.Open(seg.name, false, false)
		if errors.Is(err, fs.ErrNotExist) {
			b.skip = 0
			return nil
		} else if err != nil {
			return err
		}
		head, end := seg.head, seg.end
		if h, _, err := readHeader(f); err == nil && h.crc != head.crc && h.first == head.first && h.level > head.level {
			head, end = h, int64(h.ownEnd)
		}
		v, err := b.scan(f, head, end)
		same := len(v.holes) == 0 || b.d.Same(seg.name, f)
		f.Close()
		if err := b.d.ctx.Err(); err != nil {
			return err
		}
		if err != nil && err != errSelectionEnd {
			return err
		}
		if !same {
			continue
		}
		b.skip = 0
		if newest { // its holes are known from inspect
			v.holes = nil
		}
		for _, h := range v.holes {
			if !h.more {
				h.to = max(seg.last, h.from-1)
			}
			if l := (Finding{Gap{h.from, h.to}, h.to + 1 - h.from, Damaged, seg.name}); !b.outsideSelection(l) && !b.known[l] {
				b.rep.Findings = append(b.rep.Findings, l)
			}
		}
		b.rep.Segments = append(b.rep.Segments, SegmentReport{
			File: seg.name, First: head.first, Last: v.last, Records: v.size.n, Bytes: v.size.bytes,
			Began: head.time, Downsampled: int(head.level), Damaged: seg.damaged() || len(v.holes) > 0,
		})
		return err
	}
}

// scan reads the records of one file.
func (b *browser) scan(f file, head *header, end int64) (v scanResult, err error) {
	v.last = head.first - 1
	for sc := newScanner(f, head, end); ; {
		r, h, ok := sc.next()
		if h.found {
			v.holes = append(v.holes, h)
		}
		if !ok || b.d.ctx.Err() != nil {
			return v, nil
		}
		if r.kind != kindData {
			continue
		}
		if r.seq > b.to {
			if b.last < b.to {
				b.rep.Gap = Gap{b.last + 1, b.to}
			}
			return v, errSelectionEnd
		}
		v.size.add(recordCount{1, uint64(r.size)})
		v.last = r.seq
		if r.seq > b.last {
			if err := b.emit(r); err != nil {
				return v, err
			}
		}
	}
}

// emit hands one record to the caller.
func (b *browser) emit(r rawRecord) error {
	rec := Record{Seq: r.seq, Time: r.time, Data: r.data}
	if r.seq > b.last+1 {
		rec.Gap = Gap{b.last + 1, r.seq - 1}
	}
	b.last = r.seq
	if b.skip > 0 {
		b.skip--
		return nil
	}
	b.rep.Records++
	b.rep.Bytes += uint64(r.size)
	b.rep.First, b.rep.Last = cmp.Or(b.rep.First, r.seq), r.seq
	for i := range b.rep.Readers {
		if r.seq > b.rep.Readers[i].Position {
			b.rep.Readers[i].Queued++
		}
	}
	if b.fn == nil {
		return nil
	}
	return b.fn(rec)
}
