package senml

import (
	"encoding/binary"
	"errors"
	"math"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"
)

// MessagePack: the array and maps of a pack with RFC 8428's JSON labels. A vd is
// its base64url text as in JSON, or bin.

var (
	errArray = errors.New("want an array of records")
	errMap   = errors.New("want a map of fields")
	errValue = errors.New("want a value")
)

// rest is what has not been read.
func (r *Reader) rest() []byte { return r.b[r.pos:] }

// to moves to where o, a tail of the pack, begins.
func (r *Reader) to(o []byte) { r.pos = len(r.b) - len(o) }

func (r *Reader) packArray() (int, error) {
	if len(r.b) > 0 && r.b[0]&0xf0 == 0x90 {
		r.pos = 1
		return int(r.b[0] & 0x0f), nil
	}
	n, o, err := msgp.ReadArrayHeaderBytes(r.b)
	if err != nil {
		return 0, wanted(err, errArray)
	}
	r.to(o)
	// No element is shorter than a byte: what promises more is cut off.
	if uint64(n) > uint64(len(o)) {
		return 0, errEnd
	}
	return int(n), nil
}

func (r *Reader) packMap() (int, error) {
	if b := r.rest(); len(b) > 0 && b[0]&0xf0 == 0x80 {
		r.pos++
		return int(b[0] & 0x0f), nil
	}
	n, o, err := msgp.ReadMapHeaderBytes(r.rest())
	if err != nil {
		return 0, wanted(err, errMap)
	}
	r.to(o)
	if uint64(n) > uint64(len(o)) {
		return 0, errEnd
	}
	return int(n), nil
}

// packKey reads a field's name. Short ones, as all known ones are, do without a call.
func (r *Reader) packKey() ([]byte, error) {
	b := r.rest()
	if len(b) > 0 && b[0]&0xe0 == 0xa0 {
		if n := int(b[0]&0x1f) + 1; n > 1 && n <= len(b) {
			r.pos += n
			return b[1:n], nil
		}
	}
	s, o, err := msgp.ReadStringZC(b)
	if err != nil {
		return nil, wanted(err, errString)
	}
	if len(s) == 0 {
		return nil, errors.New(`field "" has no name`)
	}
	r.to(o)
	return s, nil
}

// packText reads a value that is a str or bin.
func (r *Reader) packText() ([]byte, error) {
	b := r.rest()
	if len(b) > 0 && b[0]&0xe0 == 0xa0 {
		if n := int(b[0]&0x1f) + 1; n <= len(b) && ascii(b[1:n]) {
			r.pos += n
			return b[1:n], nil
		}
	}
	if msgp.NextType(b) == msgp.BinType {
		s, o, err := msgp.ReadBytesZC(b)
		if err != nil {
			return nil, wanted(err, errString)
		}
		r.to(o)
		return s, nil
	}
	s, o, err := msgp.ReadStringZC(b)
	if err != nil {
		return nil, wanted(err, errString)
	}
	if !utf8.Valid(s) {
		return nil, errors.New("string is not UTF-8")
	}
	r.to(o)
	return s, nil
}

func ascii(b []byte) bool {
	var or byte
	for _, c := range b {
		or |= c
	}
	return or < utf8.RuneSelf
}

func (r *Reader) packNumber() (float64, error) {
	b := r.rest()
	if len(b) >= 9 && b[0] == 0xcb {
		f := math.Float64frombits(binary.BigEndian.Uint64(b[1:]))
		if !finite(f) {
			return 0, errNumber
		}
		r.pos += 9
		return f, nil
	}
	var f float64
	var o []byte
	var err error
	switch msgp.NextType(b) {
	case msgp.Float64Type:
		f, o, err = msgp.ReadFloat64Bytes(b)
	case msgp.Float32Type:
		var f32 float32
		f32, o, err = msgp.ReadFloat32Bytes(b)
		f = float64(f32)
	case msgp.IntType:
		var i int64
		i, o, err = msgp.ReadInt64Bytes(b)
		f = float64(i)
	case msgp.UintType:
		var u uint64
		u, o, err = msgp.ReadUint64Bytes(b)
		f = float64(u)
	default:
		if len(b) == 0 {
			return 0, errEnd
		}
		return 0, errNumber
	}
	if err != nil || !finite(f) {
		return 0, wanted(err, errNumber)
	}
	r.to(o)
	return f, nil
}

func (r *Reader) packBool() (float64, error) {
	v, o, err := msgp.ReadBoolBytes(r.rest())
	if err != nil {
		return 0, wanted(err, errBool)
	}
	r.to(o)
	if v {
		return 1, nil
	}
	return 0, nil
}

// packSkip moves past any value. msgp.Skip would go 100,000 levels deep.
func (r *Reader) packSkip(depth int) error {
	var n uint64
	switch b := r.rest(); msgp.NextType(b) {
	case msgp.ArrayType:
		c, o, err := msgp.ReadArrayHeaderBytes(b)
		if err != nil {
			return wanted(err, errValue)
		}
		n = uint64(c)
		r.to(o)
	case msgp.MapType:
		c, o, err := msgp.ReadMapHeaderBytes(b)
		if err != nil {
			return wanted(err, errValue)
		}
		n = 2 * uint64(c)
		r.to(o)
	default:
		o, err := msgp.Skip(b)
		if err != nil {
			return wanted(err, errValue)
		}
		r.to(o)
		return nil
	}
	if depth > maxDepth {
		return errDepth
	}
	for ; n > 0; n-- {
		if err := r.packSkip(depth + 1); err != nil {
			return err
		}
	}
	return nil
}

// wanted tells a pack that is cut off from one that has something else.
func wanted(err, want error) error {
	if errors.Is(err, msgp.ErrShortBytes) {
		return errEnd
	}
	return want
}
