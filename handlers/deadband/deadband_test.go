package deadband

import (
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/besterhub/bester/devices/senml"
	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/hubtest"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func filter(t testing.TB, o Options) *Filter {
	t.Helper()
	f, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// run gives f messages of one sender and returns what it did with each: the data passed
// on, "drop", or the error.
func run(t *testing.T, f *Filter, data ...string) []string {
	t.Helper()
	var as hubtest.Answers
	for _, d := range data {
		as.Ask(f, &hub.Message{Type: "reading/a", From: hub.Address{User: "anna"}, Time: start,
			Data: hub.Data{Encoding: hub.JSON, Bytes: []byte(d)}})
	}
	var got []string
	for _, a := range as.Wait(t, len(data)) {
		switch {
		case a.Err != nil:
			got = append(got, a.Err.Error())
		case len(a.Commands) != 1:
			got = append(got, fmt.Sprintf("%d commands", len(a.Commands)))
		case a.Commands[0].Verb == hub.Pass:
			got = append(got, a.Text(0))
		default:
			got = append(got, a.Commands[0].Verb.String())
		}
	}
	for _, fault := range as.Faults() {
		t.Error(fault)
	}
	return got
}

// numbers returns packs with one value each.
func numbers(vs ...float64) (packs []string) {
	for _, v := range vs {
		packs = append(packs, fmt.Sprintf(`[{"n":"a/temperature","v":%v}]`, v))
	}
	return packs
}

// passes shows a run as a string of + (passed) and - (dropped).
func passes(got []string) string {
	var b strings.Builder
	for _, g := range got {
		switch {
		case g == "drop":
			b.WriteByte('-')
		case strings.HasPrefix(g, "["):
			b.WriteByte('+')
		default:
			b.WriteByte('!')
		}
	}
	return b.String()
}

func TestBands(t *testing.T) {
	for what, c := range map[string]struct {
		o    Options
		vs   []float64
		want string
	}{
		"any change":                       {Options{}, []float64{1, 1, 1.0001, 1.0001, 1}, "+-+-+"},
		"band":                             {Options{Band: 0.5}, []float64{20, 20.5, 20.25, 20.75, 20.5, 20.25, 20}, "+--+--+"},
		"from the last passed, not before": {Options{Band: 1}, []float64{0, 0.5, 1, 1.5, 2, 2.5, 3}, "+--+--+"[:7]},
		"percent":                          {Options{Percent: 10}, []float64{100, 110, 111, 100, 99, 122.2}, "+-+-++"},
		"percent of a negative":            {Options{Percent: 10}, []float64{-100, -110, -111}, "+-+"},
		"percent of zero":                  {Options{Percent: 10}, []float64{0, 0, 0.001}, "+-+"},
		"either":                           {Options{Band: 5, Percent: 10}, []float64{10, 12, 1000, 1006, 1007}, "+++" + "+-"},
		"age":                              {Options{Band: 5, MaxAge: 3 * time.Second}, []float64{1, 1, 1, 1, 1, 1, 1}, "+--+--+"},
		"override":                         {Options{Band: 5, Names: map[string]Band{"temperature": {Band: 1}}}, []float64{1, 3, 3.5}, "++-"},
		"longest override":                 {Options{Names: map[string]Band{"temperature": {Band: 1}, "a/temperature": {Band: 10}}}, []float64{1, 3, 12}, "+-+"},
		"override of another":              {Options{Band: 5, Names: map[string]Band{"emperature": {Band: 1}}}, []float64{1, 3, 7}, "+-+"},
		"override ages too":                {Options{MaxAge: 2 * time.Second, Names: map[string]Band{"temperature": {Band: 1}}}, []float64{1, 1, 1}, "+-+"},
	} {
		now := start
		c.o.Now = func() time.Time { // the values come a second apart
			now = now.Add(time.Second)
			return now
		}
		if got := passes(run(t, filter(t, c.o), numbers(c.vs...)...)); got != c.want {
			t.Errorf("%s: %v: got %s, want %s", what, c.vs, got, c.want)
		}
	}
}

func TestSmallerPack(t *testing.T) {
	f := filter(t, Options{Band: 0.5})
	got := run(t, f,
		`[{"bn":"a/","bt":1772366400,"n":"t","u":"Cel","v":20},{"n":"h","u":"%RH","v":50},{"n":"door","vb":false},{"n":"state","vs":"x"}]`,
		`[{"bn":"a/","bt":1772366401,"n":"t","u":"Cel","v":20.2},{"n":"h","u":"%RH","v":52.0},{"n":"door","vb":false},{"n":"state","vs":"x"}]`,
		`[{"bn":"a/","bt":1772366402,"n":"t","u":"Cel","v":20.2},{"n":"h","u":"%RH","v":52.1},{"n":"door","vb":true},{"n":"state","vs":"y"}]`,
		`[{"bn":"a/","bt":1772366403,"n":"t","u":"Cel","v":20.2},{"n":"h","u":"%RH","v":52.1},{"n":"door","vb":true},{"n":"state","vs":"y"}]`,
		`[{"bn":"a/","n":"door","v":1},{"n":"energy","s":5},{"n":"both","v":1,"s":2}]`,
		`[{"bn":"a/","n":"door","v":1},{"n":"energy","s":5},{"n":"both","v":1,"s":2}]`,
		`[{"bn":"a/","n":"door","v":1},{"n":"energy","s":6},{"n":"both","v":1,"s":2}]`,
	)
	want := []string{
		`[{"bn":"a/","bt":1772366400,"n":"t","u":"Cel","v":20},{"n":"h","u":"%RH","v":50},{"n":"door","vb":false},{"n":"state","vs":"x"}]`,
		`[{"bn":"a/","bt":1772366401,"n":"h","u":"%RH","v":52.0}]`,
		`[{"bn":"a/","bt":1772366402,"n":"door","vb":true},{"n":"state","vs":"y"}]`,
		`drop`,
		`[{"bn":"a/","n":"door","v":1},{"n":"energy","s":5},{"n":"both","v":1,"s":2}]`,
		`drop`,
		`[{"bn":"a/","n":"energy","s":6}]`,
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("message %d:\ngot  %s\nwant %s", i, got[i], want[i])
		}
	}
	if s := f.Stats(); s != (Stats{Passed: 5, Dropped: 2, Records: 3 + 2 + 4 + 3 + 2}) {
		t.Errorf("got %+v", s)
	}
}

// The last value is that of one sender and one name, whatever others send.
func TestSendersApart(t *testing.T) {
	f := filter(t, Options{Band: 1})
	var as hubtest.Answers
	for i, from := range []hub.Address{{User: "anna"}, {User: "bert"}, {User: "anna", Server: "b"}, {}, {User: "anna"}} {
		as.Ask(f, &hub.Message{Type: "reading/a", From: from, Data: hub.Data{Bytes: []byte(numbers(20)[0])}})
		want := hub.Pass
		if i == 4 {
			want = hub.Drop
		}
		if a := as.Wait(t, i+1)[i]; a.Commands[0].Verb != want {
			t.Errorf("%q: got %v, want %v", from, a.Commands[0].Verb, want)
		}
	}
}

// Only the time that passes counts, not the times in readings.
func TestOnlyTimeThatPassesCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := filter(t, Options{Band: 1, MaxAge: time.Hour})
		got := run(t, f, `[{"n":"a","t":1.6e9,"v":1}]`, `[{"n":"a","t":1.9e9,"v":1}]`, `[{"n":"a","t":1.5e9,"v":1}]`)
		time.Sleep(time.Hour - 1)
		got = append(got, run(t, f, `[{"n":"a","t":1.8e9,"v":1}]`)...)
		time.Sleep(time.Nanosecond)
		got = append(got, run(t, f, `[{"n":"a","t":1.6e9,"v":1}]`, `[{"n":"a","t":1.6e9,"v":1}]`)...)
		if passes(got) != "+---+-" {
			t.Errorf("got %q", got)
		}
	})
}

// Two sensors of one account that call their values the same are two.
func TestTypesApart(t *testing.T) {
	f := filter(t, Options{Band: 0.2})
	var as hubtest.Answers
	for i, c := range []struct {
		typ  hub.Type
		v    float64
		want hub.Verb
	}{{"reading/kitchen", 20, hub.Pass}, {"reading/cellar", 20.1, hub.Pass}, {"reading/kitchen", 20.1, hub.Drop}, {"reading/cellar", 20, hub.Drop}} {
		as.Ask(f, &hub.Message{Type: c.typ, From: hub.Address{User: "gateway"}, Data: hub.Data{Bytes: []byte(numbers(c.v)[0])}})
		if got := as.Wait(t, i+1)[i].Commands[0].Verb; got != c.want {
			t.Errorf("message %d: got %v, want %v", i, got, c.want)
		}
	}
}

// An invalid record passes, and costs no other.
func TestInvalidRecords(t *testing.T) {
	f := filter(t, Options{Band: 1})
	got := run(t, f,
		`[{"n":"a","v":1},{"n":"b","v":null},{"n":"c","v":1}]`, `[{"n":"b","v":null},{"n":"a","v":1.5},{"n":"c","v":3}]`,
		`[{"n":"a","v":1.5},"garbage",{"n":"c","v":5}]`, `[{"n":"a","v":1.5},{"n":"a b","v":1},{"n":"c","v":5}]`)
	want := []string{
		`[{"n":"a","v":1},{"n":"b","v":null},{"n":"c","v":1}]`, `[{"n":"b","v":null},{"n":"c","v":3}]`,
		`["garbage",{"n":"c","v":5}]`, `[{"n":"a b","v":1}]`,
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("message %d:\ngot  %s\nwant %s", i, got[i], want[i])
		}
	}
	if s := f.Stats(); s != (Stats{Passed: 4, Records: 1 + 1 + 2, Invalid: 4}) {
		t.Errorf("got %+v", s)
	}
}

func TestMoreNamesThanMemory(t *testing.T) {
	var log strings.Builder
	f := filter(t, Options{Memory: 4 << 10, Log: slog.New(slog.NewTextHandler(&log, nil))})
	var packs []string
	for i := range 100 {
		packs = append(packs, fmt.Sprintf(`[{"n":"n%d","v":1}]`, i))
	}
	if got := passes(run(t, f, append(packs, packs[99], packs[0])...)); got != strings.Repeat("+", 100)+"-+" {
		t.Errorf("got %q", got)
	}
	if s := f.Stats(); s.Evicted == 0 || strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "memory=4096") {
		t.Errorf("got %+v, log %s", s, &log)
	}
}

// Data that is no SenML pack passes unchanged.
func TestOtherData(t *testing.T) {
	f := filter(t, Options{Band: 1})
	data := []string{`{"temperature":21}`, `17`, `[]`, `[{"n":"a","v":1},{"n":"a"`, `[{"n":"a","v":1},{"n":"a"`}
	for i, got := range run(t, f, data...) {
		if got != data[i] {
			t.Errorf("%s: got %s", data[i], got)
		}
	}
	if s := f.Stats(); s.Malformed != uint64(len(data)) || s.Passed != 0 {
		t.Errorf("got %+v", s)
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{
		{Band: -1}, {Percent: -1}, {MaxAge: -1}, {Memory: -1}, {Memory: 100}, {Band: math.NaN()}, {Percent: math.Inf(1)},
		{Names: map[string]Band{"a b": {}}}, {Names: map[string]Band{"a": {Band: -1}}},
	} {
		if _, err := New(o); err == nil || !strings.HasPrefix(err.Error(), "deadband: ") {
			t.Errorf("%+v: got %v", o, err)
		}
	}
}

// nobody is a Carrier that ignores commands.
type nobody struct{}

func (nobody) Do(*hub.Answer, *hub.Command) {}
func (nobody) Done(*hub.Answer, error)      {}

// alternating returns messages that pass and are dropped in turn, of about 64 bytes.
func alternating(e hub.Encoding) (ms []*hub.Message) {
	for _, v := range []float64{20.25, 20.5, 22.125, 22.25} {
		var p senml.Pack
		p.Reset(e, "greenhouse/bme280/", start)
		p.Number("temperature", "Cel", v, time.Time{})
		d, _ := p.Data()
		ms = append(ms, &hub.Message{Type: "reading/greenhouse/bme280", From: hub.Address{User: "board"}, Time: start, Data: d})
	}
	return ms
}

func TestAllocations(t *testing.T) {
	for _, e := range []hub.Encoding{hub.JSON, hub.MessagePack} {
		f := filter(t, Options{Band: 1, MaxAge: time.Hour})
		ms, a, i := alternating(e), hub.NewAnswer(&hub.Message{}, nobody{}), 0
		if n := testing.AllocsPerRun(1000, func() {
			a.Reset(ms[i%len(ms)])
			f.Handle(a.Message(), a)
			i++
		}); n != 0 {
			t.Errorf("%v: %v allocations a message, want 0", e, n)
		}
		if s := f.Stats(); s.Passed < 400 || s.Dropped < 400 {
			t.Errorf("%v: got %+v", e, s)
		}
	}
}

func BenchmarkHandle(b *testing.B) {
	for _, e := range []hub.Encoding{hub.JSON, hub.MessagePack} {
		b.Run(e.String(), func(b *testing.B) {
			f := filter(b, Options{Band: 1})
			ms, a, i := alternating(e), hub.NewAnswer(&hub.Message{}, nobody{}), 0
			b.SetBytes(int64(len(ms[0].Data.Bytes)))
			b.ReportAllocs()
			for b.Loop() {
				a.Reset(ms[i%len(ms)])
				f.Handle(a.Message(), a)
				i++
			}
		})
	}
}
