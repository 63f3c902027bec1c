package wire

import (
	"encoding/binary"

	"github.com/besterhub/bester/hub"
)

// maxDepth is how deep arrays and maps of data may nest, in both encodings.
const maxDepth = 64

// checkBody checks that a body is a map whose lengths are inside the frame and whose
// nesting is bounded, so that generated code can decode it safely.
func checkBody(body []byte) error {
	if len(body) == 0 {
		return malformed("empty, want a map")
	}
	if c := body[0]; c&0xf0 != 0x80 && c != 0xde && c != 0xdf {
		return malformed("begins with 0x%02x, want a map", c)
	}
	_, err := skipValues(body, 0, 1, 0)
	return err
}

// skipValues skips n MessagePack values from b[i] on and returns where they end. depth
// is the number of arrays and maps around them. It does not check that strings are UTF-8.
// It allocates nothing, and maxDepth bounds its recursion.
func skipValues(b []byte, i int, n uint64, depth int) (int, error) {
	for ; n > 0; n-- {
		if i >= len(b) {
			return i, errTruncated(b, len(b))
		}
		c := b[i]
		if size := fixedSizes[c]; size > 0 {
			i += int(size)
			continue
		}
		var inside uint64 // values in the array or map that begins here
		switch {
		case c <= 0x8f: // fixmap
			inside = 2 * uint64(c&0x0f)
			i++
		case c <= 0x9f: // fixarray
			inside = uint64(c & 0x0f)
			i++
		default:
			h := &formatHeaders[c-0xc0]
			v, next, err := length(b, i, h)
			if err != nil {
				return i, err
			}
			if h.values == 0 {
				if uint64(len(b)-next) < v {
					return i, errTruncated(b, i)
				}
				i = next + int(v)
				continue
			}
			inside, i = v*uint64(h.values), next
		}
		switch {
		case depth >= maxDepth:
			return i, malformed("byte %d: nested deeper than %d levels", i, maxDepth)
		case uint64(len(b)-i) < inside: // a value takes a byte at least
			return i, errTruncated(b, i)
		case n == 1: // the last value: go on with its contents, without recursion
			n = inside + 1
			depth++
			continue
		}
		var err error
		if i, err = skipValues(b, i, inside, depth+1); err != nil {
			return i, err
		}
	}
	if i > len(b) {
		return i, errTruncated(b, len(b))
	}
	return i, nil
}

// length reads the length after the first byte b[i] of a string, array or the like. It
// returns the length and where the bytes or values begin.
func length(b []byte, i int, h *formatHeader) (v uint64, next int, err error) {
	next = i + 1 + int(h.length)
	if next+int(h.extra) > len(b) {
		return 0, i, errTruncated(b, i)
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

// fixedSizes is the total size in bytes of a value by its first byte; 0 if the first byte
// alone does not determine it.
var fixedSizes = func() (fixedSizes [256]uint8) {
	for c := range fixedSizes {
		switch {
		case c <= 0x7f || c >= 0xe0: // fixint
			fixedSizes[c] = 1
		case c >= 0xa0 && c <= 0xbf: // fixstr
			fixedSizes[c] = uint8(1 + c&0x1f)
		}
	}
	copy(fixedSizes[0xc0:], []uint8{
		0x00: 1, 0x02: 1, 0x03: 1, // nil, false, true
		0x0a: 5, 0x0b: 9, // float
		0x0c: 2, 0x0d: 3, 0x0e: 5, 0x0f: 9, // uint
		0x10: 2, 0x11: 3, 0x12: 5, 0x13: 9, // int
		0x14: 3, 0x15: 4, 0x16: 6, 0x17: 10, 0x18: 18, // fixext
	})
	return fixedSizes
}()

// A formatHeader describes the header of the MessagePack formats whose first byte is from
// 0xc0 to 0xdf and which have no fixed size.
type formatHeader struct {
	length uint8 // bytes of the length field after the first byte
	extra  uint8 // bytes between the length field and the contents
	values uint8 // values per unit of length; 0 if the length counts bytes
}

// formatHeaders are indexed by the first byte minus 0xc0.
var formatHeaders = [32]formatHeader{
	0x04: {length: 1}, 0x05: {length: 2}, 0x06: {length: 4}, // bin
	0x07: {length: 1, extra: 1}, 0x08: {length: 2, extra: 1}, 0x09: {length: 4, extra: 1}, // ext
	0x19: {length: 1}, 0x1a: {length: 2}, 0x1b: {length: 4}, // str
	0x1c: {length: 2, values: 1}, 0x1d: {length: 4, values: 1}, // array
	0x1e: {length: 2, values: 2}, 0x1f: {length: 4, values: 2}, // map
}

func errTruncated(b []byte, i int) error {
	return malformed("byte %d: ends inside a value, or claims more than the %d bytes there are", i, len(b))
}

func malformed(format string, args ...any) error { return hub.Reason(ErrMalformed, format, args...) }
