package senml

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/besterhub/bester/hub"
	"github.com/tinylib/msgp/msgp"
)

// maxBases is how many base fields one pack may have in force: twice as many as
// there are, for those to come.
const maxBases = 12

// keeping is what a Reader knows of the smaller pack that Keep makes.
//
// The bytes of a kept record are copied as they are. Base fields in a record that
// is left out are owed to the records after it, so the next one kept gets them
// put in front of its own.
type keeping struct {
	body    int // where the first field of the present record begins
	fields  int // how many fields it has
	own     [maxBases]span
	nown    int // base fields of the present record
	owed    [maxBases]span
	nowed   int // base fields in force that the smaller pack does not have yet
	kept    int
	keeps   bool // the present record is kept
	writing bool // a record has been left out: out has those kept so far
	whole   int  // until then: where the last record kept ends
	out     []byte
}

// A span is one base field of the pack: its name, and where its key and value are.
type span struct {
	key      []byte
	from, to int
}

func (k *keeping) reset() {
	k.nown, k.nowed, k.kept, k.whole = 0, 0, 0, 0
	k.keeps, k.writing = false, false
	k.out = reuse(k.out)
}

// addBase notes a base field of the present record.
func (r *Reader) addBase(key []byte, from, to int) error {
	if r.nown == maxBases {
		return fmt.Errorf("more than %d base fields", maxBases)
	}
	r.own[r.nown] = span{key, from, to}
	r.nown++
	return nil
}

// Keep puts the record that Next has read into the pack that Kept returns.
func (r *Reader) Keep() {
	if r.err != nil || r.seen == 0 || r.keeps {
		return
	}
	r.keeps = true
	r.kept++
	if !r.writing && r.kept == r.seen {
		r.whole = r.pos
		return
	}
	r.begin()
	r.copyRecord()
	r.nowed = 0
}

// settle ends the present record: if it is left out, its base fields are owed.
func (r *Reader) settle() {
	if r.seen > 0 && !r.keeps {
		for _, s := range r.own[:r.nown] {
			r.owe(s)
		}
	}
	r.keeps, r.nown = false, 0
}

func (r *Reader) owe(s span) {
	for i := range r.owed[:r.nowed] {
		if bytes.Equal(r.owed[i].key, s.key) {
			r.owed[i] = s
			return
		}
	}
	if r.nowed == maxBases {
		r.tooMany()
		return
	}
	r.owed[r.nowed] = s
	r.nowed++
}

func (r *Reader) tooMany() {
	r.err = fmt.Errorf("senml: record %d: more than %d base fields", r.seen, maxBases)
}

// begin starts writing: the records so far, which were all kept, as they are.
func (r *Reader) begin() {
	if r.writing {
		return
	}
	r.writing = true
	if r.json {
		if r.whole == 0 {
			r.out = append(r.out, '[')
		}
	} else if r.whole == 0 {
		_, o, _ := msgp.ReadArrayHeaderBytes(r.b) // has been read before
		r.whole = len(r.b) - len(o)
	}
	r.out = append(r.out, r.b[:r.whole]...)
}

func (r *Reader) copyRecord() {
	// Base fields of its own replace those owed.
	n := 0
	for _, s := range r.owed[:r.nowed] {
		if !r.owns(s.key) {
			r.owed[n] = s
			n++
		}
	}
	owed := r.owed[:n]
	if n+r.nown > maxBases {
		r.tooMany()
		return
	}
	if r.json {
		if r.kept > 1 {
			r.out = append(r.out, ',')
		}
		r.out = append(r.out, '{')
		for i, s := range owed {
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
		for _, s := range owed {
			r.out = append(r.out, r.b[s.from:s.to]...)
		}
	}
	r.out = append(r.out, r.b[r.body:r.pos]...)
}

func (r *Reader) owns(key []byte) bool {
	for _, s := range r.own[:r.nown] {
		if bytes.Equal(s.key, key) {
			return true
		}
	}
	return false
}

// Kept returns the pack of the records that were kept, in the encoding of the
// pack they came from, and their number. It is for after the last Next, when Err
// is nil. If all were kept it is the pack itself; if none, it is empty and no
// pack. It is the Reader's until the next Reset.
func (r *Reader) Kept() (hub.Data, int) {
	d := hub.Data{Encoding: hub.MessagePack}
	if r.json {
		d.Encoding = hub.JSON
	}
	switch {
	case r.err != nil || r.kept == 0:
		return d, 0
	case r.kept == r.seen:
		d.Bytes = r.b
		return d, r.kept
	}
	r.begin()
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

// setCount writes the number of records kept into the array's header, which is a
// copy of the old one and so has room for it.
func (r *Reader) setCount() {
	switch h := r.out[0]; {
	case h&0xf0 == 0x90:
		r.out[0] = 0x90 | byte(r.kept)
	case h == 0xdc: // array 16
		binary.BigEndian.PutUint16(r.out[1:], uint16(r.kept))
	default: // array 32
		binary.BigEndian.PutUint32(r.out[1:], uint32(r.kept))
	}
}
