package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/besterhub/bester/devices/senml"
	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/resource"
	"github.com/besterhub/bester/hub/wire"
)

// A printer writes messages as text or as JSON. A message takes one line, but as text
// each of its readings takes one.
type printer struct {
	json   bool
	colour bool

	mu   sync.Mutex
	out  *bufio.Writer
	n    int
	bad  int // of them that JSON could not hold
	err  error
	line []byte

	senml senml.Reader
}

func newPrinter(cmd *cobra.Command, json bool) *printer {
	out := cmd.OutOrStdout()
	return &printer{
		json: json, out: bufio.NewWriter(out),
		colour: !json && coloured(out),
	}
}

// coloured tells whether what is written to out may have colours.
func coloured(out any) bool {
	return isTerminal(out) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// print writes one message. An error of the output is kept.
func (p *printer) print(m *hub.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n++
	if p.json {
		p.line = p.appendObject(p.line[:0], m)
	} else {
		p.line = p.appendText(p.line[:0], m)
	}
	_, err := p.out.Write(p.line)
	if err == nil {
		err = p.out.Flush()
	}
	if p.err == nil {
		p.err = err
	}
}

// appendObject writes a message as one JSON object on a line of its own. Where JSON cannot
// hold the data, it says so and has them in other forms.
func (p *printer) appendObject(dst []byte, m *hub.Message) []byte {
	dst = append(dst, `{"type":`...)
	dst = appendJSONString(dst, string(m.Type))
	if m.From != (hub.Address{}) {
		dst = append(dst, `,"from":`...)
		dst = appendJSONString(dst, m.From.String())
	}
	if m.ID != (hub.ID{}) {
		dst = append(dst, `,"id":`...)
		dst = appendJSONString(dst, m.ID.String())
	}
	if !m.Time.IsZero() {
		dst = append(dst, `,"time":`...)
		dst = wire.AppendJSONString(dst, m.Time.UTC().Format(time.RFC3339Nano))
	}
	if m.Retained {
		dst = append(dst, `,"retained":true`...)
	}
	text, err := wire.AppendJSON(nil, m.Data)
	if err == nil && m.Data.Encoding == hub.JSON && !json.Valid(text) {
		err = errors.New("the data is not JSON")
	}
	if err == nil {
		dst = append(dst, `,"data":`...)
		return append(appendEscapedJSON(dst, text), "}\n"...)
	}
	p.bad++
	dst = append(dst, `,"error":`...)
	dst = appendJSONString(dst, err.Error())
	dst = append(dst, `,"display":`...)
	dst = appendJSONString(dst, string(wire.AppendDisplay(nil, m.Data)))
	if m.Data.Encoding == hub.MessagePack {
		dst = append(dst, `,"msgpack":"`...)
		dst = append(base64.StdEncoding.AppendEncode(dst, m.Data.Bytes), '"')
	}
	return append(dst, "}\n"...)
}

// appendText writes a message for people: readings one a line, other data as JSON, with
// a notation of its own for what JSON cannot hold.
func (p *printer) appendText(dst []byte, m *hub.Message) []byte {
	if lines, ok := p.appendReadings(dst, m); ok {
		return lines
	}
	dst = p.appendPrefix(dst, messageTime(m), string(m.Type))
	text, err := wire.AppendJSON(nil, m.Data)
	if display := wire.AppendDisplay(nil, m.Data); err != nil || !bytes.Equal(text, display) {
		dst = append(dst, escapeText(string(display))...)
	} else {
		dst = appendEscapedJSON(dst, text)
	}
	return append(dst, '\n')
}

func messageTime(m *hub.Message) time.Time {
	if m.Time.IsZero() {
		return time.Now()
	}
	return m.Time
}

// appendReadings writes a SenML pack. It reports false where the data is none.
func (p *printer) appendReadings(dst []byte, m *hub.Message) ([]byte, bool) {
	start, n := len(dst), 0
	mark := ""
	if strings.HasPrefix(string(m.Type), "alarm/") {
		mark = "! "
	}
	p.senml.Reset(m.Data)
	for p.senml.Next() {
		r := p.senml.Record()
		dst = p.appendPrefix(dst, r.At(messageTime(m)), mark+string(r.Name))
		dst = append(appendValue(dst, r), '\n')
		n++
	}
	if p.senml.Err() != nil || n == 0 {
		return dst[:start], false
	}
	return dst, true
}

// appendValue writes what a record says.
func appendValue(dst []byte, r *senml.Record) []byte {
	switch r.Kind {
	case senml.Number:
		unit, v := string(r.Unit), r.Number
		switch unit { // as people are used to seeing them
		case "/":
			unit, v = "%", 100*v
		case "Cel":
			unit = "°C"
		case "B":
			if v == math.Trunc(v) && v >= 0 && v < 1<<63 {
				return append(dst, resource.Size(uint64(v))...)
			}
		default:
			unit = escapeName(unit)
		}
		dst = appendNumber(dst, v)
		if unit != "" {
			dst = append(append(dst, ' '), unit...)
		}
	case senml.Bool:
		dst = strconv.AppendBool(dst, r.Number != 0)
	case senml.Text:
		dst = append(dst, escapeName(string(r.Text))...)
	case senml.Blob:
		dst = fmt.Appendf(dst, "%d bytes", len(r.Text))
	}
	return dst
}

// appendNumber writes six digits of a number, and its exponent only where it is far
// from 1.
func appendNumber(dst []byte, v float64) []byte {
	if a := math.Abs(v); v == math.Trunc(v) && a < 1e15 {
		return strconv.AppendFloat(dst, v, 'f', 0, 64)
	} else if a >= 1e6 && a < 1e15 {
		return strconv.AppendFloat(dst, v, 'f', 1, 64)
	}
	return strconv.AppendFloat(dst, v, 'g', 6, 64)
}

// appendPrefix writes the time and what the line is about, in a column of its own.
func (p *printer) appendPrefix(dst []byte, when time.Time, what string) []byte {
	const dim, bold, reset = "\x1b[2m", "\x1b[1m", "\x1b[0m"
	if p.colour {
		dst = append(dst, dim...)
	}
	dst = when.Local().AppendFormat(dst, "15:04:05.000")
	if p.colour {
		dst = append(dst, reset+bold...)
	}
	dst = fmt.Appendf(dst, "  %-44s", escapeName(what))
	if p.colour {
		dst = append(dst, reset...)
	}
	return append(dst, "  "...)
}

// failed reports whether a write has failed.
func (p *printer) failed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err != nil
}

// failure returns the first error of the output, or nil. A broken pipe is no failure.
func (p *printer) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if errors.Is(p.err, syscall.EPIPE) {
		return nil
	}
	return p.err
}

// unconvertible is how many of the messages JSON could not hold.
func (p *printer) unconvertible() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bad
}

// count is how many messages it has written.
func (p *printer) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}
