package senml

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/besterhub/bester/hub"
)

// keep returns the pack of the records whose bit is set in mask.
func keep(d hub.Data, mask uint64) (kept hub.Data, n int, err error) {
	var r Reader
	r.Reset(d)
	for i := 0; r.Next(); i++ {
		if mask>>(i%64)&1 != 0 {
			r.Keep()
		}
	}
	kept, n = r.Kept()
	kept.Bytes = bytes.Clone(kept.Bytes)
	return kept, n, r.Err()
}

// checkKeep checks that the records of a smaller pack resolve to the same as in the larger
// one, and that a pack of which all records are kept has the same bytes.
func checkKeep(t *testing.T, d hub.Data, mask uint64) {
	t.Helper()
	all, err := describe(d)
	if err != nil {
		return
	}
	var want string
	n := 0
	for i, line := range bytes.SplitAfter([]byte(all), []byte("\n")) {
		if len(line) > 0 && mask>>(i%64)&1 != 0 {
			want += string(line)
			n++
		}
	}
	kept, got, err := keep(d, mask)
	if err != nil {
		return // more base fields in effect than a smaller pack can carry
	}
	if got != n {
		t.Fatalf("mask %b: kept %d records, want %d", mask, got, n)
	}
	if n == 0 {
		return
	}
	if kept.Encoding != d.Encoding {
		t.Fatalf("kept pack is %v, want %v", kept.Encoding, d.Encoding)
	}
	text, err := describe(kept)
	if err != nil {
		t.Fatalf("mask %b: the smaller pack is wrong: %v\n%q", mask, err, kept.Bytes)
	}
	if text != want {
		t.Fatalf("mask %b:\ngot\n%s\nwant\n%s\nfrom %q", mask, text, want, kept.Bytes)
	}
	if all == want && !bytes.Equal(kept.Bytes, d.Bytes) {
		t.Fatalf("kept whole, but the bytes changed:\n%q\n%q", kept.Bytes, d.Bytes)
	}
}

func TestKeepEverySubset(t *testing.T) {
	for name, js := range files(t, "packs/*.json") {
		for _, d := range both(t, js) {
			t.Run(fmt.Sprintf("%s/%v", name, d.Encoding), func(t *testing.T) {
				for mask := range uint64(1 << 8) {
					checkKeep(t, d, mask)
				}
			})
		}
	}
}

// The bytes of kept records stay as their sender wrote them. The base fields of dropped
// records move to the next kept one.
func TestKeepBytes(t *testing.T) {
	js := `[{"bn":"a/","bt":1.7e+09,"bu":"V", "n":"x","v":1.0} , {"bu":"A","n":"y","v":1.50,"z":[ 1 ]},{"n":"z","v":3e0}]`
	d := hub.Data{Encoding: hub.JSON, Bytes: []byte(js)}
	for mask, want := range map[uint64]string{
		0b111: js,
		0b001: `[{"bn":"a/","bt":1.7e+09,"bu":"V", "n":"x","v":1.0}]`,
		0b010: `[{"bn":"a/","bt":1.7e+09,"bu":"A","n":"y","v":1.50,"z":[ 1 ]}]`,
		0b100: `[{"bn":"a/","bt":1.7e+09,"bu":"A","n":"z","v":3e0}]`,
		0b101: `[{"bn":"a/","bt":1.7e+09,"bu":"V", "n":"x","v":1.0},{"bu":"A","n":"z","v":3e0}]`,
	} {
		if kept, _, err := keep(d, mask); err != nil || string(kept.Bytes) != want {
			t.Errorf("mask %b: got\n%s, %v\nwant\n%s", mask, kept.Bytes, err, want)
		}
	}
}

// More records than a short header can count.
func TestKeepOfMany(t *testing.T) {
	for _, n := range []int{15, 16, 17, 300} {
		for _, e := range []hub.Encoding{hub.JSON, hub.MessagePack} {
			var p Pack
			p.Reset(e, "many/", time.Time{})
			for i := range n {
				if err := p.Number(fmt.Sprint(i), "", float64(i), time.Time{}); err != nil {
					t.Fatal(err)
				}
			}
			d, err := p.Data()
			if err != nil {
				t.Fatal(err)
			}
			checkKeep(t, d, 1<<63-1)
			checkKeep(t, d, 0x5555555555555555)
			checkKeep(t, d, 2)
		}
	}
}

func FuzzReader(f *testing.F) {
	for _, pattern := range []string{"packs/*.json", "wrong/*.json"} {
		for name, js := range files(f, pattern) {
			f.Add(true, js, uint64(0b101))
			if !bytes.Contains([]byte(name), []byte("json-")) && len(js) > 0 {
				f.Add(false, toMessagePack(f, js), uint64(0b10))
			}
		}
	}
	f.Fuzz(func(t *testing.T, json bool, b []byte, mask uint64) {
		d := hub.Data{Encoding: hub.MessagePack, Bytes: b}
		if json {
			d.Encoding = hub.JSON
		}
		before := bytes.Clone(b)
		checkKeep(t, d, mask)
		checkKeep(t, d, 1<<64-1)
		checkWrite(t, d)
		if !bytes.Equal(b, before) {
			t.Fatal("the pack was changed")
		}
	})
}

// checkWrite checks the round trip: records that are read, written by a Pack in either
// encoding and read again are the same.
func checkWrite(t *testing.T, d hub.Data) {
	t.Helper()
	for _, e := range []hub.Encoding{hub.JSON, hub.MessagePack} {
		var r Reader
		var p Pack
		var want []Record
		p.Reset(e, "", now)
		r.Reset(d)
		for r.Next() {
			rec := *r.Record()
			at := rec.At(now)
			if at.Before(minPlausible) || rec.Kind == Blob || rec.Kind == None {
				continue
			}
			rec.Name = bytes.Clone(rec.Name)
			var err error
			switch rec.Kind {
			case Number:
				err = p.Number(string(rec.Name), string(rec.Unit), rec.Number, at)
			case Bool:
				rec.Unit = nil
				err = p.Bool(string(rec.Name), rec.Number == 1, at)
			case Text:
				rec.Unit = nil
				if !bytes.Equal(rec.Text, bytes.ToValidUTF8(rec.Text, nil)) {
					continue // came as bin
				}
				err = p.Text(string(rec.Name), string(rec.Text), at)
			}
			if err != nil {
				t.Fatal(err)
			}
			rec.Text = bytes.Clone(rec.Text)
			want = append(want, rec)
		}
		if r.Err() != nil || len(want) == 0 {
			return
		}
		again, err := p.Data()
		if err != nil {
			t.Fatal(err)
		}
		var r2 Reader
		r2.Reset(again)
		for i := 0; r2.Next(); i++ {
			got, w := r2.Record(), want[i]
			if string(got.Name) != string(w.Name) || string(got.Unit) != string(w.Unit) || got.Kind != w.Kind ||
				got.Number != w.Number || string(got.Text) != string(w.Text) {
				t.Fatalf("%v: record %d: got %+v, want %+v", e, i, got, w)
			}
			// Centuries from now a float64 of seconds is no longer exact to the microsecond.
			if a, b := got.At(now), w.At(now); !a.Equal(b) && a.Year() < 2100 {
				t.Fatalf("%v: record %d: measured %v, want %v", e, i, a, b)
			}
		}
		if r2.Err() != nil {
			t.Fatalf("%v: %v\n%q", e, r2.Err(), again.Bytes)
		}
	}
}
