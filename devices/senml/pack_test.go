package senml

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/besterhub/bester/hub"
)

var encodings = []hub.Encoding{hub.JSON, hub.MessagePack}

func TestPack(t *testing.T) {
	at := time.Date(2024, 11, 22, 15, 6, 40, 500_000_999, time.UTC)
	var p Pack
	p.Reset(hub.JSON, "greenhouse/bme280/", at)
	p.Number("temperature", "Cel", 21.4, time.Time{})
	p.Number("humidity", "%RH", 55, at.Add(-250*time.Millisecond))
	p.Bool("ok", true, at)
	p.Text("note", "a \"b\"\n\xff", time.Time{})
	d, err := p.Data()
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"bn":"greenhouse/bme280/","bt":1732288000.5,"n":"temperature","u":"Cel","v":21.4},` +
		`{"n":"humidity","u":"%RH","t":-0.25,"v":55},{"n":"ok","vb":true},` + "{\"n\":\"note\",\"vs\":\"a \\\"b\\\"\\u000a\uFFFD\"}]"
	if got := string(d.Bytes); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if p.Len() != 4 {
		t.Errorf("Len() = %d, want 4", p.Len())
	}
}

// A number of any size reads back as the same float64, and a time to the microsecond.
func TestNumbersAndTimesReadBack(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	numbers := []float64{0, math.Copysign(0, -1), 0.1, 1e21, 1e-7, 5e-324, math.MaxFloat64, 1 << 53, 1<<53 + 2, -1 << 63, 127, 128, 65536, 1.0 / 3, float64(float32(0.1))}
	for range 2000 {
		if f := math.Float64frombits(rnd.Uint64()); finite(f) {
			numbers = append(numbers, f)
		}
	}
	for _, e := range encodings {
		var p Pack
		var r Reader
		for _, f := range numbers {
			base := time.UnixMicro(1_600_000_000_000_000 + rnd.Int64N(1_000_000_000_000_000))
			at := base.Add(time.Duration(rnd.Int64N(1e15)-5e14) * time.Microsecond / 1000)
			p.Reset(e, "a", base)
			if err := p.Number("", "", f, at); err != nil {
				t.Fatal(err)
			}
			d, err := p.Data()
			if err != nil {
				t.Fatal(err)
			}
			r.Reset(d)
			if !r.Next() {
				t.Fatalf("%v: %v", f, r.Err())
			}
			got := r.Record()
			if math.Float64bits(got.Number) != math.Float64bits(f+0) && f != 0 || math.Signbit(got.Number) != math.Signbit(f) && f != 0 {
				t.Errorf("%v: %v was read back as %v", e, f, got.Number)
			}
			want := time.UnixMicro(base.UnixMicro() + at.UnixMicro() - base.UnixMicro())
			if !got.At(now).Equal(want) {
				t.Errorf("%v: %v was read back as %v", e, want, got.At(now))
			}
		}
	}
}

// Before the clock is set a pack has no time of its own: it is "now", and the times of
// earlier readings are relative to now.
func TestClockNotSet(t *testing.T) {
	booted := time.Unix(5, 0)
	for _, e := range encodings {
		var p Pack
		p.Reset(e, "a/", booted)
		p.Number("x", "", 1, time.Time{})
		p.Number("x", "", 1, booted.Add(-3*time.Second))
		p.Number("x", "", 1, now.Add(-time.Hour))
		d, err := p.Data()
		if err != nil {
			t.Fatal(err)
		}
		got, err := describe(d)
		if err != nil {
			t.Fatal(err)
		}
		want := "a/x \"\" v=1 at 2026-03-01T12:00:00Z\na/x \"\" v=1 at 2026-03-01T11:59:57Z\na/x \"\" v=1 at 2026-03-01T11:00:00Z\n"
		if got != want {
			t.Errorf("%v: got\n%s\nwant\n%s", e, got, want)
		}
		// A reading from before the clock was set does not make the pack's time wrong.
		p.Reset(e, "a/", now)
		p.Number("x", "", 1, booted)
		if d, err = p.Data(); err != nil {
			t.Fatal(err)
		}
		if got, _ := describe(d); got != "a/x \"\" v=1 at 2026-03-01T12:00:00Z\n" {
			t.Errorf("%v: got %s", e, got)
		}
	}
}

func TestPackRefuses(t *testing.T) {
	for _, e := range encodings {
		var p Pack
		p.Reset(e, "a/", now)
		for _, err := range []error{
			p.Number("x", "", math.NaN(), now),
			p.Number("x", "", math.Inf(1), now),
			p.Number("x y", "", 1, now),
			p.Bool(strings.Repeat("x", 254), true, now),
			p.Text("é", "", now),
		} {
			if err == nil {
				t.Errorf("%v: no error", e)
			}
		}
		if _, err := p.Data(); err == nil || p.Len() != 0 {
			t.Errorf("%v: an empty pack of %d records is no error", e, p.Len())
		}
		p.Reset(e, "", now)
		if p.Number("", "", 1, now) == nil || p.Number("/x", "", 1, now) == nil {
			t.Errorf("%v: names that RFC 8428 does not allow were taken", e)
		}
		p.Reset(e, "/", now)
		if p.Number("x", "", 1, now) == nil {
			t.Errorf("%v: base name that RFC 8428 does not allow was taken", e)
		}
		p.Reset(e, "a", now)
		for range maxRecords {
			p.Bool("", true, time.Time{})
		}
		if p.Bool("", true, time.Time{}) == nil {
			t.Errorf("%v: more records than the header can count", e)
		}
		if d, err := p.Data(); err != nil {
			t.Error(err)
		} else if s, err := describe(d); err != nil || strings.Count(s, "\n") != maxRecords {
			t.Errorf("%v: full pack: %v", e, err)
		}
	}
}

func TestValidName(t *testing.T) {
	for s, want := range map[string]bool{
		"a": true, "greenhouse/bme280": true, "0:_.-/": true, "": false, "/a": false, "_a": false, "a b": false, "é": false,
		strings.Repeat("a", 255): true, strings.Repeat("a", 256): false,
	} {
		if got := ValidName(s); got != want {
			t.Errorf("ValidName(%q) = %v, want %v", s, got, want)
		}
	}
}

func fill(p *Pack, e hub.Encoding) hub.Data {
	p.Reset(e, "greenhouse/bme280/", now)
	p.Number("temperature", "Cel", 21.4, time.Time{})
	p.Number("humidity", "%RH", 55, now)
	p.Number("pressure", "Pa", 101325.25, now.Add(time.Millisecond))
	p.Bool("ok", true, time.Time{})
	p.Text("note", "all is well", time.Time{})
	d, _ := p.Data()
	return d
}

func TestAllocations(t *testing.T) {
	for _, e := range encodings {
		var p Pack
		var r Reader
		got := testing.AllocsPerRun(100, func() {
			d := fill(&p, e)
			r.Reset(d)
			for i := 0; r.Next(); i++ {
				if i%2 == 1 {
					r.Keep()
				}
			}
			if _, n := r.Kept(); n != 2 {
				t.Errorf("kept %d, want 2", n)
			}
		})
		if got != 0 {
			t.Errorf("%v: %v allocations to write, read and filter a pack, want 0", e, got)
		}
	}
}

func BenchmarkPack(b *testing.B) {
	for _, e := range encodings {
		b.Run(e.String(), func(b *testing.B) {
			var p Pack
			b.ReportAllocs()
			for b.Loop() {
				p.Reset(e, "greenhouse/bme280/", now)
				p.Number("temperature", "Cel", 21.4, time.Time{})
				p.Data()
			}
		})
	}
}

func BenchmarkReader(b *testing.B) {
	for _, e := range encodings {
		b.Run(e.String(), func(b *testing.B) {
			var p Pack
			p.Reset(e, "greenhouse/bme280/", now)
			p.Number("temperature", "Cel", 21.4, time.Time{})
			d, _ := p.Data()
			var r Reader
			b.ReportAllocs()
			b.SetBytes(int64(len(d.Bytes)))
			for b.Loop() {
				r.Reset(d)
				for r.Next() {
					r.Keep()
				}
				r.Kept()
			}
		})
	}
}
