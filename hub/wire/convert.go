package wire

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/tinylib/msgp/msgp"

	"github.com/besterhub/bester/hub"
)

// AppendMessagePack appends d in MessagePack: unchanged, or converted by ToMessagePack.
func AppendMessagePack(dst []byte, d hub.Data) ([]byte, error) {
	if d.Encoding != hub.MessagePack {
		return ToMessagePack(dst, d.Bytes)
	}
	if len(d.Bytes) == 0 {
		return dst, noData()
	}
	return append(dst, d.Bytes...), nil
}

// AppendJSON appends d in JSON: unchanged, or converted by ToJSON.
func AppendJSON(dst []byte, d hub.Data) ([]byte, error) {
	if d.Encoding == hub.MessagePack {
		return ToJSON(dst, d.Bytes)
	}
	if len(d.Bytes) == 0 {
		return dst, noData()
	}
	return append(dst, d.Bytes...), nil
}

func noData() error { return hub.Reason(hub.ErrEncoding, "no data, want one value") }

// ToMessagePack converts a JSON value to MessagePack, as the package comment describes,
// and appends it to dst. An error wraps hub.ErrEncoding and says what cannot be converted
// or is malformed, and where. dst is then returned unchanged.
func ToMessagePack(dst, json []byte) ([]byte, error) {
	var s scanner
	s.init(json, 0)
	out := s.pack(dst)
	if err := s.end(); err != nil {
		return dst, hub.Reason(hub.ErrEncoding, "JSON to MessagePack: %v", err)
	}
	return out, nil
}

// pack appends the next value in MessagePack.
func (s *scanner) pack(dst []byte) []byte {
	head, n := len(dst), 0
	if s.i >= len(s.b) {
		s.fail("")
		return dst
	}
	switch s.b[s.i] {
	case '{':
		dst = append(dst, 0x80)
		for more := s.open("{}"); more; more = s.next("{}") {
			dst = s.packString(dst, s.rawKey())
			dst = s.pack(dst)
			n++
		}
		return setCount(dst, head, n, 0xde)
	case '[':
		dst = append(dst, 0x90)
		for more := s.open("[]"); more; more = s.next("[]") {
			dst = s.pack(dst)
			n++
		}
		return setCount(dst, head, n, 0xdc)
	case '"':
		return s.packString(dst, s.str())
	case 't':
		s.word("true")
		return append(dst, 0xc3)
	case 'f':
		s.word("false")
		return append(dst, 0xc2)
	case 'n':
		s.word("null")
		return append(dst, 0xc0)
	}
	return packNumber(dst, s.number())
}

// setCount writes the count n into the header of the array or map at dst[head]. The header
// is one byte long before and grows if necessary. long is the first byte of the header
// with a 16-bit count.
func setCount(dst []byte, head, n int, long byte) []byte {
	switch {
	case n < 16:
		dst[head] |= byte(n)
		return dst
	case n < 1<<16:
		dst = append(dst, 0, 0)
		copy(dst[head+3:], dst[head+1:])
		dst[head], dst[head+1], dst[head+2] = long, byte(n>>8), byte(n)
		return dst
	}
	dst = append(dst, 0, 0, 0, 0)
	copy(dst[head+5:], dst[head+1:])
	dst[head] = long + 1
	dst[head+1], dst[head+2], dst[head+3], dst[head+4] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
	return dst
}

// packString appends a string that str has read. raw includes the quotes.
func (s *scanner) packString(dst, raw []byte) []byte {
	if len(raw) < 2 {
		return dst
	}
	raw = raw[1 : len(raw)-1]
	if !hasEscapes(raw) {
		return msgp.AppendStringFromBytes(dst, raw)
	}
	// The header's size depends on the unescaped length. So unescape behind the longest
	// header, then move the string down behind its actual header.
	const longest = 5
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0, 0)
	dst, err := unescape(dst, raw)
	if err != nil && s.err == nil {
		s.err = malformed("%v, in the string that ends at byte %d", err, s.i)
		s.i = len(s.b)
	}
	return msgp.AppendStringFromBytes(dst[:start], dst[start+longest:])
}

func hasEscapes(s []byte) bool {
	for _, c := range s {
		if c == '\\' {
			return true
		}
	}
	return false
}

// ToJSON converts a MessagePack value to JSON, as the package comment describes, and
// appends it to dst. An error wraps hub.ErrEncoding and says what cannot be converted or
// is malformed, and where. dst is then returned unchanged.
func ToJSON(dst, msgpack []byte) ([]byte, error) {
	end, err := skipValues(msgpack, 0, 1, 0)
	if err == nil && end < len(msgpack) {
		err = malformed("byte %d: more bytes after the value", end)
	}
	if err == nil {
		u := unpacker{b: msgpack}
		var out []byte
		if out, err = u.value(dst, msgpack); err == nil {
			return out, nil
		}
	}
	return dst, hub.Reason(hub.ErrEncoding, "MessagePack to JSON: %v", err)
}

// An unpacker converts MessagePack that skipValues has checked to JSON.
type unpacker struct {
	b    []byte
	rest []byte // of b, after the value last written
}

func (u *unpacker) errorAt(at []byte, what string) error {
	return malformed("byte %d: %s", len(u.b)-len(at), what)
}

// value appends the first value of b, which is the rest of u.b.
func (u *unpacker) value(dst, b []byte) ([]byte, error) {
	var err error
	switch t := msgp.NextType(b); t {
	case msgp.MapType:
		return u.object(dst, b)
	case msgp.ArrayType:
		var n uint32
		n, u.rest, err = msgp.ReadArrayHeaderBytes(b)
		dst = append(dst, '[')
		for i := uint32(0); i < n && err == nil; i++ {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst, err = u.value(dst, u.rest)
		}
		return append(dst, ']'), err
	case msgp.StrType:
		return u.str(dst, b)
	case msgp.BinType:
		var v []byte
		v, u.rest, err = msgp.ReadBytesZC(b)
		dst = base64.RawURLEncoding.AppendEncode(append(dst, '"'), v)
		return append(dst, '"'), err
	case msgp.IntType, msgp.UintType:
		return u.integer(dst, b)
	case msgp.Float32Type:
		var f float32
		f, u.rest, err = msgp.ReadFloat32Bytes(b)
		return appendFloatOrNull(dst, float64(f), 32), err
	case msgp.Float64Type:
		var f float64
		f, u.rest, err = msgp.ReadFloat64Bytes(b)
		return appendFloatOrNull(dst, f, 64), err
	case msgp.BoolType:
		u.rest = b[1:]
		if b[0] == 0xc3 {
			return append(dst, "true"...), nil
		}
		return append(dst, "false"...), nil
	case msgp.NilType:
		u.rest = b[1:]
		return append(dst, "null"...), nil
	}
	return u.extension(dst, b)
}

func (u *unpacker) object(dst, b []byte) ([]byte, error) {
	n, rest, err := msgp.ReadMapHeaderBytes(b)
	dst = append(dst, '{')
	for i := uint32(0); i < n && err == nil; i++ {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = u.key(dst, rest); err != nil {
			break
		}
		dst, err = u.value(append(dst, ':'), u.rest)
		rest = u.rest
	}
	u.rest = rest
	return append(dst, '}'), err
}

// key appends the key of a map: a string, or an integer, which becomes one.
func (u *unpacker) key(dst, b []byte) ([]byte, error) {
	switch msgp.NextType(b) {
	case msgp.StrType:
		return u.str(dst, b)
	case msgp.IntType, msgp.UintType:
		dst, err := u.integer(append(dst, '"'), b)
		return append(dst, '"'), err
	}
	return dst, u.errorAt(b, "the key of a map is neither a string nor an integer")
}

// str appends a string. Bytes that are not UTF-8 become U+FFFD.
func (u *unpacker) str(dst, b []byte) ([]byte, error) {
	v, rest, err := msgp.ReadStringZC(b)
	u.rest = rest
	return AppendJSONString(dst, msgp.UnsafeString(v)), err
}

// extension appends the number in a number extension, or a timestamp. Other extensions
// cannot be converted to JSON.
func (u *unpacker) extension(dst, b []byte) ([]byte, error) {
	end, err := skipValues(b, 0, 1, maxDepth)
	if err != nil {
		return dst, err
	}
	head := 1
	if b[0] < 0xd4 { // ext 8, 16, 32
		head += 1 << (b[0] - 0xc7)
	}
	text := b[head+1 : end]
	switch int8(b[head]) {
	case numberExtension:
	case timestampExtension:
		t, ok := readTimestamp(text)
		if t = t.UTC(); !ok || t.Year() < 0 || t.Year() > 9999 {
			return dst, u.errorAt(b, "a timestamp that is malformed or not in the years 0 to 9999")
		}
		u.rest = b[end:]
		return append(t.AppendFormat(append(dst, '"'), time.RFC3339Nano), '"'), nil
	default:
		return dst, u.errorAt(b, fmt.Sprintf("extension %d has no JSON", int8(b[head])))
	}
	var s scanner
	s.init(text, 0)
	if len(s.number()) != len(text) || s.err != nil {
		return dst, u.errorAt(b, "a number extension that holds no JSON number")
	}
	u.rest = b[end:]
	return append(dst, text...), nil
}

// timestampExtension is the type of MessagePack's timestamps.
const timestampExtension = -1

// readTimestamp reads what is in a timestamp extension: seconds as uint32; or nanoseconds
// in 30 bits and seconds in 34; or nanoseconds as uint32 and seconds as int64.
func readTimestamp(b []byte) (t time.Time, ok bool) {
	var seconds, nanos int64
	switch len(b) {
	case 4:
		seconds = int64(binary.BigEndian.Uint32(b))
	case 8:
		v := binary.BigEndian.Uint64(b)
		seconds, nanos = int64(v&(1<<34-1)), int64(v>>34)
	case 12:
		seconds, nanos = int64(binary.BigEndian.Uint64(b[4:])), int64(binary.BigEndian.Uint32(b))
	default:
		return t, false
	}
	const most = 1 << 40 // seconds; a time.Time cannot hold all that an int64 can
	if nanos >= 1e9 || seconds < -most || seconds > most {
		return t, false
	}
	return time.Unix(seconds, nanos), true
}

// appendFloatOrNull appends a float. NaN and infinities become null.
func appendFloatOrNull(dst []byte, f float64, bits int) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(dst, "null"...)
	}
	return appendFloat(dst, f, bits)
}
