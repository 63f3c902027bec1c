package wire

import (
	"bytes"
	"math"
	"strconv"

	"github.com/tinylib/msgp/msgp"
)

// numberExtension is the type of the MessagePack extension that holds a number as JSON
// text, if neither a 64-bit integer nor a float can hold it without loss.
const numberExtension = 78 // 'N'

// packNumber appends a JSON number: as an integer if it has neither fraction nor exponent,
// otherwise as a float.
func packNumber(dst, text []byte) []byte {
	if bytes.ContainsAny(text, ".eE") {
		if f, err := strconv.ParseFloat(msgp.UnsafeString(text), 64); err == nil && isLossless(f, text) {
			return msgp.AppendFloat64(dst, f)
		}
		return packNumberText(dst, text)
	}
	digits := bytes.TrimPrefix(text, []byte("-"))
	negative := len(digits) < len(text)
	n, ok := uint64(0), len(digits) <= 20
	for _, c := range digits {
		d := uint64(c - '0')
		if n > (math.MaxUint64-d)/10 {
			ok = false
			break
		}
		n = n*10 + d
	}
	switch {
	case !ok, negative && n > 1<<63:
		return packNumberText(dst, text)
	case negative && n == 0:
		return msgp.AppendFloat64(dst, math.Copysign(0, -1)) // no integer is -0
	case negative:
		return msgp.AppendInt64(dst, int64(-n))
	}
	return msgp.AppendUint64(dst, n)
}

// packNumberText appends a number as its text, in an extension.
func packNumberText(dst, text []byte) []byte {
	n := len(text)
	switch {
	case n == 1 || n == 2 || n == 4 || n == 8 || n == 16:
		head := byte(0xd4)
		for m := n; m > 1; m >>= 1 {
			head++
		}
		dst = append(dst, head)
	case n < 1<<8:
		dst = append(dst, 0xc7, byte(n))
	case n < 1<<16:
		dst = append(dst, 0xc8, byte(n>>8), byte(n))
	default:
		dst = append(dst, 0xc9, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return append(append(dst, numberExtension), text...)
}

// isLossless reports whether f holds the number in text without loss: the shortest text
// that parses as f is the same number.
func isLossless(f float64, text []byte) bool {
	if len(text) <= 16 && !bytes.ContainsAny(text, "eE") {
		return true // 15 digits always survive, and with the point there are no more
	}
	var buf [32]byte
	short := strconv.AppendFloat(buf[:0], f, 'e', -1, 64)
	a, b := parseDecimal(short), parseDecimal(text)
	return a == b
}

// A decimal is a number as at most 18 significant digits, without trailing zeros, and the
// power of ten of the first one. more says that there are more digits; no float needs them.
type decimal struct {
	digits   [18]byte
	n        int
	exponent int
	more     bool
}

func parseDecimal(text []byte) (d decimal) {
	point, zeros := 0, 0
	i := 0
	fraction := false
mantissa:
	for ; i < len(text); i++ {
		switch c := text[i]; {
		case c == '-':
			continue
		case c == '.':
			fraction = true
			continue
		case c == 'e' || c == 'E':
			break mantissa
		case c == '0' && d.n == 0:
			if fraction {
				point--
			}
			continue
		case c == '0':
			zeros++
		default:
			for ; zeros > 0; zeros-- {
				d.add('0')
			}
			d.add(c)
		}
		if !fraction {
			point++
		}
	}
	if d.n == 0 {
		return decimal{}
	}
	e, negative := 0, false
	for ; i < len(text); i++ {
		switch c := text[i]; {
		case c == '-':
			negative = true
		case '0' <= c && c <= '9' && e < 1<<24:
			e = e*10 + int(c-'0')
		}
	}
	if negative {
		e = -e
	}
	d.exponent = point + e
	return d
}

func (d *decimal) add(c byte) {
	if d.n == len(d.digits) {
		d.more = true
		return
	}
	d.digits[d.n] = c
	d.n++
}

// integer appends an integer.
func (u *unpacker) integer(dst, b []byte) ([]byte, error) {
	if msgp.NextType(b) == msgp.UintType {
		v, rest, err := msgp.ReadUint64Bytes(b)
		u.rest = rest
		return strconv.AppendUint(dst, v, 10), err
	}
	v, rest, err := msgp.ReadInt64Bytes(b)
	u.rest = rest
	return strconv.AppendInt(dst, v, 10), err
}

// appendFloat appends the shortest text that reads back as f, in a form that no
// integer has: with a point, or, for very large and small ones, an exponent.
func appendFloat(dst []byte, f float64, bits int) []byte {
	a := math.Abs(f)
	small, large := a < 1e-6, a >= 1e21
	if bits == 32 { // compare at the precision of f
		small, large = float32(a) < 1e-6, float32(a) >= 1e21
	}
	if a != 0 && (small || large) {
		start := len(dst)
		dst = strconv.AppendFloat(dst, f, 'e', -1, bits)
		// "1e+21" and "1e-07" are shorter as "1e21" and "1e-7".
		e := start + bytes.IndexByte(dst[start:], 'e') + 1
		end := e
		if dst[e] == '-' {
			end++
		}
		exponent := bytes.TrimLeft(dst[e+1:], "0")
		return append(dst[:end], exponent...)
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, 'f', -1, bits)
	if bytes.IndexByte(dst[start:], '.') < 0 {
		dst = append(dst, ".0"...)
	}
	return dst
}
