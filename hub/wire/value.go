package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/tinylib/msgp/msgp"
)

// maxDepth is how deep arrays and maps of data may nest, in both encodings.
const maxDepth = 64

// text is a MessagePack string that aliases the frame.
type text []byte

// MarshalMsg appends t as a string.
func (t text) MarshalMsg(b []byte) ([]byte, error) { return msgp.AppendStringFromBytes(b, t), nil }

// UnmarshalMsg points t at the string that b begins with, and returns what follows.
func (t *text) UnmarshalMsg(b []byte) ([]byte, error) {
	v, rest, err := msgp.ReadStringZC(b)
	if err != nil {
		return b, err
	}
	*t = v
	return rest, nil
}

// Msgsize returns the most bytes that MarshalMsg appends.
func (t text) Msgsize() int { return msgp.StringPrefixSize + len(t) }

// raw is any MessagePack value, which it aliases in the frame.
type raw []byte

// MarshalMsg appends r as it is.
func (r raw) MarshalMsg(b []byte) ([]byte, error) { return append(b, r...), nil }

// UnmarshalMsg points r at the value that b begins with, and returns what follows.
func (r *raw) UnmarshalMsg(b []byte) ([]byte, error) {
	n, err := walk(b, 0, 1, 0)
	if err != nil {
		return b, err
	}
	*r = b[:n:n]
	return b[n:], nil
}

// Msgsize returns the bytes that MarshalMsg appends.
func (r raw) Msgsize() int { return len(r) }

// checkBody checks the map that a body is, so that what reads it afterwards finds
// every length inside the frame and no nesting that would cost it its stack. levels
// is how many arrays and maps the body has around its data.
func checkBody(body []byte, levels int) error {
	if len(body) == 0 {
		return malformed("empty, want a map")
	}
	if c := body[0]; c&0xf0 != 0x80 && c != 0xde && c != 0xdf {
		return malformed("begins with 0x%02x, want a map", c)
	}
	_, err := walk(body, 0, 1, -levels)
	return err
}

// walk passes over n MessagePack values from b[i] on and returns where they end.
// depth is the number of arrays and maps around them; their strings may hold
// anything. It takes no memory but its stack, whose depth maxDepth bounds.
func walk(b []byte, i int, n uint64, depth int) (int, error) {
	for ; n > 0; n-- {
		if uint64(len(b)-i) < n { // a value takes a byte at least
			return i, short(b, i)
		}
		c := b[i]
		head, size := 1, uint64(0)        // of the value: its header, and what follows
		inside, nests := uint64(0), false // values that follow, of an array or map
		switch {
		case c <= 0x7f || c >= 0xe0: // fixint
			i++
			continue
		case c <= 0x8f: // fixmap
			inside, nests = 2*uint64(c&0x0f), true
		case c <= 0x9f: // fixarray
			inside, nests = uint64(c&0x0f), true
		case c <= 0xbf: // fixstr
			size = uint64(c & 0x1f)
		case c == 0xc1:
			return i, malformed("byte %d: 0xc1 is no MessagePack", i)
		default:
			h := heads[c-0xc0]
			head = 1 + int(h.length)
			if len(b)-i < head {
				return i, short(b, i)
			}
			var v uint64
			switch h.length {
			case 1:
				v = uint64(b[i+1])
			case 2:
				v = uint64(binary.BigEndian.Uint16(b[i+1:]))
			case 4:
				v = uint64(binary.BigEndian.Uint32(b[i+1:]))
			}
			size = v*uint64(h.bytes) + uint64(h.fixed)
			inside, nests = v*uint64(h.values), h.values > 0
		}
		i += head
		if uint64(len(b)-i) < size {
			return i, short(b, i)
		}
		i += int(size)
		if nests {
			if depth >= maxDepth {
				return i, malformed("byte %d: nested deeper than %d levels", i-head, maxDepth)
			}
			var err error
			if i, err = walk(b, i, inside, depth+1); err != nil {
				return i, err
			}
		}
	}
	return i, nil
}

// heads says what follows the first bytes 0xc0 to 0xdf: an unsigned number of so
// many bytes; then as many bytes or values as it says, times these, and some more.
var heads = [32]struct{ length, bytes, values, fixed uint8 }{
	0xc4 - 0xc0: {1, 1, 0, 0}, 0xc5 - 0xc0: {2, 1, 0, 0}, 0xc6 - 0xc0: {4, 1, 0, 0}, // bin
	0xc7 - 0xc0: {1, 1, 0, 1}, 0xc8 - 0xc0: {2, 1, 0, 1}, 0xc9 - 0xc0: {4, 1, 0, 1}, // ext
	0xca - 0xc0: {fixed: 4}, 0xcb - 0xc0: {fixed: 8}, // float
	0xcc - 0xc0: {fixed: 1}, 0xcd - 0xc0: {fixed: 2}, 0xce - 0xc0: {fixed: 4}, 0xcf - 0xc0: {fixed: 8}, // uint
	0xd0 - 0xc0: {fixed: 1}, 0xd1 - 0xc0: {fixed: 2}, 0xd2 - 0xc0: {fixed: 4}, 0xd3 - 0xc0: {fixed: 8}, // int
	0xd4 - 0xc0: {fixed: 2}, 0xd5 - 0xc0: {fixed: 3}, 0xd6 - 0xc0: {fixed: 5}, 0xd7 - 0xc0: {fixed: 9}, 0xd8 - 0xc0: {fixed: 17}, // fixext
	0xd9 - 0xc0: {1, 1, 0, 0}, 0xda - 0xc0: {2, 1, 0, 0}, 0xdb - 0xc0: {4, 1, 0, 0}, // str
	0xdc - 0xc0: {2, 0, 1, 0}, 0xdd - 0xc0: {4, 0, 1, 0}, // array
	0xde - 0xc0: {2, 0, 2, 0}, 0xdf - 0xc0: {4, 0, 2, 0}, // map
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
