package senml

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/besterhub/bester/hub"
	"github.com/tinylib/msgp/msgp"
)

// maxBases is how many base fields of one pack may be in effect. It is twice the number
// that RFC 8428 defines, to allow for future ones.
const maxBases = 12

// A subset is the smaller pack that Keep makes.
//
// The bytes of a kept record are copied unchanged. The base fields of a record that is
// dropped still apply to the records after it. They are pending until the next kept
// record, which gets them in front of its own fields.
type subset struct {
	bodyStart int  // offset of the first field of the present record
	fields    int  // number of its fields
	noMap     bool // it is no map and has no fields: bodyStart is that of the value
	own       [maxBases]baseField
	nown      int // base fields of the present record
	pending   [maxBases]baseField
	npending  int  // base fields in effect that the smaller pack does not have yet
	read      int  // records that have more than base fields
	kept      int  // of these
	written   int  // records of the smaller pack so far
	selected  bool // the present record is kept
	copying   bool // a record has been dropped: out has those kept so far
	prefix    int  // until then, the kept records are the first prefix bytes of the pack
	out       []byte
}

// A baseField is one base field of the pack: its label, and the range of its key and value.
type baseField struct {
	key      []byte
	from, to int
}

func (k *subset) reset() {
	k.nown, k.npending, k.read, k.kept, k.written, k.prefix = 0, 0, 0, 0, 0, 0
	k.selected, k.copying = false, false
	k.out = reuse(k.out)
}

// addBase records a base field of the present record.
func (r *Reader) addBase(key []byte, from, to int) error {
	if r.nown == maxBases {
		return fmt.Errorf("more than %d base fields", maxBases)
	}
	r.own[r.nown] = baseField{key, from, to}
	r.nown++
	return nil
}

// Keep adds the record that Next has read to the pack that Kept returns.
func (r *Reader) Keep() {
	if r.err != nil || r.records == 0 || r.selected {
		return
	}
	r.selected = true
	r.kept++
	if !r.copying && r.kept == r.read { // with all records of base fields alone before it
		r.prefix, r.written, r.npending = r.pos, r.records, 0
		return
	}
	r.startCopying()
	if r.noMap {
		r.copyValue()
		return
	}
	r.copyRecord()
	r.npending = 0
}

// endRecord ends the present record. If it is dropped, its base fields become pending.
func (r *Reader) endRecord() {
	if r.records > 0 && !r.selected {
		for _, s := range r.own[:r.nown] {
			r.addPending(s)
		}
	}
	r.selected, r.nown = false, 0
}

func (r *Reader) addPending(s baseField) {
	for i := range r.pending[:r.npending] {
		if bytes.Equal(r.pending[i].key, s.key) {
			r.pending[i] = s
			return
		}
	}
	if r.npending == maxBases {
		r.failTooManyBases()
		return
	}
	r.pending[r.npending] = s
	r.npending++
}

func (r *Reader) failTooManyBases() {
	r.err = fmt.Errorf("senml: record %d: more than %d base fields", r.records, maxBases)
}

// startCopying copies the records so far, which were all kept, to out.
func (r *Reader) startCopying() {
	if r.copying {
		return
	}
	r.copying = true
	if r.json {
		if r.prefix == 0 {
			r.out = append(r.out, '[')
		}
	} else if r.prefix == 0 {
		_, o, _ := msgp.ReadArrayHeaderBytes(r.b) // Next has read it without an error
		r.prefix = len(r.b) - len(o)
	}
	r.out = append(r.out, r.b[:r.prefix]...)
}

// copyValue copies an element that is no map. Pending base fields stay pending.
func (r *Reader) copyValue() {
	if r.json && r.written > 0 {
		r.out = append(r.out, ',')
	}
	r.out = append(r.out, r.b[r.bodyStart:r.pos]...)
	r.written++
}

func (r *Reader) copyRecord() {
	// The record's own base fields replace pending ones.
	n := 0
	for _, s := range r.pending[:r.npending] {
		if !r.owns(s.key) {
			r.pending[n] = s
			n++
		}
	}
	pending := r.pending[:n]
	if n+r.nown > maxBases {
		r.failTooManyBases()
		return
	}
	if r.json {
		if r.written > 0 {
			r.out = append(r.out, ',')
		}
		r.out = append(r.out, '{')
		for i, s := range pending {
			if i > 0 {
				r.out = append(r.out, ',')
			}
			r.out = append(r.out, r.b[s.from:s.to]...)
		}
		if n > 0 && r.fields > 0 {
			r.out = append(r.out, ',')
		}
	} else {
		r.out = msgp.AppendMapHeader(r.out, uint32(r.fields+n))
		for _, s := range pending {
			r.out = append(r.out, r.b[s.from:s.to]...)
		}
	}
	r.out = append(r.out, r.b[r.bodyStart:r.pos]...)
	r.written++
}

func (r *Reader) owns(key []byte) bool {
	for _, s := range r.own[:r.nown] {
		if bytes.Equal(s.key, key) {
			return true
		}
	}
	return false
}

// Kept returns the pack of the kept records, in the encoding of the original pack, and
// their number. It is called after the last Next, when Err is nil. If all records were
// kept, the result is the original pack. If none were, it is empty, which is not a valid
// pack. Its bytes are valid until the next Reset.
func (r *Reader) Kept() (hub.Data, int) {
	d := hub.Data{Encoding: hub.MessagePack}
	if r.json {
		d.Encoding = hub.JSON
	}
	switch {
	case r.err != nil || r.kept == 0:
		return d, 0
	case r.kept == r.read:
		d.Bytes = r.b
		return d, r.kept
	}
	r.startCopying()
	if r.json {
		r.out = append(r.out, ']')
		d.Bytes = r.out
		r.out = r.out[:len(r.out)-1]
	} else {
		r.setCount()
		d.Bytes = r.out
	}
	return d, r.kept
}

// setCount writes the number of records into the array's header. The header is a
// copy of the original one, so the smaller number fits.
func (r *Reader) setCount() {
	switch h := r.out[0]; {
	case h&0xf0 == 0x90:
		r.out[0] = 0x90 | byte(r.written)
	case h == 0xdc: // array 16
		binary.BigEndian.PutUint16(r.out[1:], uint16(r.written))
	default: // array 32
		binary.BigEndian.PutUint32(r.out[1:], uint32(r.written))
	}
}
