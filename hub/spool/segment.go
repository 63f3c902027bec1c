package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// The numbers of the format; doc.go has it byte by byte.
const (
	magic      = "BSTSPOOL"
	version    = 1
	pageSize   = 4096
	dataStart  = 2 * pageSize // behind the header and its copy
	recordHead = 20
	maxLength  = 1<<24 - 1

	maxReaders         = 64
	maxReaderName      = 40
	readersAt          = 348 // in the header
	checkpointSize     = 17  // of a checkpoint's data
	checkpointWearSize = 16  // added size of a checkpoint with the figures of the wear

	segmentSuffix      = ".spool"
	damagedSuffix      = ".damaged"
	preallocatedSuffix = ".spare"
	newSuffix          = ".new"
)

// What a record is.
const (
	kindData       = 1 // what someone appended
	kindPosition   = 2 // a reader's position
	kindCheckpoint = 3 // a checkpoint: the spool's own state
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var le = binary.LittleEndian

// maxPlausible bounds sequences, times and sizes: no spool counts that far, so a
// higher number is damage.
const maxPlausible = 1 << 62

// A recordCount is a number of records and their size on the card.
type recordCount struct{ n, bytes uint64 }

func (t *recordCount) add(u recordCount) { t.n += u.n; t.bytes += u.bytes }
func (t *recordCount) sub(u recordCount) { t.n -= min(t.n, u.n); t.bytes -= min(t.bytes, u.bytes) }

// A header begins each segment, twice.
type header struct {
	level    uint16 // how often it was downsampled
	salt     uint32
	spool    uint64
	first    uint64      // no record in the segment has a lower sequence
	time     uint64      // ms; record times count from here
	prev     uint64      // first of the predecessor, 0 if there is none
	prevEnd  uint64      // where the predecessor ends, in bytes
	prevLast uint64      // last sequence in the predecessor
	before   recordCount // all records in the log before this segment
	floor    uint64
	reserved uint64
	own      recordCount // the records in a downsampled segment
	ownEnd   uint64
	wear     wearCounters // as of when the segment began
	readers  []position
	crc      uint32 // the link of the first record
}

type position struct {
	name string
	seq  uint64
}

func segmentName(first uint64) string { return fmt.Sprintf("%016x%s", first, segmentSuffix) }

func parseSegmentName(name string) (first uint64, ok bool) {
	hex, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(hex) != 16 {
		return 0, false
	}
	first, err := strconv.ParseUint(hex, 16, 64)
	return first, err == nil && segmentName(first) == name
}

// encode returns the header with its copy.
func (h *header) encode() []byte {
	b := make([]byte, dataStart)
	copy(b, magic)
	le.PutUint16(b[8:], version)
	le.PutUint16(b[10:], h.level)
	le.PutUint32(b[12:], h.salt)
	for i, v := range h.words() {
		le.PutUint64(b[16+8*i:], *v)
	}
	le.PutUint16(b[readersAt-4:], uint16(len(h.readers)))
	at := readersAt
	for _, r := range h.readers {
		le.PutUint64(b[at:], r.seq)
		b[at+8] = byte(len(r.name))
		at += 9 + copy(b[at+9:], r.name)
	}
	h.crc = crc32.Checksum(b[:pageSize-4], castagnoli)
	le.PutUint32(b[pageSize-4:], h.crc)
	copy(b[pageSize:], b[:pageSize])
	return b
}

// words are the header's 64-bit fields from byte 16 on, in order.
func (h *header) words() []*uint64 {
	l := &h.wear
	words := []*uint64{&h.spool, &h.first, &h.time, &h.prev, &h.prevEnd, &h.prevLast,
		&h.before.n, &h.before.bytes, &h.floor, &h.reserved, &h.own.n, &h.own.bytes, &h.ownEnd,
		&l.since, &l.at, &l.payload, &l.written}
	for i := range l.hours {
		words = append(words, &l.hours[i])
	}
	return words
}

var errHeader = errors.New("not a segment header")

// parseHeader reads one page.
func parseHeader(b []byte) (*header, error) {
	if len(b) < pageSize || string(b[:8]) != magic {
		return nil, errHeader
	}
	b = b[:pageSize]
	crc := crc32.Checksum(b[:pageSize-4], castagnoli)
	if crc != le.Uint32(b[pageSize-4:]) {
		return nil, errHeader
	}
	if v := le.Uint16(b[8:]); v != version {
		return nil, fmt.Errorf("segment format %d; this program reads format %d", v, version)
	}
	h := &header{level: le.Uint16(b[10:]), salt: le.Uint32(b[12:]), crc: crc}
	for i, v := range h.words() {
		if *v = le.Uint64(b[16+8*i:]); *v >= maxPlausible && v != &h.spool {
			return nil, errHeader
		}
	}
	if h.first == 0 || max(h.prevEnd, h.ownEnd) > maxSegment+dataStart {
		return nil, errHeader
	}
	at, n := readersAt, int(le.Uint16(b[readersAt-4:]))
	for range n {
		if at+9 > pageSize-4 || at+9+int(b[at+8]) > pageSize-4 {
			return nil, errHeader
		}
		name := string(b[at+9 : at+9+int(b[at+8])])
		p := position{name, le.Uint64(b[at:])}
		if p.seq >= maxPlausible {
			return nil, errHeader
		}
		h.readers = append(h.readers, p)
		at += 9 + len(name)
	}
	return h, nil
}

// readHeader reads a segment's header, from the copy if need be. damaged tells that
// one of the two is damaged.
func readHeader(f file) (h *header, damaged bool, err error) {
	b := make([]byte, dataStart)
	readPages(f, b, 0)
	h, err = parseHeader(b)
	second, err2 := parseHeader(b[pageSize:])
	switch {
	case err == nil:
		return h, err2 != nil || second.crc != h.crc, nil
	case err2 == nil:
		return second, true, nil
	}
	return nil, true, err
}

// A rawRecord is a record as it is stored in a segment.
type rawRecord struct {
	kind byte
	crc  uint32
	prev uint32 // the crc of the one before
	seq  uint64
	time uint64 // ms
	data []byte
	size int // in the segment
}

// recordSize is the size of a record with n bytes of data in a segment.
func recordSize(n int) int { return recordHead + (n+3)&^3 }

// appendRecord adds a record to b, linked to prev, and returns its crc too.
func (h *header) appendRecord(b []byte, prev uint32, kind byte, seq, time uint64, data []byte) ([]byte, uint32) {
	at := len(b)
	b = append(b, make([]byte, recordHead)...)
	le.PutUint32(b[at+4:], uint32(kind)<<24|uint32(len(data)))
	le.PutUint32(b[at+8:], prev)
	le.PutUint32(b[at+12:], uint32(min(time-min(time, h.time), 1<<32-1)))
	le.PutUint32(b[at+16:], uint32(seq-h.first))
	b = append(b, data...)
	for len(b)-at < recordSize(len(data)) {
		b = append(b, 0)
	}
	crc := crc32.Update(h.salt, castagnoli, b[at+4:])
	le.PutUint32(b[at:], crc)
	return b, crc
}

// sizeOf returns the size of the record whose head b begins with; 0 if it cannot be
// one.
func sizeOf(b []byte) int {
	v := le.Uint32(b[4:])
	if kind := v >> 24; kind < kindData || kind > kindCheckpoint {
		return 0
	}
	return recordSize(int(v & maxLength))
}

// parseRecord parses b, which is one record and nothing else.
func (h *header) parseRecord(b []byte) (r rawRecord, ok bool) {
	v := le.Uint32(b[4:])
	r = rawRecord{
		kind: byte(v >> 24), crc: le.Uint32(b), prev: le.Uint32(b[8:]), size: len(b),
		time: h.time + uint64(le.Uint32(b[12:])), seq: h.first + uint64(le.Uint32(b[16:])),
		data: b[recordHead : recordHead+int(v&maxLength)],
	}
	for _, pad := range b[recordHead+len(r.data):] {
		if pad != 0 {
			return r, false
		}
	}
	return r, crc32.Update(h.salt, castagnoli, b[4:]) == r.crc
}

// A checkpoint is what the spool writes of its state into the log.
type checkpoint struct {
	floor, reserved  uint64
	payload, written uint64 // as in wearCounters
	at               uint64 // the time of those figures
	closed           bool
}

// put encodes the checkpoint; the figures of the wear only if b has space for them.
func (m *checkpoint) put(b []byte) {
	le.PutUint64(b, m.floor)
	le.PutUint64(b[8:], m.reserved)
	b[16] = 0
	if m.closed {
		b[16] = 1
	}
	if len(b) > checkpointSize {
		le.PutUint64(b[checkpointSize:], m.payload)
		le.PutUint64(b[checkpointSize+8:], m.written)
	}
}

func parseCheckpoint(b []byte) (m checkpoint, ok bool) {
	if len(b) < checkpointSize {
		return m, false
	}
	m = checkpoint{floor: le.Uint64(b), reserved: le.Uint64(b[8:]), closed: b[16]&1 != 0}
	if len(b) >= checkpointSize+checkpointWearSize {
		m.payload, m.written = le.Uint64(b[checkpointSize:]), le.Uint64(b[checkpointSize+8:])
	}
	return m, max(m.floor, m.reserved, m.payload, m.written) < maxPlausible
}

// A state is the sum of the checkpoints and positions in the log: the newest wins.
type state struct {
	floor    uint64 // records up to it are done with
	reserved uint64 // sequences below may have been given out
	closed   bool   // the last program closed the spool
	wear     wearCounters
	readers  map[string]uint64
}

func newState(h *header) *state {
	s := &state{floor: h.floor, reserved: h.reserved, wear: h.wear, readers: map[string]uint64{}}
	for _, r := range h.readers {
		s.readers[r.name] = r.seq
	}
	return s
}

// apply updates the state from a record.
func (s *state) apply(r rawRecord) {
	s.closed = false
	switch {
	case r.kind == kindCheckpoint:
		m, ok := parseCheckpoint(r.data)
		if !ok {
			break
		}
		s.floor = max(s.floor, m.floor)
		s.reserved = max(s.reserved, m.reserved)
		if s.closed = m.closed; s.closed {
			s.reserved = m.reserved
		}
		if len(r.data) > checkpointSize {
			s.wear.add(m.payload-min(m.payload, s.wear.payload), m.written-min(m.written, s.wear.written), r.time)
		}
	case r.kind == kindPosition && len(r.data) > 8:
		name := string(r.data[8:])
		if seq := le.Uint64(r.data); seq == removedPosition {
			delete(s.readers, name)
		} else if seq < maxPlausible {
			s.readers[name] = max(s.readers[name], seq)
		}
	}
}

// removedPosition is the position of a reader that was removed.
const removedPosition = 1<<64 - 1
