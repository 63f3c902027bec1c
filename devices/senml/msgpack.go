package senml

import (
	"encoding/binary"
	"errors"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"
)

// This file reads MessagePack: an array of maps with RFC 8428's JSON labels. A vd is
// base64url text as in JSON, or bin.

var (
	errArray = errors.New("want an array of records")
	errMap   = errors.New("want a map of fields")
	errValue = errors.New("want a value")
)

// rest returns the bytes that have not been read.
func (r *Reader) rest() []byte { return r.b[r.pos:] }

// advanceTo moves to the beginning of o, which is a suffix of the pack.
func (r *Reader) advanceTo(o []byte) { r.pos = len(r.b) - len(o) }

func (r *Reader) msgpackArray() (int, error) {
	if len(r.b) > 0 && r.b[0]&0xf0 == 0x90 {
		r.pos = 1
		return int(r.b[0] & 0x0f), nil
	}
	n, o, err := msgp.ReadArrayHeaderBytes(r.b)
	if err != nil {
		return 0, decodeError(err, errArray)
	}
	r.advanceTo(o)
	// An element has at least one byte, so an array with more elements than bytes is truncated.
	if uint64(n) > uint64(len(o)) {
		return 0, errTruncated
	}
	return int(n), nil
}

func (r *Reader) msgpackMap() (int, error) {
	if b := r.rest(); len(b) > 0 && b[0]&0xf0 == 0x80 {
		r.pos++
		return int(b[0] & 0x0f), nil
	}
	n, o, err := msgp.ReadMapHeaderBytes(r.rest())
	if err != nil {
		return 0, decodeError(err, errMap)
	}
	r.advanceTo(o)
	if uint64(n) > uint64(len(o)) {
		return 0, errTruncated
	}
	return int(n), nil
}

// msgpackFields reads the n fields of a record. msgpackCommon is the fast path for common
// fields in their shortest forms; field reads all others.
func (r *Reader) msgpackFields(f *fields, n int) error {
	for ; n > 0; n-- {
		if r.msgpackCommon(f) {
			continue
		}
		if err := r.field(f); err != nil {
			return err
		}
	}
	return nil
}

// msgpackCommon reads one field if it is one of n, u, v, t, bn and bt and its value is a
// short string, a float or an integer as Pack writes them. Otherwise it reads nothing and
// returns false.
func (r *Reader) msgpackCommon(f *fields) bool {
	b := r.rest()
	if len(b) < 4 {
		return false
	}
	var l uint16
	key := b[1:2]
	switch {
	case b[0] == 0xa1:
		l = label(key)
		b = b[2:]
	case b[0] == 0xa2 && b[1] == 'b':
		key = b[1:3]
		l = label(key)
		b = b[3:]
	}
	if l == 0 || l&f.has != 0 {
		return false
	}
	var n int
	switch l {
	case hasName, hasUnit, hasBaseName:
		n = 1 + int(b[0]&0x1f)
		if b[0]&0xe0 != 0xa0 || n > len(b) {
			return false
		}
		switch v := b[1:n]; {
		case l == hasName:
			f.name = v
		case l == hasBaseName:
			r.setBaseName(v)
		case ascii(v):
			f.unit = v
		default:
			return false
		}
	case hasNumber, hasTime, hasBaseTime:
		var v float64
		switch {
		case b[0] == 0xcb && len(b) >= 9: // float 64
			v, n = math.Float64frombits(binary.BigEndian.Uint64(b[1:])), 9
		case b[0] < 0x80: // positive fixint
			v, n = float64(b[0]), 1
		case b[0] == 0xca && len(b) >= 5: // float 32
			v, n = fromFloat32(math.Float32frombits(binary.BigEndian.Uint32(b[1:]))), 5
		case b[0] == 0xd2 && len(b) >= 5: // int 32
			v, n = float64(int32(binary.BigEndian.Uint32(b[1:]))), 5
		default:
			return false
		}
		switch {
		case !finite(v):
			return false
		case l == hasNumber:
			f.number = v
		case l == hasTime:
			f.time = v
		default:
			r.baseTime = v
		}
	default:
		return false
	}
	f.has |= l
	r.invalidBases &^= l
	from := r.pos
	r.pos = len(r.b) - len(b) + n
	if len(key) == 2 && r.addBase(key, from, r.pos) != nil {
		f.has &^= l
		r.pos = from // field reads it again and returns the error
		return false
	}
	return true
}

// msgpackKey reads a field's name. A fast path reads short names, as all known ones are.
func (r *Reader) msgpackKey() ([]byte, error) {
	b := r.rest()
	if len(b) > 0 && b[0]&0xe0 == 0xa0 {
		if n := int(b[0]&0x1f) + 1; n > 1 && n <= len(b) {
			r.pos += n
			return b[1:n], nil
		}
	}
	s, o, err := msgp.ReadStringZC(b)
	if err != nil {
		return nil, decodeError(err, errString)
	}
	if len(s) == 0 {
		return nil, errors.New(`field "" has no name`)
	}
	r.advanceTo(o)
	return s, nil
}

// msgpackText reads a value that is a str or bin.
func (r *Reader) msgpackText() ([]byte, error) {
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
			return nil, decodeError(err, errString)
		}
		r.advanceTo(o)
		return s, nil
	}
	s, o, err := msgp.ReadStringZC(b)
	if err != nil {
		return nil, decodeError(err, errString)
	}
	if !utf8.Valid(s) {
		return nil, errors.New("string is not UTF-8")
	}
	r.advanceTo(o)
	return s, nil
}

func ascii(b []byte) bool {
	var or byte
	for _, c := range b {
		or |= c
	}
	return or < utf8.RuneSelf
}

func (r *Reader) msgpackNumber() (float64, error) {
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
		f = fromFloat32(f32)
	case msgp.IntType:
		var i int64
		i, o, err = msgp.ReadInt64Bytes(b)
		f = float64(i)
	case msgp.UintType:
		var u uint64
		u, o, err = msgp.ReadUint64Bytes(b)
		f = float64(u)
	case msgp.ExtensionType:
		return r.msgpackNumberText()
	default:
		if len(b) == 0 {
			return 0, errTruncated
		}
		return 0, errNumber
	}
	if err != nil || !finite(f) {
		return 0, decodeError(err, errNumber)
	}
	r.advanceTo(o)
	return f, nil
}

// fromFloat32 returns the float64 next to the shortest decimal that reads back as f.
func fromFloat32(f float32) float64 {
	if !finite(float64(f)) {
		return float64(f)
	}
	var b [32]byte
	v, err := strconv.ParseFloat(msgp.UnsafeString(strconv.AppendFloat(b[:0], float64(f), 'g', -1, 32)), 64)
	if err != nil {
		return float64(f)
	}
	return v
}

// numberExtension is the type of the extension in which hub/wire has a number as JSON
// text, where no float holds it exactly.
const numberExtension = 78 // 'N'

// msgpackNumberText reads a number in that extension. The nearest float64 is taken.
func (r *Reader) msgpackNumberText() (float64, error) {
	b := r.rest()
	o, err := msgp.Skip(b)
	if err != nil {
		return 0, decodeError(err, errNumber)
	}
	head := 2
	if b[0] >= 0xc7 && b[0] <= 0xc9 { // ext 8, 16, 32
		head += 1 << (b[0] - 0xc7)
	}
	ext := b[:len(b)-len(o)]
	if len(ext) < head || ext[head-1] != numberExtension {
		return 0, errNumber
	}
	text := Reader{b: ext[head:], json: true}
	f, err := text.jsonNumber()
	if err != nil || text.pos != len(text.b) {
		return 0, errNumber
	}
	r.advanceTo(o)
	return f, nil
}

func (r *Reader) msgpackBool() (float64, error) {
	v, o, err := msgp.ReadBoolBytes(r.rest())
	if err != nil {
		return 0, decodeError(err, errBool)
	}
	r.advanceTo(o)
	if v {
		return 1, nil
	}
	return 0, nil
}

// msgpackSkip moves past any value. msgp.Skip would go 100,000 levels deep.
func (r *Reader) msgpackSkip(depth int) error {
	var n uint64
	switch b := r.rest(); msgp.NextType(b) {
	case msgp.ArrayType:
		c, o, err := msgp.ReadArrayHeaderBytes(b)
		if err != nil {
			return decodeError(err, errValue)
		}
		n = uint64(c)
		r.advanceTo(o)
	case msgp.MapType:
		c, o, err := msgp.ReadMapHeaderBytes(b)
		if err != nil {
			return decodeError(err, errValue)
		}
		n = 2 * uint64(c)
		r.advanceTo(o)
	default:
		o, err := msgp.Skip(b)
		if err != nil {
			return decodeError(err, errValue)
		}
		r.advanceTo(o)
		return nil
	}
	if depth > maxDepth {
		return errDepth
	}
	for ; n > 0; n-- {
		if err := r.msgpackSkip(depth + 1); err != nil {
			return err
		}
	}
	return nil
}

// decodeError returns errTruncated if the pack is truncated, else want.
func decodeError(err, want error) error {
	if errors.Is(err, msgp.ErrShortBytes) {
		return errTruncated
	}
	return want
}
