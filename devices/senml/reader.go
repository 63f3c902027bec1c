package senml

import (
	"errors"
	"fmt"

	"github.com/besterhub/bester/hub"
)

// A Reader walks through the records of a pack, in either encoding:
//
//	r.Reset(m.Data)
//	for r.Next() {
//		rec := r.Record()
//		...
//	}
//	if err := r.Err(); err != nil { // this is no SenML pack
//
// The zero value is ready. It keeps its memory from one pack to the next and
// allocates nothing in steady state. It belongs to one goroutine.
type Reader struct {
	b     []byte
	json  bool
	pos   int // of what is read next
	count int // records that the header of a MessagePack array promises
	err   error

	rec  Record
	seen int // records read

	// The base fields as they are now (RFC 8428, 4.1).
	name      []byte // base name, and behind it the record's
	baseName  int    // its length
	badBase   bool   // it has bytes that no name may have
	goodBase  int    // so many bytes of name are a base name that has been checked
	baseUnit  []byte
	baseTime  float64
	baseValue float64
	hasValue  bool
	baseSum   float64

	text []byte // strings that had to be unescaped

	keeping
}

// Reset begins with the pack d, whose bytes are borrowed until the last call
// about it. Offsets in errors count from the first byte of d.
func (r *Reader) Reset(d hub.Data) {
	r.b, r.json = d.Bytes, d.Encoding == hub.JSON
	r.pos, r.count, r.seen, r.err = 0, -1, 0, nil
	r.rec = Record{}
	r.baseName, r.badBase, r.baseUnit = 0, false, nil
	r.baseTime, r.baseValue, r.hasValue, r.baseSum = 0, 0, false, 0
	r.text = reuse(r.text)
	r.keeping.reset()
}

// reuse empties a buffer, and gives one back that a single large pack has grown.
func reuse(b []byte) []byte {
	if cap(b) > 64<<10 {
		return nil
	}
	return b[:0]
}

// Next reads the next record. It returns false at the end of the pack and where
// the pack is wrong: see Err.
func (r *Reader) Next() bool {
	if r.err != nil {
		return false
	}
	if r.settle(); r.err != nil {
		return false
	}
	more, err := r.element()
	if err == nil && more {
		err = r.record()
	}
	if err != nil {
		r.err = fmt.Errorf("senml: record %d: %w", r.seen+1, err)
		return false
	}
	if !more {
		if r.seen == 0 {
			r.err = errors.New("senml: the pack is empty")
		}
		return false
	}
	r.seen++
	return true
}

// Record returns the record that Next has read; it is overwritten by the next one.
func (r *Reader) Record() *Record { return &r.rec }

// Err returns why Next returned false before the end of the pack, or nil.
func (r *Reader) Err() error { return r.err }

// element moves to the next record of the array.
func (r *Reader) element() (bool, error) {
	if r.json {
		return r.jsonElement(r.seen == 0)
	}
	if r.count < 0 {
		n, err := r.packArray()
		if err != nil {
			return false, err
		}
		r.count = n
	}
	if r.seen < r.count {
		return true, nil
	}
	if r.pos != len(r.b) {
		return false, fmt.Errorf("%d bytes after the end of the pack", len(r.b)-r.pos)
	}
	return false, nil
}

// The walk through one value, by encoding.

func (r *Reader) open() (int, error) {
	if r.json {
		return 0, r.jsonOpen()
	}
	return r.packMap()
}

func (r *Reader) key() ([]byte, error) {
	if r.json {
		return r.jsonKey()
	}
	return r.packKey()
}

func (r *Reader) str() ([]byte, error) {
	if r.json {
		r.space()
		return r.jsonString()
	}
	return r.packText()
}

func (r *Reader) number() (float64, error) {
	if r.json {
		return r.jsonNumber()
	}
	return r.packNumber()
}

// boolean returns 1 for true, 0 for false.
func (r *Reader) boolean() (float64, error) {
	if r.json {
		return r.jsonBool()
	}
	return r.packBool()
}

func (r *Reader) skip(depth int) error {
	if r.json {
		return r.jsonSkip(depth)
	}
	return r.packSkip(depth)
}
