package senml

import (
	"bytes"
	"errors"
	"fmt"
	"math"
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

// fields are the values of one record before the base fields are applied.
type fields struct {
	has       uint16
	name      []byte
	unit      []byte
	number    float64
	time, sum float64
}

// record reads one record and resolves it.
func (r *Reader) record() error {
	var f fields
	r.rec.Text, r.rec.Kind = nil, None
	n, err := r.open()
	if err != nil {
		return err
	}
	r.bodyStart, r.fields = r.pos, n
	if !r.json {
		if err := r.msgpackFields(&f, n); err != nil {
			return err
		}
		return r.resolve(&f)
	}
	for first := true; ; first = false {
		more, err := r.jsonMember(first)
		if err != nil {
			return err
		}
		if !more {
			break
		}
		r.fields++
		if err := r.field(&f); err != nil {
			return err
		}
	}
	return r.resolve(&f)
}

// field reads one field: its key and its value.
func (r *Reader) field(f *fields) error {
	at := r.pos
	key, err := r.key()
	if err != nil {
		return err
	}
	l := label(key)
	if l&f.has != 0 {
		return fmt.Errorf("field %q comes twice", key)
	}
	f.has |= l
	switch l {
	case hasName:
		f.name, err = r.str()
	case hasUnit:
		f.unit, err = r.str()
	case hasNumber:
		f.number, err = r.number()
	case hasBool:
		f.number, err = r.boolean()
	case hasText, hasBlob:
		r.rec.Text, err = r.str()
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
	case hasBaseVersion:
		err = r.version()
	default:
		// RFC 8428, 4.4: a label that ends in "_" must be understood; others are skipped.
		if len(key) > 0 && key[len(key)-1] == '_' {
			return fmt.Errorf("field %.64q must be understood, and is not", key)
		}
		err = r.skip(3)
	}
	if err != nil {
		return fmt.Errorf("field %.64q: %w", key, err)
	}
	// RFC 8428, 12.2: all labels of base fields, also future ones, begin with "b".
	if key[0] == 'b' {
		return r.addBase(key, at, r.pos)
	}
	return nil
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

// version checks bver. RFC 8428's version is 10; RFC 9100 makes it a set of
// features, of which only secondary units (1<<4) are defined. They need no special
// treatment here.
func (r *Reader) version() error {
	v, err := r.number()
	if err != nil {
		return err
	}
	if v != math.Trunc(v) || v < 1 || v > 10 && v != 10|1<<4 {
		return fmt.Errorf("version %v is not understood: want 10 or 26", v)
	}
	return nil
}

// resolve applies the base fields to the record (RFC 8428, 4.6).
func (r *Reader) resolve(f *fields) error {
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
	rec := &r.rec
	rec.Name, rec.Unit = r.name, f.unit
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
	rec.HasSum = f.has&hasSum != 0
	rec.Sum = f.sum + r.baseSum
	if !finite(rec.Number) || !finite(rec.Sum) {
		return errors.New("value and base value together are no finite number")
	}
	if at := r.baseTime + f.time; at >= maxTime || at <= -absoluteFrom || math.Abs(f.time) >= maxTime {
		return fmt.Errorf("time %v: want seconds since 1970, or less than 2^28 seconds from now", at)
	}
	rec.micros = toMicros(r.baseTime) + toMicros(f.time)
	return nil
}
