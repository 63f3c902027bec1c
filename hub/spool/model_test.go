package spool

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// A model is what a spool should be, as a slice. It is told how the records are
// spread over the files, for that is up to the spool; it predicts all else.
type model struct {
	o       Options
	now     uint64 // ms of the spool's clock
	queue   []modelRecord
	bytes   uint64 // they take
	next    uint64
	floor   uint64
	readers map[string]*modelReader

	files  []modelFile       // oldest first; the last is written to
	level  map[uint64]uint16 // how often a file was downsampled, by its first sequence
	onCard map[uint64]uint16 // the same, as the card knows it

	accepted, found, delivered, expired, oldest, downsampled uint64
	refused                                                  Refused
	payload                                                  uint64 // accepted in all lives
}

type modelRecord struct {
	seq, time uint64
	data      []byte
}

func (r modelRecord) size() uint64 { return uint64(recordSize(len(r.data))) }

type modelReader struct {
	committed uint64
	cursor    uint64          // the last handed out
	out       map[uint64]bool // handed out, above committed; true if confirmed
}

// A modelFile is sequences that are in one file.
type modelFile struct {
	first, last uint64
	used        bool // a reader has it open
}

func newModel(o Options) *model {
	return &model{o: o, next: 1, readers: map[string]*modelReader{}, level: map[uint64]uint16{}, onCard: map[uint64]uint16{}}
}

// over tells whether the bounds are exceeded with n more records.
func (m *model) over(n, size uint64) bool {
	return m.bytes+size > m.o.MaxBytes || m.o.MaxRecords > 0 && uint64(len(m.queue))+n > m.o.MaxRecords
}

// append returns the sequence of a record, and whether it is accepted.
func (m *model) append(data []byte) (uint64, bool) {
	r := modelRecord{m.next, m.now, bytes.Clone(data)}
	switch {
	case len(data) > m.o.MaxRecord:
		m.refused.TooLarge++
		return 0, false
	case m.over(1, r.size()) && (m.o.Overflow == DropNewest || m.o.Overflow == Wait):
		m.refused.Full++
		return 0, false
	}
	m.add(r)
	return r.seq, true
}

func (m *model) add(r modelRecord) {
	m.enforceBounds(1, r.size())
	m.queue = append(m.queue, r)
	m.bytes += r.size()
	m.next++
	m.accepted++
	m.payload += uint64(len(r.data))
}

// enforceBounds frees space for n more records, if that is the policy.
func (m *model) enforceBounds(n, size uint64) {
	if m.o.Overflow != DropOldest && m.o.Overflow != Downsample {
		return
	}
	for m.over(n, size) {
		if m.o.Overflow == Downsample && m.downsample() {
			continue
		}
		if len(m.queue) == 0 {
			return
		}
		m.dropOldest(&m.oldest)
	}
}

// dropOldest drops the oldest record, for all readers.
func (m *model) dropOldest(count *uint64) {
	r := m.queue[0]
	m.floor = r.seq
	m.pop(count)
	for _, r := range m.readers {
		r.advanceTo(m.floor)
	}
	m.advance()
}

func (m *model) pop(count *uint64) {
	m.bytes -= m.queue[0].size()
	m.queue = m.queue[1:]
	*count++
}

// expire drops n records, if they are old enough.
func (m *model) expire(n uint64, lag time.Duration) error {
	age := uint64(m.o.MaxAge.Milliseconds())
	old := func(extra uint64) bool {
		return m.o.MaxAge > 0 && len(m.queue) > 0 && m.queue[0].time+age+extra <= m.now
	}
	for range n {
		if !old(0) {
			return fmt.Errorf("expired %d records; the oldest of %d is too young", n, len(m.queue))
		}
		m.dropOldest(&m.expired)
	}
	if old(uint64(lag.Milliseconds())) {
		return fmt.Errorf("record %d of %d should have expired; now %d", m.queue[0].seq, m.queue[0].time, m.now)
	}
	return nil
}

// advanceTo moves the position to at least seq, and over confirmed records after
// that.
func (r *modelReader) advanceTo(seq uint64) {
	if r.committed < seq {
		r.committed = seq
		for s := range r.out {
			if s <= seq {
				delete(r.out, s)
			}
		}
	}
	for {
		lowest := uint64(removedPosition)
		for s := range r.out {
			lowest = min(lowest, s)
		}
		if !r.out[lowest] {
			return
		}
		delete(r.out, lowest)
		r.committed = lowest
	}
}

func (m *model) advance() {
	if len(m.readers) == 0 {
		return
	}
	low := uint64(removedPosition)
	for _, r := range m.readers {
		low = min(low, r.committed)
	}
	for len(m.queue) > 0 && m.queue[0].seq <= low {
		m.pop(&m.delivered)
	}
	m.floor = max(m.floor, low)
}

// nextOf is what a reader gets next, with the gap before it.
func (m *model) nextOf(r *modelReader) (rec modelRecord, gap Gap, ok bool) {
	for _, rec := range m.after(max(r.cursor, r.committed, m.floor)) {
		confirmed, again := r.out[rec.seq]
		if !again && len(r.out) >= m.o.InFlight {
			break
		}
		if from := max(r.cursor, r.committed) + 1; from < rec.seq {
			gap = Gap{from, rec.seq - 1}
		}
		r.cursor = rec.seq
		if confirmed {
			gap = Gap{}
			continue
		}
		r.out[rec.seq] = false
		return rec, gap, true
	}
	return rec, Gap{}, false
}

// after is the part of the queue with higher sequences.
func (m *model) after(seq uint64) []modelRecord {
	i, _ := slices.BinarySearchFunc(m.queue, seq+1, func(r modelRecord, seq uint64) int { return cmp.Compare(r.seq, seq) })
	return m.queue[i:]
}

// candidate is the file to downsample next: of those that no reader has come to and
// that were downsampled least, the oldest.
func (m *model) candidate() *modelFile {
	handed := m.floor
	for _, r := range m.readers {
		handed = max(handed, r.committed)
		for seq := range r.out {
			handed = max(handed, seq)
		}
	}
	var best *modelFile
	for i := range m.files[:max(0, len(m.files)-1)] {
		f := &m.files[i]
		if f.first <= handed || f.used || len(m.in(f)) == 0 || m.level[f.first] >= 24 {
			continue
		}
		if best == nil || m.level[f.first] < m.level[best.first] {
			best = f
		}
	}
	return best
}

func (m *model) in(f *modelFile) []modelRecord {
	all := m.after(f.first - 1)
	return all[:len(all)-len(m.after(f.last))]
}

// downsample downsamples one file, if that frees space.
func (m *model) downsample() bool {
	for {
		f := m.candidate()
		if f == nil {
			return false
		}
		records := m.in(f)
		keep := m.keep(records, uint64(m.o.DownsampleEvery.Milliseconds())<<m.level[f.first])
		m.level[f.first]++
		if len(keep) > len(records)/8*7 {
			continue
		}
		m.onCard[f.first] = m.level[f.first]
		for _, r := range records {
			m.bytes -= r.size()
		}
		for _, r := range keep {
			m.bytes += r.size()
		}
		m.downsampled += uint64(len(records) - len(keep))
		m.queue = slices.Concat(m.queue[:len(m.queue)-len(m.after(f.first-1))], keep, m.after(f.last))
		return true
	}
}

// keep is what downsampling keeps of records in intervals of every milliseconds. It
// keeps of each series the first and the last, and the earliest of those with the
// least and of those with the greatest value. It keeps all records without a series.
func (m *model) keep(records []modelRecord, every uint64) (keep []modelRecord) {
	type group struct {
		series   string
		interval uint64
	}
	groups := map[group][]modelRecord{}
	kept := map[uint64]bool{}
	for _, r := range records {
		name, _, ok := m.series(r)
		if kept[r.seq] = !ok; ok {
			g := group{name, r.time / every}
			groups[g] = append(groups[g], r)
		}
	}
	value := func(r modelRecord) float64 { _, v, _ := m.series(r); return v }
	for _, g := range groups {
		kept[g[0].seq], kept[g[len(g)-1].seq] = true, true
		g = slices.DeleteFunc(slices.Clone(g), func(r modelRecord) bool { return math.IsNaN(value(r)) })
		if len(g) == 0 {
			continue
		}
		least := slices.MinFunc(g, func(a, b modelRecord) int { return cmp.Compare(value(a), value(b)) })
		most := slices.MaxFunc(g, func(a, b modelRecord) int { return cmp.Compare(value(a), value(b)) })
		kept[least.seq], kept[most.seq] = true, true
	}
	for _, r := range records {
		if kept[r.seq] {
			keep = append(keep, r)
		}
	}
	return keep
}

func (m *model) series(r modelRecord) (string, float64, bool) {
	if m.o.Series == nil {
		return "", 0, true
	}
	return m.o.Series(r.data)
}

// reopen does what closing and opening again with other options does.
func (m *model) reopen(o Options) error {
	m.o = o
	m.accepted, m.found = uint64(len(m.queue)), uint64(len(m.queue))
	m.delivered, m.expired, m.oldest, m.downsampled, m.refused = 0, 0, 0, 0, Refused{}
	for _, r := range m.readers {
		r.cursor, r.out = r.committed, map[uint64]bool{}
	}
	m.level = map[uint64]uint16{}
	for first, level := range m.onCard {
		m.level[first] = level
	}
	m.enforceBounds(0, 0)
	old := uint64(0)
	for _, r := range m.queue {
		if m.o.MaxAge == 0 || r.time+uint64(m.o.MaxAge.Milliseconds()) > m.now {
			break
		}
		old++
	}
	return m.expire(old, 0)
}

// compare returns how a spool's figures differ from the model.
func (m *model) compare(st Stats) error {
	d := st.Dropped
	if st.Accepted != st.Delivered+st.Queued+st.Expired+d.Oldest+d.Downsampled+d.Damaged+d.Memory {
		return fmt.Errorf("the sum is wrong: %+v", st)
	}
	if st.Accepted != m.accepted || st.Found != m.found || st.Queued != uint64(len(m.queue)) || st.QueuedBytes != m.bytes ||
		st.Delivered != m.delivered || st.Expired != m.expired || d != (Dropped{Oldest: m.oldest, Downsampled: m.downsampled}) ||
		st.Refused != m.refused || len(st.Damage.Findings) != 0 || st.Failing != nil {
		return fmt.Errorf("got %+v\nwant accepted %d, found %d, queued %d of %d bytes, delivered %d, expired %d, dropped %d, thinned %d, refused %+v",
			st, m.accepted, m.found, len(m.queue), m.bytes, m.delivered, m.expired, m.oldest, m.downsampled, m.refused)
	}
	if got := st.Writes.Total; got.Payload != m.payload {
		return fmt.Errorf("%+v: want %d of payload", got, m.payload)
	}
	if len(st.Readers) != len(m.readers) {
		return fmt.Errorf("readers %+v, want %d", st.Readers, len(m.readers))
	}
	for _, r := range st.Readers {
		want := m.readers[r.Name]
		if want == nil || r.Position != want.committed || r.InFlight != len(want.out) || r.Queued != uint64(len(m.after(want.committed))) {
			return fmt.Errorf("reader %+v, want %+v", r, want)
		}
	}
	return nil
}
