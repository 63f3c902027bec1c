package spool

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// The events that a workload notes in the recorder.
type (
	acked     struct{ seq, number uint64 }
	confirmed struct {
		name string
		seq  uint64
	} // about to be
	persisted struct {
		name string
		seq  uint64
	} // the position is on the card
	delivered   struct{ seq uint64 } // out to a reader
	droppedTo   struct{ seq uint64 } // dropped or expired, up to here
	downsampled struct{ seqs []uint64 }
	other       struct{ is string }                     // the second reader: about to "begin" or "end"; on the card: "there", "gone"
	closedWith  struct{ next, payload, written uint64 } // Close has returned
	openedWith  struct{ payload, written uint64 }       // Open has returned; the totals before
)

// An oracle knows what must hold after a power cut.
type oracle struct {
	kind        lifeKind
	sent        map[uint64]bool   // numbers of records that were ever appended
	acked       map[uint64]uint64 // sequence → number
	delivered   uint64            // the highest sequence anyone has seen
	dropped     uint64            // sequences up to here may be gone
	downsampled map[uint64]bool   // and these
	other       string            // whether there is a second reader
	closed      closedWith        // zero unless the program has closed the spool
	opened      openedWith        // totals that no power cut may take away
	readers     map[string]readerSeen
}

// A readerSeen is what an oracle saw of a reader.
type readerSeen struct {
	confirmed uint64          // the position is at most here
	persisted uint64          // and at least here
	done      map[uint64]bool // confirmed
}

func newOracle(kind lifeKind) *oracle {
	return &oracle{
		kind: kind, sent: map[uint64]bool{}, acked: map[uint64]uint64{}, downsampled: map[uint64]bool{}, other: "gone",
		readers: map[string]readerSeen{"up": {done: map[uint64]bool{}}, "down": {done: map[uint64]bool{}}},
	}
}

func (w *oracle) clone() *oracle {
	c := *w // sent is shared: it only grows
	c.acked, c.downsampled, c.readers = maps.Clone(w.acked), maps.Clone(w.downsampled), maps.Clone(w.readers)
	for name, r := range c.readers {
		r.done = maps.Clone(r.done)
		c.readers[name] = r
	}
	return &c
}

func (w *oracle) observe(o op) {
	if o.kind != opEvent && o.kind != opRemove {
		w.closed = closedWith{}
	}
	switch e := o.event.(type) {
	case acked:
		w.acked[e.seq] = e.number
	case confirmed:
		r := w.readers[e.name]
		r.confirmed = max(r.confirmed, e.seq)
		r.done[e.seq] = true
		w.readers[e.name] = r
	case persisted:
		r := w.readers[e.name]
		r.persisted = max(r.persisted, e.seq)
		w.readers[e.name] = r
	case delivered:
		w.delivered = max(w.delivered, e.seq)
	case droppedTo:
		w.dropped = max(w.dropped, e.seq)
	case downsampled:
		for _, seq := range e.seqs {
			w.downsampled[seq] = true
		}
	case other:
		w.other = e.is
		if e.is == "begin" || e.is == "gone" {
			w.readers["down"] = readerSeen{done: map[uint64]bool{}}
		}
	case closedWith:
		w.closed = e
	case openedWith:
		w.opened = e
	}
}

// check opens and reads what a power cut left, and checks it.
func (w *oracle) check(image map[string][]byte) error {
	d := newRecorder()
	d.note = false
	for name, data := range image {
		d.names[name] = &inode{name, slices.Clone(data)}
	}
	_, next, ok := parseID(image[idName])
	if image[idName] != nil && !ok || w.closed.next > 0 && next != w.closed.next {
		return fmt.Errorf("the id is %q; closed with %d the next", image[idName], w.closed.next)
	}
	c, err := inspect(d)
	if err != nil || w.closed.next > 0 && (!c.state.closed || c.next != w.closed.next) {
		return fmt.Errorf("closed with %d the next: %+v, %v", w.closed.next, c, err)
	}
	total := c.state.wear
	if total.payload < w.opened.payload || total.written < w.opened.written {
		return fmt.Errorf("totals %+v, were %+v when it was opened", total, w.opened)
	}
	if w.closed.next > 0 && (total.payload != w.closed.payload || total.written != w.closed.written) {
		return fmt.Errorf("totals %+v, were %+v when it was closed", total, w.closed)
	}
	s, err := Open("cut", Options{Class: w.kind.class, SegmentSize: minSegment, MaxBytes: 1 << 40, MaxRecord: 8 << 10, disk: d})
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer s.Close(context.Background())
	if n := s.Stats().Damage.Found; n != 0 {
		id := string(image[idName])
		for _, n := range slices.Sorted(maps.Keys(image)) {
			if h, err := parseHeader(image[n]); err == nil {
				id += fmt.Sprintf("\n%s %+v", n, *h)
			}
		}
		return fmt.Errorf("a power cut is no damage: %+v; %s", s.Stats().Damage, id)
	}
	there := s.readers["down"] != nil
	if there && w.other == "gone" || !there && w.other == "there" {
		return fmt.Errorf("the second reader is there: %v; it should be %s", there, w.other)
	}
	last, err := w.read(s, "up")
	if err == nil && w.other == "there" {
		_, err = w.read(s, "down")
	}
	if err != nil {
		return fmt.Errorf("%w; %+v", err, s.Stats())
	}
	if seq, err := s.Append(context.Background(), []byte("after")); err != nil || seq <= max(last, w.delivered) {
		return fmt.Errorf("append after the cut: %d, %v; last was %d", seq, err, max(last, w.delivered))
	}
	return nil
}

// read checks all that a reader gets, and returns the last sequence.
func (w *oracle) read(s *Spool, name string) (last uint64, err error) {
	r, err := s.Reader(name)
	if err != nil {
		return 0, err
	}
	saw, at, durable := w.readers[name], r.Position(), w.kind.class == Durable
	// The position of telemetry that was never written need not be written either.
	if at > max(saw.confirmed, w.dropped) && name == "up" || at < saw.persisted && durable {
		return 0, fmt.Errorf("%s: position %d, want from %d to %d", name, at, saw.persisted, max(saw.confirmed, w.dropped))
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	got, last := map[uint64]bool{}, at
	for {
		rec, err := r.Next(ctx)
		if errors.Is(err, context.Canceled) {
			break
		}
		if err != nil {
			return last, err
		}
		number := uint64(binary.LittleEndian.Uint32(rec.Data))
		switch {
		case rec.Seq <= saw.persisted:
			return last, fmt.Errorf("record %d comes again, committed to %d", rec.Seq, saw.persisted)
		case rec.Seq <= last:
			return last, fmt.Errorf("record %d after %d", rec.Seq, last)
		case !w.sent[number] || len(rec.Data) != w.kind.size(number):
			return last, fmt.Errorf("record %d was never written", rec.Seq)
		}
		if want, ok := w.acked[rec.Seq]; ok && number != want {
			return last, fmt.Errorf("record %d is number %d, want %d", rec.Seq, number, want)
		}
		last, got[rec.Seq] = rec.Seq, true
	}
	for seq := range w.acked {
		if seq > max(at, w.dropped) && !got[seq] && !w.downsampled[seq] && (durable || !saw.done[seq]) {
			return last, fmt.Errorf("%s: record %d was acknowledged and is lost; position %d", name, seq, at)
		}
	}
	for _, st := range s.Stats().Readers {
		if st.Name == name && st.Queued != uint64(len(got)) {
			return last, fmt.Errorf("%s: %d queued, %d handed out", name, st.Queued, len(got))
		}
	}
	return last, nil
}

// A lifeKind is how the spool of a workload is configured.
type lifeKind struct {
	class Class
	full  OverflowPolicy
	age   time.Duration
	fails bool // the card does, now and then
}

func (k lifeKind) options(d disk) Options {
	o := Options{Class: k.class, SegmentSize: minSegment, MaxBytes: 1 << 40, MaxRecord: 8 << 10, MaxAge: k.age, disk: d}
	if k.full == Downsample {
		o.MaxBytes, o.Overflow, o.DownsampleEvery, o.Series = 200<<10, Downsample, time.Hour, cutSeries
	}
	return o
}

// size is the length of a record. Records are long if many are to be dropped and
// downsampled.
func (k lifeKind) size(number uint64) int {
	h := number * 2654435761 >> 7
	if k.full == Downsample {
		return 2000 + int(h%6000)
	}
	return 4 + int(h%(1<<(3+number%10)))
}

func (k lifeKind) data(number uint64) []byte {
	b := make([]byte, k.size(number))
	binary.LittleEndian.PutUint32(b, uint32(number))
	return b
}

// cutSeries puts most records into one series, and a few into none.
func cutSeries(data []byte) (string, float64, bool) {
	n := binary.LittleEndian.Uint32(data)
	return "", float64(n * 2654435761 % 1000), n%32 != 0
}

// downsampledBy returns the records that are gone when a downsampled segment replaces
// the original, and checks them against the model.
func (k lifeKind) downsampledBy(before, after []byte) (gone []uint64, err error) {
	had, h, err := recordsOf(before)
	if err != nil {
		return nil, err
	}
	have, now, err := recordsOf(after)
	if err != nil {
		return nil, err
	}
	o := k.options(nil)
	m := newModel(o)
	want := m.keep(had, uint64(o.DownsampleEvery.Milliseconds())<<(now.level-1))
	same := func(a, b modelRecord) bool {
		return a.seq == b.seq && a.time == b.time && string(a.data) == string(b.data)
	}
	if !slices.EqualFunc(have, want, same) || now.level <= h.level || now.own.n != uint64(len(have)) {
		return nil, fmt.Errorf("thinned out from %d to %d records, want %d; %+v", len(had), len(have), len(want), now)
	}
	for _, r := range had {
		if !slices.ContainsFunc(have, func(o modelRecord) bool { return o.seq == r.seq }) {
			gone = append(gone, r.seq)
		}
	}
	return gone, nil
}

func recordsOf(b []byte) (all []modelRecord, h *header, err error) {
	h, err = parseHeader(b)
	if err != nil {
		return nil, nil, err
	}
	d := newRecorder()
	d.names["x"] = &inode{"x", b}
	f, _ := d.Open("x", false, false)
	for sc := newScanner(f, h, int64(len(b))); ; {
		r, _, ok := sc.next()
		if !ok {
			return all, h, nil
		}
		if r.kind == kindData {
			all = append(all, modelRecord{r.seq, r.time, slices.Clone(r.data)})
		}
	}
}
