package wire

import (
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"

	"github.com/besterhub/bester/hub"
)

// AppendDisplay appends d as people read it: as JSON where JSON has a form for it, and in
// its own notation what JSON lacks. It never fails. Programs do not parse it: use
// AppendJSON.
//
//	NaN, Infinity      numbers that are not finite
//	h'00ff'            bytes (bin)
//	2026-11-27T12:00:00.5Z  a timestamp
//	ext(5, h'00ff')    another extension
//	{1: "one"}         keys that are no strings, in their own form
//	"\xb0C"            bytes of a string that are not UTF-8
//
// Malformed data is shown as bytes, with what is wrong.
func AppendDisplay(dst []byte, d hub.Data) []byte {
	if d.Encoding != hub.MessagePack {
		return append(dst, d.Bytes...)
	}
	end, err := skipValues(d.Bytes, 0, 1, 0)
	if err == nil && end < len(d.Bytes) {
		err = malformed("byte %d: more bytes after the value", end)
	}
	if err != nil {
		dst = appendHex(dst, d.Bytes)
		return fmt.Appendf(dst, " (%v)", err)
	}
	dst, _ = appendDisplay(dst, d.Bytes)
	return dst
}

// maxDisplayed is how many bytes of bin or malformed data are shown.
const maxDisplayed = 256

func appendHex(dst, b []byte) []byte {
	dst = append(dst, "h'"...)
	dst = hex.AppendEncode(dst, b[:min(len(b), maxDisplayed)])
	if len(b) > maxDisplayed {
		dst = append(dst, "..."...)
	}
	return append(dst, '\'')
}

// appendDisplay appends the first value of b, which skipValues has checked, and returns
// what follows it.
func appendDisplay(dst, b []byte) ([]byte, []byte) {
	switch msgp.NextType(b) {
	case msgp.MapType:
		n, rest, _ := msgp.ReadMapHeaderBytes(b)
		dst = append(dst, '{')
		for i := range n {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst, rest = appendDisplay(dst, rest)
			dst, rest = appendDisplay(append(dst, ':'), rest)
		}
		return append(dst, '}'), rest
	case msgp.ArrayType:
		n, rest, _ := msgp.ReadArrayHeaderBytes(b)
		dst = append(dst, '[')
		for i := range n {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst, rest = appendDisplay(dst, rest)
		}
		return append(dst, ']'), rest
	case msgp.StrType:
		s, rest, _ := msgp.ReadStringZC(b)
		return appendDisplayString(dst, s), rest
	case msgp.BinType:
		v, rest, _ := msgp.ReadBytesZC(b)
		return appendHex(dst, v), rest
	case msgp.Float32Type:
		f, rest, _ := msgp.ReadFloat32Bytes(b)
		return appendDisplayFloat(dst, float64(f), 32), rest
	case msgp.Float64Type:
		f, rest, _ := msgp.ReadFloat64Bytes(b)
		return appendDisplayFloat(dst, f, 64), rest
	case msgp.IntType, msgp.UintType, msgp.BoolType, msgp.NilType:
		u := unpacker{b: b}
		dst, _ = u.value(dst, b)
		return dst, u.rest
	}
	return appendDisplayExtension(dst, b)
}

func appendDisplayFloat(dst []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, "NaN"...)
	case math.IsInf(f, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(f, -1):
		return append(dst, "-Infinity"...)
	}
	return appendFloat(dst, f, bits)
}

// appendDisplayString appends a JSON string, with \xNN for bytes that are not UTF-8.
func appendDisplayString(dst, s []byte) []byte {
	if utf8.Valid(s) {
		return AppendJSONString(dst, msgp.UnsafeString(s))
	}
	dst = append(dst, '"')
	for len(s) > 0 {
		r, n := utf8.DecodeRune(s)
		if r == utf8.RuneError && n == 1 {
			dst = fmt.Appendf(dst, `\x%02x`, s[0])
		} else {
			quoted := AppendJSONString(nil, string(s[:n]))
			dst = append(dst, quoted[1:len(quoted)-1]...)
		}
		s = s[n:]
	}
	return append(dst, '"')
}

func appendDisplayExtension(dst, b []byte) ([]byte, []byte) {
	end, err := skipValues(b, 0, 1, maxDepth)
	if err != nil {
		return append(dst, '?'), nil
	}
	u := unpacker{b: b}
	head := 1
	if b[0] < 0xd4 { // ext 8, 16, 32
		head += 1 << (b[0] - 0xc7)
	}
	if t, ok := readTimestamp(b[head+1 : end]); ok && int8(b[head]) == timestampExtension {
		return t.UTC().AppendFormat(dst, time.RFC3339Nano), b[end:]
	}
	if out, err := u.extension(dst, b); err == nil { // a number
		return out, b[end:]
	}
	dst = append(dst, "ext("...)
	dst = strconv.AppendInt(dst, int64(int8(b[head])), 10)
	return append(appendHex(append(dst, ", "...), b[head+1:end]), ')'), b[end:]
}
