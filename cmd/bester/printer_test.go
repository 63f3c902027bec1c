package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/wire"
)

// What JSON cannot hold, in MessagePack, and how people read it.
var unconvertible = []struct{ name, data, display string }{
	{"NaN", "\x81\xa1t\xcb\x7f\xf8\x00\x00\x00\x00\x00\x01", `{"t":NaN}`},
	{"infinity", "\x81\xa1t\xcb\xff\xf0\x00\x00\x00\x00\x00\x00", `{"t":-Infinity}`},
	{"a key that is no string", "\x81\x01\x02", `{1:2}`},
	{"latin-1", "\x81\xa1u\xa2\xb0C", `{"u":"\xb0C"}`},
	{"an extension", "\xd5\x07\x01\x02", "ext(7, h'0102')"},
	{"malformed", "\xc1", "h'c1'"},
	{"nothing", "", "h''"},
	{"cut short", "\x92\x01", "h'9201'"},
	{"a bidirectional mark", "\x92\xcb\x7f\xf8\x00\x00\x00\x00\x00\x01\xa3\xe2\x80\xae", `[NaN,"\u202e"]`},
	{"a NaN in a pack", "\x91\x82\xa1n\xa1t\xa1v\xcb\x7f\xf8\x00\x00\x00\x00\x00\x01", `NaN`},
}

func printed(t *testing.T, json bool, m *hub.Message) (string, *printer) {
	t.Helper()
	cmd := &cobra.Command{}
	var out bytes.Buffer
	cmd.SetOut(&out)
	p := newPrinter(cmd, json)
	p.print(m)
	p.print(&hub.Message{Type: "next", Data: hub.Data{Encoding: hub.JSON, Bytes: []byte("42")}})
	if p.failed() || p.count() != 2 {
		t.Errorf("%d printed, then %v", p.count(), p.failure())
	}
	return out.String(), p
}

// One message that JSON cannot hold does not end the rest; it is shown as far as it can be.
func TestUnconvertibleMessages(t *testing.T) {
	for _, c := range unconvertible {
		m := &hub.Message{Type: "raw/a", From: hub.Address{User: "bob"}, Data: hub.Data{Encoding: hub.MessagePack, Bytes: []byte(c.data)}}
		text, _ := printed(t, false, m)
		lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		if len(lines) != 2 || !strings.Contains(lines[0], c.display) || !strings.HasSuffix(lines[1], " 42") {
			t.Errorf("%s: got %q, want %q and 42", c.name, lines, c.display)
		}

		text, p := printed(t, true, m)
		lines = strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		if data, err := wire.AppendJSON(nil, m.Data); err == nil { // what JSON lacks has a form in it
			if want := `"data":` + string(appendEscapedJSON(nil, data)) + "}"; p.unconvertible() != 0 || len(lines) != 2 || !strings.HasSuffix(lines[0], want) {
				t.Errorf("%s: %d unconvertible, %q, want %s", c.name, p.unconvertible(), lines, want)
			}
			continue
		}
		if p.unconvertible() != 1 || len(lines) != 2 {
			t.Fatalf("%s: %d unconvertible, %q", c.name, p.unconvertible(), lines)
		}
		var object map[string]any
		if err := json.Unmarshal([]byte(lines[0]), &object); err != nil {
			t.Fatalf("%s: %s: %v", c.name, lines[0], err)
		}
		raw, err := base64.StdEncoding.DecodeString(object["msgpack"].(string))
		if err != nil || string(raw) != c.data {
			t.Errorf("%s: msgpack %q, %v", c.name, raw, err)
		}
		_, hasData := object["data"]
		if object["type"] != "raw/a" || object["from"] != "bob" || object["error"] == "" || hasData {
			t.Errorf("%s: got %s", c.name, lines[0])
		}
		if lines[1] != `{"type":"next","data":42}` {
			t.Errorf("%s: then %s", c.name, lines[1])
		}
	}
}

// Data that says it is JSON and is not does not break the line.
func TestInvalidJSON(t *testing.T) {
	m := &hub.Message{Type: "raw/a", Data: hub.Data{Encoding: hub.JSON, Bytes: []byte("{\"a\":\n}")}}
	text, p := printed(t, true, m)
	first, _, _ := strings.Cut(text, "\n")
	if !json.Valid([]byte(first)) || !strings.Contains(first, `"error":"the data is not JSON"`) || p.unconvertible() != 1 {
		t.Errorf("got %s", first)
	}
}
