package spool

import (
	"bytes"
	"slices"
	"testing"
)

// FuzzSegment gives the parser arbitrary bytes as a segment. A parsed record, encoded
// again with the same link, is the same bytes; and records and holes account for
// every byte. A folder with that file can be walked.
func FuzzSegment(f *testing.F) {
	h := header{salt: 7, spool: 9, first: 5, time: 1000, readers: []position{{"up", 4}}}
	b := h.encode()
	prev := h.crc
	b, prev = h.appendRecord(b, prev, kindPosition, 5, 1000, []byte("\x04\x00\x00\x00\x00\x00\x00\x00up"))
	for i := range uint64(4) {
		b, prev = h.appendRecord(b, prev, kindData, 5+i, 1000+i, payload(int(i)))
	}
	whole, _ := h.appendRecord(b, prev, kindCheckpoint, 9, 1010, make([]byte, checkpointSize))
	f.Add(whole)
	figures, _ := h.appendRecord(b, prev, kindCheckpoint, 9, 1010, bytes.Repeat([]byte{0, 9, 0, 0, 0, 0, 0}, 5)[:checkpointSize+checkpointWearSize])
	f.Add(figures)
	f.Add(whole[:len(whole)-30])
	for _, at := range []int{3, 200, dataStart + 9, dataStart + 50, len(whole) - 5} {
		damaged := slices.Clone(whole)
		damaged[at] ^= 4
		f.Add(damaged)
	}
	f.Add(append(slices.Clone(whole), whole[dataStart:]...))
	f.Fuzz(func(t *testing.T, b []byte) {
		node := &inode{segmentName(5), b}
		d := newRecorder()
		d.note = false
		file := &recorded{d, node}
		if h, _, err := readHeader(file); err == nil && h.first > 0 {
			at, link := int64(dataStart), h.crc
			for c := newScanner(file, h, int64(len(b))); ; {
				r, gap, ok := c.next()
				if gap.found {
					if gap.off != at || gap.next < at || gap.next > int64(len(b)) {
						t.Fatalf("hole %+v at %d", gap, at)
					}
					at, link = gap.next, r.prev
				}
				if !ok {
					break
				}
				again, _ := h.appendRecord(nil, link, r.kind, r.seq, r.time, r.data)
				if !bytes.Equal(again, b[at:at+int64(r.size)]) {
					t.Fatalf("at %d: %+v does not come back", at, r)
				}
				at, link = at+int64(r.size), r.crc
			}
			if at != int64(len(b)) && int64(len(b)) > dataStart {
				t.Fatalf("%d of %d bytes accounted for", at, len(b))
			}
		}
		d.names[segmentName(5)] = node
		// What Open and readers do about damage, without their goroutines.
		last := uint64(0)
		if _, err := browse(&readOnlyDisk{disk: d, ctx: t.Context()}, Selection{}, func(rec Record) error {
			if rec.Seq <= last {
				t.Fatalf("record %d after %d", rec.Seq, last)
			}
			last = rec.Seq
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzHeader checks that a parsed header is encoded to the same bytes.
func FuzzHeader(f *testing.F) {
	h := header{salt: 1, spool: 2, first: 3, readers: []position{{"up", 4}}}
	h.wear.since = 5
	h.wear.add(6, 7, 8)
	f.Add(h.encode()[:pageSize])
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHeader(b)
		if err != nil {
			return
		}
		again, err := parseHeader(h.encode())
		if err != nil || !slices.Equal(again.readers, h.readers) || again.first != h.first || again.reserved != h.reserved || again.wear != h.wear {
			t.Fatalf("%+v became %+v, %v", h, again, err)
		}
	})
}
