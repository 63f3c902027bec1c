package senml

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/besterhub/bester/hub"
	"github.com/tinylib/msgp/msgp"
)

// A Pack writes one pack, record by record:
//
//	p.Reset(hub.MessagePack, "greenhouse/bme280/", now)
//	p.Number("temperature", "Cel", 21.4, time.Time{})
//	data, err := p.Data()
//
// The zero value is ready after Reset. It reuses its memory from one pack to the next
// and allocates nothing in steady state. It is not safe for concurrent use.
//
// A record that cannot be written (its name is not one that RFC 8428 allows, or its
// value is no finite number) is left out. The method returns the reason, and the pack
// stays usable.
type Pack struct {
	json  bool
	base  string
	at    time.Time
	timed bool // at is plausible, so it is written
	count int
	b     []byte
}

// Reset begins a pack. base is the prefix of all names (bn, left out if empty), and at
// is when the records were measured (bt). A time that is zero or before 2020 is left
// out too, since it comes from a clock that has not been set. The records are then
// "now", which is the time of the message.
func (p *Pack) Reset(e hub.Encoding, base string, at time.Time) {
	*p = Pack{json: e == hub.JSON, base: base, at: at, timed: !at.Before(minPlausible), b: reuse(p.b)}
	if p.json {
		p.b = append(p.b, '[')
	} else {
		p.b = append(p.b, 0xdc, 0, 0) // array 16; Data shortens it if possible
	}
}

// maxRecords is the most records that the array's header can count.
const maxRecords = math.MaxUint16

// Number adds a record with a number. at is when it was measured; zero stands for the
// time of the pack.
func (p *Pack) Number(name, unit string, v float64, at time.Time) error {
	if !finite(v) {
		return fmt.Errorf("senml: %q: value %v is no finite number", name, v)
	}
	if err := p.record(name, unit, at); err != nil {
		return err
	}
	p.label("v")
	p.number(v)
	p.end()
	return nil
}

// Bool adds a record that is true or false; at as in Number.
func (p *Pack) Bool(name string, v bool, at time.Time) error {
	if err := p.record(name, "", at); err != nil {
		return err
	}
	p.label("vb")
	if p.json {
		p.b = strconv.AppendBool(p.b, v)
	} else {
		p.b = msgp.AppendBool(p.b, v)
	}
	p.end()
	return nil
}

// Text adds a record with a text; at as in Number. Invalid UTF-8 is replaced by U+FFFD.
func (p *Pack) Text(name, v string, at time.Time) error {
	if err := p.record(name, "", at); err != nil {
		return err
	}
	p.label("vs")
	p.text(v)
	p.end()
	return nil
}

// Len returns the number of records so far.
func (p *Pack) Len() int { return p.count }

// Data returns the pack. The bytes are valid until the next Reset. If the pack has no
// records, Data returns an error.
func (p *Pack) Data() (hub.Data, error) {
	if p.count == 0 {
		return hub.Data{}, errors.New("senml: the pack is empty")
	}
	if p.json {
		p.b = append(p.b, ']')
		d := hub.Data{Encoding: hub.JSON, Bytes: p.b}
		p.b = p.b[:len(p.b)-1]
		return d, nil
	}
	b := p.b
	if p.count < 16 {
		b = b[2:]
		b[0] = 0x90 | byte(p.count)
	} else {
		b[1], b[2] = byte(p.count>>8), byte(p.count)
	}
	return hub.Data{Encoding: hub.MessagePack, Bytes: b}, nil
}

// record writes everything of a record but its value.
func (p *Pack) record(name, unit string, at time.Time) error {
	if !p.validName(name) {
		return fmt.Errorf("senml: name %q: want 1 to %d letters, digits and - : . / _ with a letter or digit first", p.base+name, MaxName)
	}
	if p.count == maxRecords {
		return fmt.Errorf("senml: name %q: the pack is full: %d records", p.base+name, maxRecords)
	}
	first := p.count == 0
	p.count++
	var offset float64
	if !at.IsZero() {
		offset = p.offset(at)
	}
	base, bt := first && p.base != "", first && p.timed
	if p.json {
		if !first {
			p.b = append(p.b, ',')
		}
		p.b = append(p.b, '{')
	} else {
		n := uint32(1)
		for _, has := range [...]bool{base, bt, name != "", unit != "", offset != 0} {
			if has {
				n++
			}
		}
		p.b = msgp.AppendMapHeader(p.b, n)
	}
	if base {
		p.label("bn")
		p.text(p.base)
	}
	if bt {
		p.label("bt")
		p.number(seconds(p.at.UnixMicro()))
	}
	if name != "" {
		p.label("n")
		p.text(name)
	}
	if unit != "" {
		p.label("u")
		p.text(unit)
	}
	if offset != 0 {
		p.label("t")
		p.number(offset)
	}
	return nil
}

// offset returns at in seconds: relative to the pack's time, or absolute if the pack has
// none. If the clock had not been set at that time, only the difference from the pack's
// time counts, by the monotonic clock.
func (p *Pack) offset(at time.Time) float64 {
	switch set := !at.Before(minPlausible); {
	case set && p.timed:
		return seconds(at.UnixMicro() - p.at.UnixMicro())
	case set:
		return seconds(at.UnixMicro())
	}
	d := at.Sub(p.at)
	if p.at.IsZero() || d.Abs() >= absoluteFrom*time.Second {
		return 0
	}
	return seconds(d.Microseconds())
}

func seconds(micro int64) float64 { return float64(micro) / 1e6 }

func (p *Pack) validName(name string) bool {
	first := name
	if p.base != "" {
		first = p.base
	}
	return len(p.base)+len(name) <= MaxName && first != "" && nameBytes[first[0]] == 2 && checkName(p.base) && checkName(name)
}

func (p *Pack) label(l string) {
	if !p.json {
		p.b = msgp.AppendString(p.b, l)
		return
	}
	if p.b[len(p.b)-1] != '{' {
		p.b = append(p.b, ',')
	}
	p.b = append(p.b, '"')
	p.b = append(p.b, l...)
	p.b = append(p.b, '"', ':')
}

func (p *Pack) end() {
	if p.json {
		p.b = append(p.b, '}')
	}
}

// number writes the shortest form that reads back as the same float64. In JSON it is the
// text that hub/wire makes of the MessagePack form.
func (p *Pack) number(f float64) {
	whole := f == math.Trunc(f) && math.Abs(f) < 1<<63 && (f != 0 || !math.Signbit(f))
	switch f32 := float32(f); {
	case p.json && whole:
		p.b = strconv.AppendInt(p.b, int64(f), 10)
	case p.json:
		p.b = appendJSONFloat(p.b, f)
	case whole:
		p.b = msgp.AppendInt64(p.b, int64(f))
	case float64(f32) == f && fromFloat32(f32) == f: // whoever reads it
		p.b = msgp.AppendFloat32(p.b, f32)
	default:
		p.b = msgp.AppendFloat64(p.b, f)
	}
}

// appendJSONFloat appends the shortest text of a number that is no int64: with a point, or
// with an exponent if it is very large or small.
func appendJSONFloat(b []byte, f float64) []byte {
	start := len(b)
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		b = strconv.AppendFloat(b, f, 'e', -1, 64)
		mantissa, exponent, _ := bytes.Cut(b[start:], []byte("e"))
		b = append(b[:start+len(mantissa)], 'e')
		if exponent[0] == '-' {
			b = append(b, '-')
		}
		return append(b, bytes.TrimLeft(exponent[1:], "0")...)
	}
	b = strconv.AppendFloat(b, f, 'f', -1, 64)
	if bytes.IndexByte(b[start:], '.') < 0 {
		b = append(b, ".0"...)
	}
	return b
}

func (p *Pack) text(s string) {
	if p.json {
		p.b = appendJSONString(p.b, s)
	} else if utf8.ValidString(s) {
		p.b = msgp.AppendString(p.b, s)
	} else {
		p.b = msgp.AppendString(p.b, string([]rune(s)))
	}
}

const hex = "0123456789abcdef"

// appendJSONString appends s as a JSON string, escaping only what must be.
func appendJSONString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			switch {
			case c == '"' || c == '\\':
				b = append(b, '\\', c)
			case c < ' ':
				b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
			default:
				b = append(b, c)
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		b = utf8.AppendRune(b, r)
		i += n
	}
	return append(b, '"')
}
