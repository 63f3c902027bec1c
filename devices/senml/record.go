package senml

import (
	"bytes"
	"errors"
	"fmt"
	"math"

	"github.com/tinylib/msgp/msgp"
)

// The labels of RFC 8428, table 1. Each is a bit, to detect duplicates in a record.
const (
	hasName = 1 << iota
	hasUnit
	hasNumber
	hasBool
	hasText
	hasBlob
	hasSum
	hasTime
	hasUpdate
	hasBaseName
	hasBaseUnit
	hasBaseTime
	hasBaseValue
	hasBaseSum
	hasBaseVersion
	hasUnknownBase // one that must be understood: see Reader.value

	values = hasNumber | hasBool | hasText | hasBlob
)

func label(key []byte) uint16 {
	switch string(key) {
	case "n":
		return hasName
	case "u":
		return hasUnit
	case "v":
		return hasNumber
	case "vb":
		return hasBool
	case "vs":
		return hasText
	case "vd":
		return hasBlob
	case "s":
		return hasSum
	case "t":
		return hasTime
	case "ut":
		return hasUpdate
	case "bn":
		return hasBaseName
	case "bu":
		return hasBaseUnit
	case "bt":
		return hasBaseTime
	case "bv":
		return hasBaseValue
	case "bs":
		return hasBaseSum
	case "bver":
		return hasBaseVersion
	}
	return 0
}

// baseFields are the labels of base fields that apply to the records after theirs.
const baseFields = hasBaseName | hasBaseUnit | hasBaseTime | hasBaseValue | hasBaseSum | hasBaseVersion

// fields are the values of one record before the base fields are applied.
type fields struct {
	has       uint16
	err       error // why the record is invalid, if it is; its other fields are read all the same
	name      []byte
	unit      []byte
	number    float64
	time, sum float64
}

// record reads one record and resolves it. invalid says what is wrong with this record
// alone; after err nothing more can be read.
func (r *Reader) record() (invalid, err error) {
	var f fields
	r.rec.Name, r.rec.Text, r.rec.Kind, r.rec.HasSum = nil, nil, None, false
	start := r.pos
	n, err := r.open()
	r.bodyStart, r.fields, r.noMap, r.baseOnly = r.pos, n, false, false
	if err != nil {
		r.pos = start
		if r.skip(2) != nil {
			return nil, err
		}
		r.bodyStart, r.noMap = start, true
		return err, nil
	}
	if r.json {
		err = r.jsonFields(&f)
	} else {
		err = r.msgpackFields(&f, n)
	}
	if err != nil {
		return nil, err
	}
	r.baseOnly = f.has&baseFields == f.has && f.err == nil && !r.hasValue && !r.hasSum
	if f.err != nil {
		if err := r.resolveName(&f); err == nil {
			r.rec.Name = r.name
		}
		return f.err, nil
	}
	return r.resolve(&f), nil
}

func (r *Reader) jsonFields(f *fields) error {
	for first := true; ; first = false {
		more, err := r.jsonMember(first)
		if err != nil || !more {
			return err
		}
		r.fields++
		if err := r.field(f); err != nil {
			return err
		}
	}
}

// field reads one field: its key and its value. What is wrong with the value makes the
// record invalid (fields.err) and is skipped. An error means that nothing more can be read.
func (r *Reader) field(f *fields) error {
	at := r.pos
	key, err := r.key()
	if err != nil {
		return r.skipField(f, at, err)
	}
	l := label(key)
	from := r.pos
	err = r.value(f, l, key)
	if l&baseFields != 0 {
		r.invalidBases &^= l
		if err != nil {
			r.invalidBases |= l
		}
	}
	if err != nil {
		err = fmt.Errorf("field %.64q: %w", key, err)
		r.pos = from
		if r.skip(3) != nil {
			return err
		}
		if f.err == nil {
			f.err = err
		}
	}
	f.has |= l
	// RFC 8428, 12.2: all labels of base fields, also future ones, begin with "b".
	if key[0] == 'b' {
		return r.addBase(key, at, r.pos)
	}
	return nil
}

// skipField skips a field whose key, at that offset, is no label.
func (r *Reader) skipField(f *fields, at int, reason error) error {
	r.pos = at
	if r.skip(3) != nil || r.json && r.expect(':') != nil || r.skip(3) != nil {
		return reason
	}
	if f.err == nil {
		f.err = reason
	}
	return nil
}

// value reads the value of a field.
func (r *Reader) value(f *fields, l uint16, key []byte) (err error) {
	if l&f.has != 0 {
		return errTwice
	}
	switch l {
	case hasName:
		f.name, err = r.str()
	case hasUnit:
		f.unit, err = r.str()
	case hasNumber:
		f.number, err = r.number()
	case hasBool:
		f.number, err = r.boolean()
	case hasText:
		r.rec.Text, err = r.str()
	case hasBlob:
		r.rec.Text, err = r.blob()
	case hasSum:
		f.sum, err = r.number()
	case hasTime:
		f.time, err = r.number()
	case hasUpdate:
		_, err = r.number()
	case hasBaseName:
		var name []byte
		if name, err = r.str(); err == nil {
			r.setBaseName(name)
		}
	case hasBaseUnit:
		r.baseUnit, err = r.str()
	case hasBaseTime:
		r.baseTime, err = r.number()
	case hasBaseValue:
		r.baseValue, err = r.number()
		r.hasValue = true
	case hasBaseSum:
		r.baseSum, err = r.number()
		r.hasSum = true
	case hasBaseVersion:
		err = r.version()
	default:
		// RFC 8428, 4.4: a label that ends in "_" must be understood; others are skipped. A
		// base field of that kind may change the meaning of all records after it.
		if key[len(key)-1] == '_' {
			if key[0] == 'b' {
				r.invalidBases |= hasUnknownBase
			}
			return errors.New("must be understood, and is not")
		}
		err = r.skip(3)
	}
	return err
}

// blob reads the value of vd: base64url without padding (RFC 8428, 4.3), or bin.
func (r *Reader) blob() ([]byte, error) {
	bin := !r.json && msgp.NextType(r.rest()) == msgp.BinType
	text, err := r.str()
	if err != nil || bin {
		return text, err
	}
	for _, c := range text {
		if nameBytes[c] == 0 || c == ':' || c == '.' || c == '/' {
			return nil, fmt.Errorf("%.40q is no base64url: want letters, digits, - and _ without padding", text)
		}
	}
	if len(text)%4 == 1 {
		return nil, fmt.Errorf("%.40q is no base64url: no bytes have %d characters", text, len(text))
	}
	return text, nil
}

// setBaseName stores the base name. The last pack's base name is still in r.name; if this
// one is the same, as is usual, it is not checked again.
func (r *Reader) setBaseName(s []byte) {
	if len(s) == r.checkedBase && bytes.Equal(s, r.name[:r.checkedBase]) {
		r.baseName, r.invalidBase = len(s), false
		return
	}
	r.checkedBase = 0
	if len(s) > MaxName { // resolve refuses it
		r.baseName, r.invalidBase = len(s), true
		return
	}
	r.name = append(r.name[:0], s...)
	r.baseName, r.invalidBase = len(s), !checkName(s)
	if !r.invalidBase {
		r.checkedBase = len(s)
	}
}

// defaultVersion is that of a pack without bver (RFC 8428, 4.1).
const defaultVersion = 10

// version checks bver. RFC 8428's version is 10; RFC 9100 makes it a set of
// features, of which only secondary units (1<<4) are defined. They need no special
// treatment here. All records of a pack have the same version (RFC 8428, 4.4).
func (r *Reader) version() error {
	v, err := r.number()
	switch {
	case err != nil:
		return err
	case v != math.Trunc(v) || v < 1 || v > 10 && v != 10|1<<4:
		return fmt.Errorf("version %v is not understood: want 10 or 26", v)
	case r.baseVersion == 0 && r.records > 0:
		r.baseVersion = defaultVersion
	}
	if r.baseVersion != 0 && r.baseVersion != v {
		return fmt.Errorf("version %v in a pack of version %v: want one in all records", v, r.baseVersion)
	}
	r.baseVersion = v
	return nil
}

// resolveName joins base name and name (RFC 8428, 4.5.1).
func (r *Reader) resolveName(f *fields) error {
	if r.invalidBases&hasBaseName != 0 {
		return errBaseName
	}
	if r.baseName+len(f.name) > MaxName {
		return fmt.Errorf("name of %d bytes, at most %d are allowed", r.baseName+len(f.name), MaxName)
	}
	if r.baseName == 0 && len(f.name) == 0 {
		return errors.New("no name: want n, or bn before it")
	}
	if r.baseName == 0 {
		r.checkedBase = 0 // overwritten
	}
	r.name = append(r.name[:r.baseName], f.name...)
	if r.invalidBase || nameBytes[r.name[0]] != 2 || !checkName(f.name) {
		return fmt.Errorf("name %q: want letters, digits and - : . / _ with a letter or digit first", r.name)
	}
	return nil
}

var (
	errBaseName = errors.New("the base name that applies to it is invalid")
	errBase     = errors.New("a base field that applies to it is invalid")
	errTwice    = errors.New("comes twice")
	errNoValue  = errors.New("no value: want one of v, vs, vb, vd, or s")
)

// resolve applies the base fields to the record (RFC 8428, 4.6).
func (r *Reader) resolve(f *fields) error {
	if err := r.resolveName(f); err != nil {
		return err
	}
	rec := &r.rec
	rec.Name, rec.Unit = r.name, f.unit
	if r.invalidBases != 0 {
		return errBase
	}
	if f.has&hasUnit == 0 {
		rec.Unit = r.baseUnit
	}

	rec.Number = f.number
	switch f.has & values {
	case hasNumber:
		rec.Kind, rec.Number = Number, f.number+r.baseValue
	case hasBool:
		rec.Kind = Bool
	case hasText:
		rec.Kind = Text
	case hasBlob:
		rec.Kind = Blob
	case 0: // "the missing field is considered to have a value of zero"
		if r.hasValue && f.has&hasSum == 0 {
			rec.Kind, rec.Number = Number, r.baseValue
		}
	default:
		return errors.New("more than one value: want one of v, vs, vb, vd")
	}
	// RFC 8428, 4.1: of base sum and sum, a missing one counts as zero.
	rec.HasSum = f.has&hasSum != 0 || r.hasSum
	rec.Sum = f.sum + r.baseSum
	if rec.Kind == None && !rec.HasSum {
		return errNoValue
	}
	if !finite(rec.Number) || !finite(rec.Sum) {
		return errors.New("value and base value together are no finite number")
	}
	if at := r.baseTime + f.time; at >= maxTime || at <= -absoluteFrom || math.Abs(f.time) >= maxTime {
		return fmt.Errorf("time %v: want seconds since 1970, or less than 2^28 seconds from now", at)
	}
	rec.micros = toMicros(r.baseTime) + toMicros(f.time)
	return nil
}
