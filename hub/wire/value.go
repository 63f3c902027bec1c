package wire

import (
	"encoding/binary"
	"fmt"
)

// maxDepth is how deep arrays and maps of data may nest, in both encodings.
const maxDepth = 64

// checkBody checks the map that a body is, so that what reads it afterwards finds
// every length inside the frame and no nesting that would cost it its stack.
func checkBody(body []byte) error {
	if len(body) == 0 {
		return malformed("empty, want a map")
	}
	if c := body[0]; c&0xf0 != 0x80 && c != 0xde && c != 0xdf {
		return malformed("begins with 0x%02x, want a map", c)
	}
	_, err := walk(body, 0, 1, 0)
	return err
}

// walk passes over n MessagePack values from b[i] on and returns where they end.
// depth is the number of arrays and maps around them; their strings may hold
// anything. It takes no memory but its stack, whose depth maxDepth bounds.
func walk(b []byte, i int, n uint64, depth int) (int, error) {
	for ; n > 0; n-- {
		if i >= len(b) || uint64(len(b)-i) < n { // a value takes a byte at least
			return i, short(b, i)
		}
		var inside uint64 // values in the array or map that begins here
		switch c := b[i]; {
		case c <= 0x7f || c >= 0xe0: // fixint
			i++
			continue
		case c >= 0xa0 && c <= 0xbf: // fixstr
			i += 1 + int(c&0x1f)
			if i > len(b) {
				return i, short(b, len(b))
			}
			continue
		case c <= 0x8f: // fixmap
			inside = 2 * uint64(c&0x0f)
			i++
		case c <= 0x9f: // fixarray
			inside = uint64(c & 0x0f)
			i++
		default:
			h := &heads[c-0xc0]
			if h.fixed > 0 {
				i += int(h.fixed)
				if i > len(b) {
					return i, short(b, len(b))
				}
				continue
			}
			v, next, err := length(b, i, h)
			if err != nil {
				return i, err
			}
			if h.values == 0 {
				if uint64(len(b)-next) < v {
					return i, short(b, i)
				}
				i = next + int(v)
				continue
			}
			inside, i = v*uint64(h.values), next
		}
		if depth >= maxDepth {
			return i, malformed("byte %d: nested deeper than %d levels", i, maxDepth)
		}
		var err error
		if i, err = walk(b, i, inside, depth+1); err != nil {
			return i, err
		}
	}
	return i, nil
}

// length reads the unsigned number after the first byte b[i] of a string, array or
// the like, and returns it and where its bytes or values begin.
func length(b []byte, i int, h *head) (v uint64, next int, err error) {
	next = i + 1 + int(h.length)
	if next+int(h.extra) > len(b) {
		return 0, i, short(b, i)
	}
	switch h.length {
	case 1:
		v = uint64(b[i+1])
	case 2:
		v = uint64(binary.BigEndian.Uint16(b[i+1:]))
	case 4:
		v = uint64(binary.BigEndian.Uint32(b[i+1:]))
	default:
		return 0, i, malformed("byte %d: 0xc1 is no MessagePack", i)
	}
	return v, next + int(h.extra), nil
}

// A head says what a value is like that begins with one of the bytes 0xc0 to 0xdf.
type head struct {
	fixed  uint8 // bytes it takes in all; or, if 0:
	length uint8 // bytes of the number after the first byte, which counts
	extra  uint8 // bytes between that and
	values uint8 // values, each time so many; or, if 0, bytes
}

var heads = [32]head{
	0xc0 - 0xc0: {fixed: 1}, 0xc2 - 0xc0: {fixed: 1}, 0xc3 - 0xc0: {fixed: 1}, // nil, false, true
	0xc4 - 0xc0: {length: 1}, 0xc5 - 0xc0: {length: 2}, 0xc6 - 0xc0: {length: 4}, // bin
	0xc7 - 0xc0: {length: 1, extra: 1}, 0xc8 - 0xc0: {length: 2, extra: 1}, 0xc9 - 0xc0: {length: 4, extra: 1}, // ext
	0xca - 0xc0: {fixed: 5}, 0xcb - 0xc0: {fixed: 9}, // float
	0xcc - 0xc0: {fixed: 2}, 0xcd - 0xc0: {fixed: 3}, 0xce - 0xc0: {fixed: 5}, 0xcf - 0xc0: {fixed: 9}, // uint
	0xd0 - 0xc0: {fixed: 2}, 0xd1 - 0xc0: {fixed: 3}, 0xd2 - 0xc0: {fixed: 5}, 0xd3 - 0xc0: {fixed: 9}, // int
	0xd4 - 0xc0: {fixed: 3}, 0xd5 - 0xc0: {fixed: 4}, 0xd6 - 0xc0: {fixed: 6}, 0xd7 - 0xc0: {fixed: 10}, 0xd8 - 0xc0: {fixed: 18}, // fixext
	0xd9 - 0xc0: {length: 1}, 0xda - 0xc0: {length: 2}, 0xdb - 0xc0: {length: 4}, // str
	0xdc - 0xc0: {length: 2, values: 1}, 0xdd - 0xc0: {length: 4, values: 1}, // array
	0xde - 0xc0: {length: 2, values: 2}, 0xdf - 0xc0: {length: 4, values: 2}, // map
}

func short(b []byte, i int) error {
	return malformed("byte %d: ends inside a value, or claims more than the %d bytes there are", i, len(b))
}

// A failure is an error whose text is its own and which is of one or two kinds.
type failure struct {
	text  string
	kinds [2]error
}

func (f *failure) Error() string { return f.text }

func (f *failure) Unwrap() []error {
	if f.kinds[1] == nil {
		return f.kinds[:1]
	}
	return f.kinds[:]
}

func failed(kind error, format string, args ...any) error {
	return &failure{fmt.Sprintf(format, args...), [2]error{kind}}
}

func malformed(format string, args ...any) error { return failed(ErrMalformed, format, args...) }
