package senml

import (
	"errors"
	"fmt"

	"github.com/besterhub/bester/hub"
)

// A Reader iterates over the records of a pack, in either encoding:
//
//	r.Reset(m.Data)
//	for r.Next() {
//		rec := r.Record()
//		...
//	}
//	if err := r.Err(); err != nil { // this is no SenML pack
//
// The zero value is ready. It reuses its memory from one pack to the next and
// allocates nothing in steady state. It is not safe for concurrent use.
type Reader struct {
	b     []byte
	json  bool
	pos   int // of what is read next
	count int // records that the header of a MessagePack array promises
	err   error

	rec     Record
	records int // how many have been read

	// The base fields as they are now (RFC 8428, 4.1).
	name        []byte // base name, followed by the record's
	baseName    int    // its length
	invalidBase bool   // it has bytes that are not allowed in a name
	checkedBase int    // length of the base name in name that has been checked, from this pack or the last
	baseUnit    []byte
	baseTime    float64
	baseValue   float64
	hasValue    bool
	baseSum     float64
	hasSum      bool
	baseVersion float64 // 0: none was given yet

	invalidBases uint16 // labels of base fields that apply and are invalid
	baseOnly     bool   // the present record has nothing but base fields

	text []byte // strings that had to be unescaped

	subset
}

// Reset begins to read the pack d. Its bytes are borrowed until the last call
// that concerns this pack. Offsets in errors count from the first byte of d.
func (r *Reader) Reset(d hub.Data) {
	r.b, r.json = d.Bytes, d.Encoding == hub.JSON
	r.pos, r.count, r.records, r.err = 0, -1, 0, nil
	r.rec = Record{}
	r.baseName, r.invalidBase, r.baseUnit = 0, false, nil
	r.baseTime, r.baseValue, r.hasValue, r.baseSum, r.hasSum = 0, 0, false, 0, false
	r.baseVersion, r.invalidBases = 0, 0
	r.text = reuse(r.text)
	r.subset.reset()
}

// reuse empties a buffer. It drops one that a large pack has grown.
func reuse(b []byte) []byte {
	if cap(b) > 64<<10 {
		return nil
	}
	return b[:0]
}

// Next reads the next record. It returns false at the end of the pack and after an error:
// see Err. A pack with an invalid record is refused there. A record of base fields alone is
// passed over.
func (r *Reader) Next() bool {
	more, invalid := r.next()
	if invalid != nil {
		r.err = fmt.Errorf("senml: record %d: %w", r.records, invalid)
		return false
	}
	return more
}

// NextOrInvalid is Next for those who judge each record by itself: an invalid one costs
// no other. Record().Err then says what is wrong with it; of its other fields only Name
// may be used, which is nil if the name is not known either. A base field that is invalid,
// of another version, or must be understood and is not, makes all records invalid to which
// it applies. NextOrInvalid returns false only at the end and where nothing more can be
// read: data that is no array, or cut off, or with more than 12 base fields.
func (r *Reader) NextOrInvalid() bool {
	more, invalid := r.next()
	if r.rec.Err = nil; invalid != nil {
		r.rec.Err = fmt.Errorf("record %d: %w", r.records, invalid)
	}
	return more
}

// next reads the next record that has more than base fields. invalid says what is wrong
// with it alone.
func (r *Reader) next() (more bool, invalid error) {
	for {
		if r.err != nil {
			return false, nil
		}
		if r.endRecord(); r.err != nil {
			return false, nil
		}
		more, err := r.element()
		if err == nil && more {
			invalid, err = r.record()
		}
		if err != nil {
			r.err = fmt.Errorf("senml: record %d: %w", r.records+1, err)
			return false, nil
		}
		if !more {
			if r.read == 0 {
				r.err = errors.New("senml: the pack is empty")
			}
			return false, nil
		}
		r.records++
		if !r.baseOnly {
			r.read++
			return true, invalid
		}
	}
}

// Record returns the record that Next or NextOrInvalid has read. The next Next overwrites it.
func (r *Reader) Record() *Record { return &r.rec }

// Err returns why Next returned false before the end of the pack, or nil.
func (r *Reader) Err() error { return r.err }

// element moves to the next record of the array.
func (r *Reader) element() (bool, error) {
	if r.json {
		return r.jsonElement(r.records == 0)
	}
	if r.count < 0 {
		n, err := r.msgpackArray()
		if err != nil {
			return false, err
		}
		r.count = n
	}
	if r.records < r.count {
		return true, nil
	}
	if r.pos != len(r.b) {
		return false, fmt.Errorf("%d bytes after the end of the pack", len(r.b)-r.pos)
	}
	return false, nil
}

// These methods read one token or value in the pack's encoding.

func (r *Reader) open() (int, error) {
	if r.json {
		return 0, r.jsonOpen()
	}
	return r.msgpackMap()
}

func (r *Reader) key() ([]byte, error) {
	if r.json {
		return r.jsonKey()
	}
	return r.msgpackKey()
}

func (r *Reader) str() ([]byte, error) {
	if r.json {
		r.skipSpace()
		return r.jsonString()
	}
	return r.msgpackText()
}

func (r *Reader) number() (float64, error) {
	if r.json {
		return r.jsonNumber()
	}
	return r.msgpackNumber()
}

// boolean returns 1 for true, 0 for false.
func (r *Reader) boolean() (float64, error) {
	if r.json {
		return r.jsonBool()
	}
	return r.msgpackBool()
}

func (r *Reader) skip(depth int) error {
	if r.json {
		return r.jsonSkip(depth)
	}
	return r.msgpackSkip(depth)
}
