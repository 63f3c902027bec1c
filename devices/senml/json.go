package senml

import (
	"errors"
	"fmt"
	"strconv"
)

// This file reads strict JSON (RFC 8259): no trailing commas, no comments, no numbers
// beyond a float64, strings in UTF-8.

var (
	errTruncated = errors.New("ends too early")
	errNumber    = errors.New("want a number")
	errString    = errors.New("want a string")
	errBool      = errors.New("want true or false")
	errDepth     = fmt.Errorf("nested deeper than %d levels", maxDepth)
)

func (r *Reader) skipSpace() {
	for r.pos < len(r.b) {
		switch r.b[r.pos] {
		case ' ', '\t', '\n', '\r':
			r.pos++
		default:
			return
		}
	}
}

// peek skips space and returns the next byte, or 0 at the end.
func (r *Reader) peek() byte {
	r.skipSpace()
	if r.pos < len(r.b) {
		return r.b[r.pos]
	}
	return 0
}

// expect reads c.
func (r *Reader) expect(c byte) error {
	if got := r.peek(); got != c || r.pos == len(r.b) {
		return r.unexpected(c)
	}
	r.pos++
	return nil
}

func (r *Reader) unexpected(want byte) error {
	if r.pos >= len(r.b) {
		return errTruncated
	}
	return fmt.Errorf("byte %d: want %q, not %q", r.pos, want, r.b[r.pos])
}

// jsonElement moves past the array's bracket or comma to the next record.
func (r *Reader) jsonElement(first bool) (bool, error) {
	if first {
		if err := r.expect('['); err != nil {
			return false, err
		}
	}
	if r.peek() == ']' {
		r.pos++
		if r.peek(); r.pos != len(r.b) {
			return false, fmt.Errorf("%d bytes after the end of the pack", len(r.b)-r.pos)
		}
		return false, nil
	}
	if !first {
		if err := r.expect(','); err != nil {
			return false, err
		}
	}
	r.skipSpace()
	return true, nil
}

func (r *Reader) jsonOpen() error { return r.expect('{') }

func (r *Reader) jsonMember(first bool) (bool, error) {
	if r.peek() == '}' {
		r.pos++
		return false, nil
	}
	if !first {
		if err := r.expect(','); err != nil {
			return false, err
		}
		r.skipSpace()
	}
	return true, nil
}

func (r *Reader) jsonKey() ([]byte, error) {
	key, err := r.jsonString()
	if err != nil {
		return nil, fmt.Errorf("field name: %w", err)
	}
	if len(key) == 0 {
		return nil, errors.New(`field "" has no name`)
	}
	return key, r.expect(':')
}

// jsonNumber reads a number. One that a float64 cannot hold is an error, not infinity.
func (r *Reader) jsonNumber() (float64, error) {
	r.skipSpace()
	start := r.pos
	if !r.jsonSkipNumber() {
		r.pos = start
		return 0, errNumber
	}
	f, err := strconv.ParseFloat(string(r.b[start:r.pos]), 64)
	if err != nil {
		return 0, errors.New("number is too large")
	}
	return f, nil
}

// jsonSkipNumber moves past a number. RFC 8259's grammar is stricter than strconv's.
func (r *Reader) jsonSkipNumber() bool {
	b, i := r.b, r.pos
	digits := func() bool {
		from := i
		for i < len(b) && b[i] >= '0' && b[i] <= '9' {
			i++
		}
		return i > from
	}
	if i < len(b) && b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if !digits() {
		return false
	}
	if i < len(b) && b[i] == '.' {
		i++
		if !digits() {
			return false
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if !digits() {
			return false
		}
	}
	r.pos = i
	return true
}

func (r *Reader) literal(w string) bool {
	if len(r.b)-r.pos >= len(w) && string(r.b[r.pos:r.pos+len(w)]) == w {
		r.pos += len(w)
		return true
	}
	return false
}

func (r *Reader) jsonBool() (float64, error) {
	r.skipSpace()
	switch {
	case r.literal("true"):
		return 1, nil
	case r.literal("false"):
		return 0, nil
	}
	return 0, errBool
}

// jsonSkip moves past any value.
func (r *Reader) jsonSkip(depth int) error {
	c := r.peek()
	var err error
	switch {
	case r.pos == len(r.b):
		return errTruncated
	case c == '"':
		from := len(r.text)
		_, err = r.jsonString()
		r.text = r.text[:from]
		return err
	case c == '{' || c == '[':
		if depth > maxDepth {
			return errDepth
		}
		return r.jsonNested(c, depth)
	case r.literal("true"), r.literal("false"), r.literal("null"), r.jsonSkipNumber():
		return nil
	}
	return fmt.Errorf("byte %d: want a value, not %q", r.pos, c)
}

func (r *Reader) jsonNested(open byte, depth int) error {
	end := open + 2 // ASCII: [ \ ] and { | }
	r.pos++
	if r.peek() == end {
		r.pos++
		return nil
	}
	for {
		if open == '{' {
			r.skipSpace()
			from := len(r.text)
			if _, err := r.jsonString(); err != nil {
				return err
			}
			r.text = r.text[:from]
			if err := r.expect(':'); err != nil {
				return err
			}
		}
		if err := r.jsonSkip(depth + 1); err != nil {
			return err
		}
		if r.peek() == end {
			r.pos++
			return nil
		}
		if err := r.expect(','); err != nil {
			return err
		}
	}
}
