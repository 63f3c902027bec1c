package senml

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/tinylib/msgp/msgp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// now is the time from which relative times count in the golden files.
var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// toMessagePack converts a JSON value to MessagePack and keeps the order of its fields. It
// makes the MessagePack form of the vectors in testdata.
func toMessagePack(t testing.TB, js []byte) []byte {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(js))
	d.UseNumber()
	b, err := packValue(nil, d)
	if err != nil {
		t.Fatalf("vector is not JSON: %v\n%s", err, js)
	}
	return b
}

func packValue(b []byte, d *json.Decoder) ([]byte, error) {
	tok, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch v := tok.(type) {
	case json.Delim:
		var inner []byte
		var n uint32
		for ; d.More(); n++ {
			if inner, err = packValue(inner, d); err != nil {
				return nil, err
			}
		}
		if _, err := d.Token(); err != nil {
			return nil, err
		}
		if v == '{' {
			b = msgp.AppendMapHeader(b, n/2)
		} else {
			b = msgp.AppendArrayHeader(b, n)
		}
		return append(b, inner...), nil
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return msgp.AppendInt64(b, i), nil
		}
		f, err := v.Float64()
		if err != nil {
			f = math.Inf(1) // more than a float64 holds
		}
		return msgp.AppendFloat64(b, f), nil
	case string:
		return msgp.AppendString(b, v), nil
	case bool:
		return msgp.AppendBool(b, v), nil
	}
	return msgp.AppendNil(b), nil
}

// describe returns the resolved records of a pack, one a line.
func describe(d hub.Data) (string, error) {
	var r Reader
	var s strings.Builder
	r.Reset(d) // once before: what a Reader keeps from one pack to the next changes nothing
	for r.Next() {
	}
	r.Reset(d)
	for r.Next() {
		rec := r.Record()
		fmt.Fprintf(&s, "%s %q", rec.Name, rec.Unit)
		switch rec.Kind {
		case Number:
			fmt.Fprintf(&s, " v=%v", rec.Number)
		case Bool:
			fmt.Fprintf(&s, " vb=%v", rec.Number == 1)
		case Text, Blob:
			fmt.Fprintf(&s, " %v=%q", rec.Kind, rec.Text)
		}
		if rec.HasSum {
			fmt.Fprintf(&s, " s=%v", rec.Sum)
		}
		fmt.Fprintf(&s, " at %s\n", rec.At(now).UTC().Format(time.RFC3339Nano))
	}
	return s.String(), r.Err()
}

func files(t testing.TB, pattern string) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("no vectors in testdata/%s: %v", pattern, err)
	}
	m := make(map[string][]byte)
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		m[name] = b
	}
	return m
}

// both returns a JSON vector in both encodings.
func both(t testing.TB, js []byte) []hub.Data {
	t.Helper()
	return []hub.Data{
		{Encoding: hub.JSON, Bytes: js},
		{Encoding: hub.MessagePack, Bytes: toMessagePack(t, js)},
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s:\ngot\n%s\nwant\n%s", name, got, want)
	}
}

func TestVectors(t *testing.T) {
	for name, js := range files(t, "packs/*.json") {
		for _, d := range both(t, js) {
			t.Run(filepath.Base(name)+"/"+d.Encoding.String(), func(t *testing.T) {
				got, err := describe(d)
				if err != nil {
					t.Fatal(err)
				}
				golden(t, strings.TrimSuffix(name, ".json")+".resolved", got)
			})
		}
	}
}

// A wrong pack is refused with a reason; the reasons are in the golden file.
func TestWrongVectors(t *testing.T) {
	var all strings.Builder
	vectors := files(t, "wrong/*.json")
	names := make([]string, 0, len(vectors))
	for name := range vectors {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		js := vectors[name]
		datas := []hub.Data{{Encoding: hub.JSON, Bytes: js}}
		if base := filepath.Base(name); !strings.HasPrefix(base, "json-") && base != "nothing.json" {
			datas = both(t, js)
		}
		for _, d := range datas {
			_, err := describe(d)
			if err == nil {
				t.Errorf("%s: %v was read without an error", name, d.Encoding)
				continue
			}
			fmt.Fprintf(&all, "%s %v: %v\n", filepath.Base(name), d.Encoding, err)
		}
	}
	golden(t, "testdata/wrong/reasons.txt", all.String())
}

// A truncated pack is refused, wherever it is cut.
func TestTruncated(t *testing.T) {
	for name, js := range files(t, "packs/*.json") {
		for _, d := range both(t, bytes.TrimSpace(js)) {
			for i := range d.Bytes {
				cut := hub.Data{Encoding: d.Encoding, Bytes: d.Bytes[:i:i]}
				if _, err := describe(cut); err == nil {
					t.Errorf("%s: %v cut to %d of %d bytes was read without an error", name, d.Encoding, i, len(d.Bytes))
				}
			}
		}
	}
}

func TestWrongMessagePack(t *testing.T) {
	name := "\xa1n\xa1a"
	for what, b := range map[string]string{
		"nil":                   "\xc0",
		"reserved byte":         "\xc1",
		"bytes behind":          "\x91\x82" + name + "\xa1v\x01\x00",
		"array promises more":   "\xdd\xff\xff\xff\xff",
		"map promises more":     "\x91\xdf\xff\xff\xff\xff",
		"string promises more":  "\x91\x82" + name + "\xa1v\xdb\xff\xff\xff\xff",
		"skipped one does":      "\x91\x83" + name + "\xa1v\x01\xa1x\xdd\xff\xff\xff\xff",
		"skipped map does":      "\x91\x83" + name + "\xa1v\x01\xa1x\xdf\xff\xff\xff\xff\xc0",
		"NaN":                   "\x91\x82" + name + "\xa1v\xcb\x7f\xf8\x00\x00\x00\x00\x00\x01",
		"infinite float32":      "\x91\x82" + name + "\xa1v\xca\x7f\x80\x00\x00",
		"label is an integer":   "\x91\x81\x00\xa1a",
		"empty label":           "\x91\x82" + name + "\xa0\x01",
		"text is not UTF-8":     "\x91\x82" + name + "\xa2vs\xa1\xff",
		"time is an extension":  "\x91\x83" + name + "\xa1v\x01\xa1t\xd6\xff\x00\x00\x00\x00",
		"nested without bottom": "\x91\x82" + name + "\xa1x" + strings.Repeat("\x91", 100_000),
	} {
		if _, err := describe(hub.Data{Encoding: hub.MessagePack, Bytes: []byte(b)}); err == nil {
			t.Errorf("%s: read without an error", what)
		} else {
			t.Logf("%s: %v", what, err)
		}
	}
}

// A vd may be bin, which is taken as raw bytes. A float32, a uint64 and long forms of
// numbers are valid.
func TestOtherForms(t *testing.T) {
	b := "\xdc\x00\x04" +
		"\x82\xa1n\xa1a\xa1v\xca\x3f\x00\x00\x00" +
		"\x82\xa1n\xd9\x01b\xa1v\xcf\x00\x00\x00\x00\x00\x00\x00\x07" +
		"\xde\x00\x02\xa1n\xa1c\xd9\x01v\xd0\xff" +
		"\x82\xa1n\xa1d\xa2vd\xc4\x02\xff\x00"
	got, err := describe(hub.Data{Encoding: hub.MessagePack, Bytes: []byte(b)})
	if err != nil {
		t.Fatal(err)
	}
	at := " at 2026-03-01T12:00:00Z\n"
	if want := `a "" v=0.5` + at + `b "" v=7` + at + `c "" v=-1` + at + `d "" vd="\xff\x00"` + at; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
