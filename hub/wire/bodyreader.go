package wire

import (
	"encoding/binary"

	"github.com/tinylib/msgp/msgp"
)

// A bodyReader reads the fields of the maps in the frequent bodies: messages and answers.
// It does what msgp's generated code would, in one pass that checks every length and the
// nesting. The generated code trusts both, so it needs a separate check first. The first
// error sticks, and all reads after it return nothing.
type bodyReader struct {
	b   []byte
	i   int
	err error
}

// header reads the header of a map (first is 0x80) or an array (0x90) and returns the
// number of entries. An entry takes at least one byte, so a number that exceeds the length
// of the body is refused.
func (r *bodyReader) header(first byte) int {
	if r.err != nil || r.i >= len(r.b) {
		r.fail(r.i, "ends too early")
		return 0
	}
	c := r.b[r.i]
	if c&0xf0 == first {
		r.i++
		return int(c & 0x0f)
	}
	long := byte(0xde)
	if first == 0x90 {
		long = 0xdc
	}
	if c&^1 != long {
		if first == 0x90 {
			r.fail(r.i, "want a list")
		} else {
			r.fail(r.i, "want a map")
		}
		return 0
	}
	n, next, err := length(r.b, r.i, &formatHeaders[c-0xc0])
	if err != nil || n > uint64(len(r.b)) {
		r.fail(r.i, "ends too early")
		return 0
	}
	r.i = next
	return int(n)
}

// key reads a key of one byte. It returns 0 for any other key; no field has that name.
func (r *bodyReader) key() byte {
	if i := r.i; i+1 < len(r.b) && r.b[i] == 0xa1 && r.err == nil {
		r.i += 2
		return r.b[i+1]
	}
	if k := r.text(); len(k) == 1 {
		return k[0]
	}
	return 0
}

// text reads a string. The result aliases the body and is nil only after an error.
func (r *bodyReader) text() []byte {
	i := r.i
	if r.err != nil || i >= len(r.b) {
		r.fail(i, "ends too early")
		return nil
	}
	c := r.b[i]
	if c&0xe0 == 0xa0 {
		end := i + 1 + int(c&0x1f)
		if end <= len(r.b) {
			r.i = end
			return r.b[i+1 : end : end]
		}
	} else if c >= 0xd9 && c <= 0xdb {
		n, next, err := length(r.b, i, &formatHeaders[c-0xc0])
		if err == nil && n <= uint64(len(r.b)-next) {
			r.i = next + int(n)
			return r.b[next:r.i:r.i]
		}
	} else {
		r.fail(i, "want a string")
		return nil
	}
	r.fail(i, "ends too early")
	return nil
}

// skipValue skips a value of any kind and returns it. The result aliases the body.
func (r *bodyReader) skipValue() []byte {
	if r.err != nil {
		return nil
	}
	start := r.i
	end, err := skipValues(r.b, start, 1, 0)
	if err != nil {
		r.err = err
		return nil
	}
	r.i = end
	return r.b[start:end:end]
}

// boolean reads true or false.
func (r *bodyReader) boolean() bool {
	switch {
	case r.err != nil:
	case r.i >= len(r.b):
		r.fail(r.i, "ends too early")
	case r.b[r.i]&^1 != 0xc2:
		r.fail(r.i, "want true or false")
	default:
		r.i++
		return r.b[r.i-1] == 0xc3
	}
	return false
}

// unsigned reads an integer from 0 to max.
func (r *bodyReader) unsigned(max uint64) uint64 {
	if r.err != nil {
		return 0
	}
	i := r.i
	if i < len(r.b) && r.b[i] <= 0x7f {
		r.i++
		return uint64(r.b[i])
	}
	n, rest, err := msgp.ReadUint64Bytes(r.b[i:])
	if err != nil || n > max {
		r.fail(i, "want a number that is not negative and not too large")
		return 0
	}
	r.i = len(r.b) - len(rest)
	return n
}

// signed reads an integer.
func (r *bodyReader) signed() int64 {
	if r.err != nil {
		return 0
	}
	if i := r.i; len(r.b)-i > 8 && r.b[i] == 0xd3 {
		r.i += 9
		return int64(binary.BigEndian.Uint64(r.b[i+1:]))
	}
	n, rest, err := msgp.ReadInt64Bytes(r.b[r.i:])
	if err != nil {
		r.fail(r.i, "want an integer of 64 bits")
		return 0
	}
	r.i = len(r.b) - len(rest)
	return n
}

func (r *bodyReader) fail(i int, what string) {
	if r.err == nil {
		r.err = malformed("byte %d: %s", i, what)
	}
}

// fieldError returns the error of a body whose field key could not be read: r's own error,
// or else err.
func (r *bodyReader) fieldError(what string, key byte, err error) error {
	if r.err != nil { // it is the cause of err
		err = r.err
	}
	if key == 0 {
		return malformed("%s: %v", what, err)
	}
	return malformed("%s: %q: %v", what, string(rune(key)), err)
}
