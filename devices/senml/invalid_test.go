package senml_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/besterhub/bester/devices/senml"
	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/wire"
)

// invalidRecords are records that are wrong by themselves, in JSON.
var invalidRecords = []string{
	`{"n":"x","v":null}`, `{"n":"x","v":"1"}`, `{"n":"x","v":[1,{"a":2}]}`, `{"n":"x","v":1e999}`, `{"n":"x"}`, `{"n":"a b","v":1}`,
	`{"n":7,"v":1}`, `{"n":"x","v":1,"v":2}`, `{"n":"x","v":1,"vb":true}`, `{"n":"x","vd":"="}`, `{"n":"x","vb":1}`, `{"n":"x","v":1,"t":1e300}`,
	`{"v":1,"":2,"n":"x"}`, `{"n":"x","u":1,"v":1}`, `{"n":"x","s":"1"}`, `{"n":"x","lock_":1,"v":2}`,
	`null`, `7`, `"x"`, `[[{"n":"x","v":1}]]`, `[]`, `true`,
}

// readAll returns the records that are valid, as text, and how many are not.
func readAll(t *testing.T, d hub.Data) (valid []string, invalid int) {
	t.Helper()
	var r senml.Reader
	for r.Reset(d); r.NextOrInvalid(); {
		rec := r.Record()
		if rec.Err != nil {
			invalid++
			continue
		}
		valid = append(valid, fmt.Sprintf("%s %v %v", rec.Name, rec.Kind, rec.Number))
	}
	if err := r.Err(); err != nil {
		t.Fatalf("%s: %v", d.Bytes, err)
	}
	return valid, invalid
}

// An invalid record costs no other, wherever it stands and whatever is wrong with it.
func TestInvalidRecordCostsItself(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	for range 3000 {
		var records, want []string
		invalid := 0
		for i := range 1 + rnd.IntN(6) {
			if rnd.IntN(2) == 0 {
				records = append(records, invalidRecords[rnd.IntN(len(invalidRecords))])
				invalid++
				continue
			}
			v := rnd.IntN(100)
			records = append(records, fmt.Sprintf(`{"n":"good%d","u":"Cel","v":%d}`, i, v))
			want = append(want, fmt.Sprintf("good%d v %d", i, v))
		}
		text := "[" + strings.Join(records, ",") + "]"
		got, bad := readAll(t, hub.Data{Encoding: hub.JSON, Bytes: []byte(text)})
		if strings.Join(got, "\n") != strings.Join(want, "\n") || bad != invalid {
			t.Fatalf("%s: got %v and %d invalid ones, want %v and %d", text, got, bad, want, invalid)
		}
	}
}

// The same in MessagePack, with what JSON lacks.
func TestInvalidMessagePackRecord(t *testing.T) {
	good := "\x82\xa1n\xa4good\xa1v\x05"
	for what, bad := range map[string]string{
		"NaN":         "\x82\xa1n\xa1x\xa1v\xcb\x7f\xf8\x00\x00\x00\x00\x00\x01",
		"infinity":    "\x82\xa1n\xa1x\xa1v\xca\x7f\x80\x00\x00",
		"nil":         "\x82\xa1n\xa1x\xa1v\xc0",
		"timestamp":   "\x82\xa1n\xa1x\xa1v\xd6\xff\x00\x00\x00\x00",
		"not UTF-8":   "\x82\xa1n\xa1x\xa2vs\xa1\xff",
		"integer key": "\x82\x00\xa1x\x02\x05",
		"empty key":   "\x82\xa1n\xa1x\xa0\x01",
		"bin name":    "\x82\xa1n\x91\x01\xa1v\x01",
		"empty map":   "\x81\xa1n\xa1x",
	} {
		for _, order := range []string{bad + good, good + bad} {
			d := hub.Data{Encoding: hub.MessagePack, Bytes: []byte("\x92" + order)}
			if got, invalid := readAll(t, d); len(got) != 1 || got[0] != "good v 5" || invalid != 1 {
				t.Errorf("%s: got %v and %d invalid ones", what, got, invalid)
			}
		}
	}
}

// A base field that cannot be used makes all records invalid to which it applies: without
// it they would be taken for what they are not.
func TestInvalidBaseField(t *testing.T) {
	text := `[{"n":"a","v":1},{"bn":7,"n":"b","v":2},{"n":"c","v":3},{"bn":"x/","n":"d","v":4},{"bt":null,"n":"e","v":5},{"n":"f","v":6},{"bt":0,"n":"g","v":7},` +
		`{"bver":5,"n":"h","v":8},{"n":"i","v":9},{"bver":10,"n":"j","v":10},{"bnew_":1,"n":"k","v":11},{"n":"l","v":12}]`
	got, invalid := readAll(t, hub.Data{Encoding: hub.JSON, Bytes: []byte(text)})
	if want := "a v 1,x/d v 4,x/g v 7,x/j v 10"; strings.Join(got, ",") != want || invalid != 8 {
		t.Errorf("got %v and %d invalid ones, want %s and 8", got, invalid, want)
	}
}

// A number means the same in each form that it may have on its way.
func TestOneMeaningOfANumber(t *testing.T) {
	read := func(d hub.Data) float64 {
		t.Helper()
		var r senml.Reader
		if r.Reset(d); !r.Next() {
			t.Fatalf("%q: %v", d.Bytes, r.Err())
		}
		return r.Record().Number
	}
	pack := func(value string) hub.Data {
		return hub.Data{Encoding: hub.MessagePack, Bytes: []byte("\x91\x82\xa1n\xa1x\xa1v" + value)}
	}
	text := func(number string) string { return "\xc7" + string([]byte{byte(len(number))}) + "N" + number }
	f32 := binary.BigEndian.AppendUint32([]byte{0xca}, math.Float32bits(21.6))
	for form, want := range map[string]float64{
		string(f32):                  21.6,
		text("23.100000000000001"):   23.1,
		text("1732288000.123456789"): 1732288000.1234567,
		"\xd4N7":                     7,
	} {
		if got := read(pack(form)); got != want {
			t.Errorf("%q: got %v, want %v", form, got, want)
		}
	}
	for _, wrong := range []string{"\xd4N-", "\xd5N1 ", "\xd4X1", "\xc7\x00N"} {
		var r senml.Reader
		if r.Reset(pack(wrong)); r.Next() {
			t.Errorf("%q was read as %v", wrong, r.Record().Number)
		}
	}
}

// Whether a pack is written in JSON or in MessagePack and converted, its numbers are the same text.
func TestWritersPrintAlike(t *testing.T) {
	rnd := rand.New(rand.NewPCG(9, 10))
	numbers := []float64{0, math.Copysign(0, -1), 1, -1, 21.6, 0.1, float64(float32(0.1)), 1e21, -1e21, 1e20, 1 << 53, 1 << 62, 1 << 63, 1 << 64, 1e-6, 1e-7, 5e-324, math.MaxFloat64}
	for range 2000 {
		numbers = append(numbers, math.Float64frombits(rnd.Uint64()), float64(rnd.IntN(100000))/1000)
	}
	for _, f := range numbers {
		if math.IsNaN(f) || math.IsInf(f, 0) {
			continue
		}
		var texts [2]string
		for i, e := range []hub.Encoding{hub.JSON, hub.MessagePack} {
			var p senml.Pack
			p.Reset(e, "", time.Time{})
			if err := p.Number("x", "", f, time.Time{}); err != nil {
				t.Fatal(err)
			}
			d, err := p.Data()
			if err != nil {
				t.Fatal(err)
			}
			b, err := wire.AppendJSON(nil, d)
			if err != nil {
				t.Fatal(err)
			}
			texts[i] = string(b)
		}
		if texts[0] != texts[1] {
			t.Errorf("%v: JSON %s, MessagePack %s", f, texts[0], texts[1])
		}
	}
}

// Whatever valid JSON stands in the array, each of its elements is read, and what a filter
// keeps is an array again, with those records that were kept.
func FuzzRecordByRecord(f *testing.F) {
	for _, r := range invalidRecords {
		f.Add([]byte(`[{"bn":"a/","n":"t","v":1},`+r+`,{"n":"h","v":2}]`), uint64(5))
	}
	f.Add([]byte(`[{"n":"x","vs":"\ud800"},{"n":"y\u0041","vs":"\ud83d\ude00"}]`), uint64(2))
	f.Fuzz(func(t *testing.T, text []byte, keep uint64) {
		var elements []json.RawMessage
		if json.Unmarshal(text, &elements) != nil {
			return
		}
		packed, err := wire.ToMessagePack(nil, text)
		if err != nil {
			return // it does not come as far as a filter
		}
		for _, d := range []hub.Data{{Bytes: text}, {Encoding: hub.MessagePack, Bytes: packed}} {
			var r senml.Reader
			var kept []string
			i := 0
			for r.Reset(d); r.NextOrInvalid(); i++ {
				if keep>>(i%64)&1 == 1 {
					r.Keep()
					kept = append(kept, describe(r.Record()))
				}
			}
			if r.Err() != nil {
				if !strings.Contains(r.Err().Error(), "base fields") && !strings.Contains(r.Err().Error(), "is empty") {
					t.Fatalf("%v: %s: %v", d.Encoding, d.Bytes, r.Err())
				}
				continue
			}
			smaller, n := r.Kept()
			if n != len(kept) {
				t.Fatalf("%v: %s: kept %d, Kept says %d", d.Encoding, d.Bytes, len(kept), n)
			}
			if n == 0 {
				continue
			}
			smaller.Bytes = bytes.Clone(smaller.Bytes)
			i = 0
			for r.Reset(smaller); r.NextOrInvalid(); i++ {
				if got := describe(r.Record()); i >= n || got != kept[i] {
					t.Fatalf("%v: %s: of %s record %d is %s, want %q", d.Encoding, smaller.Bytes, d.Bytes, i, got, kept)
				}
			}
			if r.Err() != nil || i != n {
				t.Fatalf("%v: %s: of %s: %d records, want %d: %v", d.Encoding, smaller.Bytes, d.Bytes, i, n, r.Err())
			}
		}
	})
}

// describe writes what a record means, without why one is invalid.
func describe(r *senml.Record) string {
	if r.Err != nil {
		return fmt.Sprintf("invalid %q", r.Name)
	}
	return fmt.Sprintf("%q %q %v %v %q %v %v %v", r.Name, r.Unit, r.Kind, r.Number, r.Text, r.Sum, r.HasSum, r.At(time.Unix(2e9, 0)).UnixMicro())
}
