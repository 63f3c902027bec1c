package wire

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/tinylib/msgp/msgp"

	"github.com/besterhub/bester/hub"
)

// Message reads the body of a send, deliver or handle into m. It sets Type, From, To,
// ID, Time, Hops, Retained and Data, to zero if the body lacks them, and leaves the other fields
// unchanged. Data is MessagePack and aliases body. To belongs to the Decoder and is valid
// until its next call. Strings may be kept. An error wraps ErrMalformed, and m is then
// invalid. In steady state nothing is allocated.
func (d *Decoder) Message(body []byte, m *hub.Message) (err error) {
	m.Type, m.From, m.To = "", hub.Address{}, nil
	m.ID, m.Time, m.Hops, m.Retained = hub.ID{}, time.Time{}, 0, false
	m.Data = hub.Data{Encoding: hub.MessagePack}
	d.to = d.to[:0]
	r := bodyReader{b: body}
	for range r.header(0x80) {
		key := r.key()
		switch key {
		case 't':
			m.Type, err = d.typ(r.text())
		case 'f':
			m.From, err = d.address(r.text())
		case 'r':
			m.To, err = d.readRecipients(&r, hub.SendClients)
		case 'o':
			m.ID.Origin, err = d.hubName(r.text())
		case 'n':
			m.ID.Number = r.unsigned(math.MaxUint64)
		case 'w':
			m.Time = time.Unix(0, r.signed())
		case 'h':
			m.Hops = int(r.unsigned(math.MaxUint16))
		case 'l':
			m.Retained = r.boolean()
		case 'd':
			m.Data.Bytes = r.skipValue()
		default:
			r.skipValue()
		}
		if err != nil || r.err != nil {
			return r.fieldError("message", key, err)
		}
	}
	switch {
	case r.err != nil:
		return malformed("message: %v", r.err)
	case m.Type == "":
		return malformed("message: t: type missing")
	case m.Data.Bytes == nil:
		return malformed("message: d: data missing")
	}
	return nil
}

// readRecipients reads a list of addresses or, for SendServers, of server names. It
// appends the list to d.to and returns that part of it.
func (d *Decoder) readRecipients(r *bodyReader, v hub.Verb) (to []hub.Address, err error) {
	start := len(d.to)
	n := r.header(0x90)
	if start+n > MaxRecipients {
		return nil, malformed("more than %d recipients", MaxRecipients)
	}
	for range n {
		var a hub.Address
		if name := r.text(); v == hub.SendServers {
			a, err = d.server(name)
		} else {
			a, err = d.address(name)
		}
		if err != nil || r.err != nil {
			return nil, err
		}
		d.to = append(d.to, a)
	}
	return d.to[start:len(d.to):len(d.to)], nil
}

// AppendMessage appends the payload of a send, deliver or handle. It converts JSON data
// to MessagePack. MessagePack data must be one value and is appended unchanged, without
// allocating. It omits fields of m that are zero, and a time that 64 bits of nanoseconds
// cannot express (before 1678 or after 2261). An error wraps hub.ErrEncoding: the data
// cannot be converted, or there are more than MaxRecipients. dst is then returned
// unchanged.
func AppendMessage(dst []byte, tag uint64, k Kind, m *hub.Message) ([]byte, error) {
	start := len(dst)
	if len(m.To) > MaxRecipients {
		return dst, hub.Reason(hub.ErrEncoding, "message for %d recipients, at most %d are allowed", len(m.To), MaxRecipients)
	}
	dst = append(appendHeader(dst, tag, k), 0)
	head := len(dst) - 1
	fields := byte(2)
	dst = appendText(dst, 't', string(m.Type))
	switch {
	case m.From.Server != "":
		fields++
		dst = appendAddress(append(dst, 0xa1, 'f'), m.From)
	case m.From.User != "":
		fields++
		dst = appendText(dst, 'f', string(m.From.User))
	}
	if len(m.To) > 0 {
		fields++
		dst = appendRecipients(dst, m.To)
	}
	if m.ID.Origin != "" {
		fields++
		dst = appendText(dst, 'o', m.ID.Origin)
	}
	if m.ID.Number != 0 {
		fields++
		dst = appendUnsigned(dst, 'n', m.ID.Number)
	}
	if w, ok := nanoseconds(m.Time); ok {
		fields++
		dst = appendSigned(dst, 'w', w)
	}
	if m.Hops > 0 {
		fields++
		dst = msgp.AppendUint16(append(dst, 0xa1, 'h'), uint16(min(m.Hops, math.MaxUint16)))
	}
	if m.Retained {
		fields++
		dst = append(dst, 0xa1, 'l', 0xc3)
	}
	dst[head] = 0x80 | fields
	dst = append(dst, 0xa1, 'd')
	if m.Data.Encoding == hub.MessagePack && len(m.Data.Bytes) > 0 {
		return append(dst, m.Data.Bytes...), nil
	}
	dst, err := AppendMessagePack(dst, m.Data)
	if err != nil {
		return dst[:start], err
	}
	return dst, nil
}

// appendText appends a string field. Short strings, such as names, have a fast path.
func appendText(dst []byte, key byte, s string) []byte {
	if len(s) < 32 {
		return append(append(dst, 0xa1, key, 0xa0|byte(len(s))), s...)
	}
	return msgp.AppendString(append(dst, 0xa1, key), s)
}

// appendUnsigned appends a number field. Large numbers, such as IDs, have a fast path.
func appendUnsigned(dst []byte, key byte, n uint64) []byte {
	if n > math.MaxUint32 {
		return binary.BigEndian.AppendUint64(append(dst, 0xa1, key, 0xcf), n)
	}
	return msgp.AppendUint64(append(dst, 0xa1, key), n)
}

// appendSigned appends a signed number field. Large numbers, such as times, have a fast
// path.
func appendSigned(dst []byte, key byte, n int64) []byte {
	if n > math.MaxInt32 {
		return binary.BigEndian.AppendUint64(append(dst, 0xa1, key, 0xd3), uint64(n))
	}
	return msgp.AppendInt64(append(dst, 0xa1, key), n)
}

// nanoseconds returns t in the form of the wire, and whether t can be expressed in it.
func nanoseconds(t time.Time) (int64, bool) {
	const safe = math.MaxInt64/1_000_000_000 - 1 // seconds
	n := t.UnixNano()
	if s := t.Unix(); s < -safe || s > safe {
		return n, time.Unix(0, n).Equal(t)
	}
	return n, true
}

func appendRecipients(dst []byte, to []hub.Address) []byte {
	dst = msgp.AppendArrayHeader(append(dst, 0xa1, 'r'), uint32(len(to)))
	for _, a := range to {
		dst = appendAddress(dst, a)
	}
	return dst
}

// appendAddress appends what hub.Address.String returns as a MessagePack string.
func appendAddress(dst []byte, a hub.Address) []byte {
	if a.Server == "" {
		return msgp.AppendString(dst, string(a.User))
	}
	n := len(a.User) + 1 + len(a.Server)
	switch {
	case n < 32:
		dst = append(dst, 0xa0|byte(n))
	case n < 1<<8:
		dst = append(dst, 0xd9, byte(n))
	default:
		dst = append(dst, 0xda, byte(n>>8), byte(n)) // names are shorter than 64 KiB
	}
	dst = append(dst, a.User...)
	dst = append(dst, '@')
	return append(dst, a.Server...)
}
