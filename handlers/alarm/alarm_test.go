package alarm

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/besterhub/bester/devices/senml"
	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/hubtest"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func at(v float64) *float64 { return &v }

func filter(t testing.TB, o Options) *Filter {
	t.Helper()
	f, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// ask gives f a message and returns the alarms that it made, as TYPE DATA, and the
// error. It checks that the message itself was passed on first, as it was.
func ask(t *testing.T, f *Filter, m hub.Message) (alarms []string, err error) {
	t.Helper()
	var as hubtest.Answers
	as.Ask(f, &m)
	a := as.Wait(t, 1)[0]
	for _, fault := range as.Faults() {
		t.Error(fault)
	}
	if len(a.Commands) == 0 || a.Commands[0].Verb != hub.Pass || a.Text(0) != string(m.Data.Bytes) {
		t.Fatalf("%s was not passed on: %+v", m.Data.Bytes, a.Commands)
	}
	for i, c := range a.Commands[1:] {
		if c.Verb != hub.SendHandler || c.Data.Encoding != m.Data.Encoding {
			t.Errorf("command %v in %v, want sendHandler in %v", c.Verb, c.Data.Encoding, m.Data.Encoding)
		}
		alarms = append(alarms, string(c.Type)+" "+a.Text(i+1))
	}
	return alarms, a.Err
}

func TestAlarmAndItsEnd(t *testing.T) {
	f := filter(t, Options{Name: "temperature", Above: at(30), Clear: at(28)})
	for i, c := range []struct{ data, want string }{
		{`[{"bn":"greenhouse/bme280/","bt":1732288000,"n":"temperature","u":"Cel","v":30},{"n":"humidity","u":"%RH","v":99}]`, ""},
		{`[{"bn":"greenhouse/bme280/","bt":1732288010,"n":"temperature","u":"Cel","v":31.2},{"n":"humidity","u":"%RH","v":99}]`,
			`alarm/greenhouse/bme280 [{"bn":"greenhouse/bme280/temperature","bt":1732288010,"u":"Cel","v":31.2},{"n":"/alarm","vb":true},{"n":"/above","u":"Cel","v":30}]`},
		{`[{"bn":"greenhouse/bme280/","bt":1732288020,"n":"temperature","u":"Cel","v":40}]`, ""},
		{`[{"bn":"greenhouse/bme280/","bt":1732288030,"n":"temperature","u":"Cel","v":28.1}]`, ""},
		{`[{"bn":"greenhouse/bme280/","bt":1732288040,"n":"temperature","u":"Cel","v":28}]`,
			`alarm/greenhouse/bme280 [{"bn":"greenhouse/bme280/temperature","bt":1732288040,"u":"Cel","v":28},{"n":"/alarm","vb":false},{"n":"/above","u":"Cel","v":30}]`},
		{`[{"bn":"greenhouse/bme280/","bt":1732288050,"n":"temperature","u":"Cel","v":29}]`, ""},
	} {
		alarms, err := ask(t, f, hub.Message{Type: "reading/greenhouse/bme280", Time: start, Data: hub.Data{Bytes: []byte(c.data)}})
		if got := strings.Join(alarms, "\n"); got != c.want || err != nil {
			t.Errorf("message %d:\ngot  %s, %v\nwant %s", i, got, err, c.want)
		}
	}
	if s := f.Stats(); s != (Stats{Messages: 6, Raised: 1, Cleared: 1}) {
		t.Errorf("got %+v", s)
	}
}

// Values come a second apart. Of each, want shows r for raised, c for cleared, . for nothing.
func TestLimits(t *testing.T) {
	for what, c := range map[string]struct {
		o    Options
		vs   []float64
		want string
	}{
		"above":                        {Options{Above: at(10)}, []float64{9, 10, 11, 12, 10, 11}, "..r.cr"},
		"below":                        {Options{Below: at(0)}, []float64{1, 0, -1, -2, 0, -1}, "..r.cr"},
		"below with clear":             {Options{Below: at(0), Clear: at(2)}, []float64{-1, 1, -1, 2, 1, -1}, "r..c.r"},
		"zero is a limit":              {Options{Above: at(0)}, []float64{0, 1, 0}, ".rc"},
		"for":                          {Options{Above: at(10), For: 2 * time.Second}, []float64{11, 11, 10, 11, 12, 13, 14, 9}, ".....r.c"},
		"repeat":                       {Options{Above: at(10), Repeat: 2 * time.Second}, []float64{11, 11, 11, 11, 11, 10, 10, 10}, "r.r.rc.."},
		"for and repeat":               {Options{Above: at(10), For: time.Second, Repeat: 3 * time.Second}, []float64{11, 11, 11, 11, 11}, ".r..r"},
		"stays below the limit, above": {Options{Above: at(10), Clear: at(5)}, []float64{7, 9, 10}, "..."},
	} {
		c.o.Name = "x"
		now := start
		c.o.Now = func() time.Time { return now }
		f := filter(t, c.o)
		var got strings.Builder
		for _, v := range c.vs {
			alarms, err := ask(t, f, hub.Message{Type: "reading", Time: start, Data: hub.Data{Bytes: fmt.Appendf(nil, `[{"n":"x","v":%v}]`, v)}})
			now = now.Add(time.Second)
			switch {
			case err != nil || len(alarms) > 1:
				t.Fatalf("%s: %q, %v", what, alarms, err)
			case len(alarms) == 0:
				got.WriteByte('.')
			case strings.Contains(alarms[0], `"vb":true`):
				got.WriteByte('r')
			default:
				got.WriteByte('c')
			}
		}
		if got.String() != c.want {
			t.Errorf("%s: %v: got %s, want %s", what, c.vs, &got, c.want)
		}
	}
}

func TestTruthValues(t *testing.T) {
	f := filter(t, Options{Name: "power/undervoltage", Above: at(0.5), Type: "alarm/power"})
	for _, c := range []struct{ vb, want string }{
		{"false", ""},
		{"true", `alarm/power [{"bn":"pi/board/power/undervoltage","bt":1772366400,"vb":true},{"n":"/alarm","vb":true},{"n":"/above","v":0.5}]`},
		{"false", `alarm/power [{"bn":"pi/board/power/undervoltage","bt":1772366400,"vb":false},{"n":"/alarm","vb":false},{"n":"/above","v":0.5}]`},
	} {
		alarms, err := ask(t, f, hub.Message{Type: "reading/pi/board", Time: start, Data: hub.Data{Bytes: []byte(`[{"n":"pi/board/power/undervoltage","vb":` + c.vb + `}]`)}})
		if got := strings.Join(alarms, "\n"); got != c.want || err != nil {
			t.Errorf("got  %s, %v\nwant %s", got, err, c.want)
		}
	}
}

// Each name of each sender is watched by itself, also when one pack has several of them,
// in MessagePack as in JSON.
func TestSeriesAreWatchedSeparately(t *testing.T) {
	f := filter(t, Options{Name: "t", Below: at(5)})
	var p senml.Pack
	p.Reset(hub.MessagePack, "", start)
	p.Number("a/t", "Cel", 4, time.Time{})
	p.Number("b/t", "Cel", 3, time.Time{})
	p.Number("b/not", "Cel", 3, time.Time{})
	p.Text("c/t", "no number", time.Time{})
	d, err := p.Data()
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range []hub.UserName{"anna", "bert"} {
		alarms, err := ask(t, f, hub.Message{Type: "reading", From: hub.Address{User: from}, Time: start, Data: d})
		if err != nil || len(alarms) != 2 {
			t.Fatalf("%s: got %q, %v; want 2 alarms", from, alarms, err)
		}
		for i, name := range []string{"a/t", "b/t"} {
			typ, pack, _ := strings.Cut(alarms[i], " ")
			var r senml.Reader
			r.Reset(hub.Data{Encoding: hub.MessagePack, Bytes: []byte(pack)})
			var names []string
			for r.Next() {
				names = append(names, string(r.Record().Name))
			}
			if want := []string{name, name + "/alarm", name + "/below"}; typ != "alarm" || fmt.Sprint(names) != fmt.Sprint(want) || r.Err() != nil {
				t.Errorf("%s: got type %s with %q, %v; want alarm with %q", from, typ, names, r.Err(), want)
			}
		}
	}
	if alarms, err := ask(t, f, hub.Message{Type: "reading", From: hub.Address{User: "anna"}, Time: start, Data: d}); err != nil || len(alarms) != 0 {
		t.Errorf("got %q, %v; want none, they hold already", alarms, err)
	}
}

// Data that is no SenML pack passes, and its sender gets an error because it is not watched.
func TestOtherData(t *testing.T) {
	f := filter(t, Options{Name: "temperature", Above: at(30)})
	alarms, err := ask(t, f, hub.Message{Type: "reading/x", Time: start, Data: hub.Data{Bytes: []byte(`{"temperature":99}`)}})
	if want := `alarm: "temperature" cannot be watched: senml: record 1: byte 0: want '[', not '{'`; len(alarms) != 0 || err == nil || err.Error() != want {
		t.Errorf("got %q, %v, want %s", alarms, err, want)
	}
	if f.Stats().Malformed != 1 {
		t.Errorf("got %+v", f.Stats())
	}
	// An alarm raised before the pack ends too early is sent.
	alarms, err = ask(t, f, hub.Message{Type: "reading/x", Time: start, Data: hub.Data{Bytes: []byte(`[{"n":"temperature","v":31},{`)}})
	if len(alarms) != 1 || err == nil {
		t.Errorf("got %q, %v", alarms, err)
	}
}

func TestNamesAndTypesThatAreTooLong(t *testing.T) {
	f := filter(t, Options{Name: "t", Above: at(1)})
	long := strings.Repeat("a", 251) + "/t"
	if _, err := ask(t, f, hub.Message{Type: "reading", Time: start, Data: hub.Data{Bytes: []byte(`[{"n":"` + long + `","v":2}]`)}}); err == nil {
		t.Error("an alarm of too long a name is no error")
	}
	typ := hub.Type("r/" + strings.Repeat("x", 253))
	if _, err := ask(t, f, hub.Message{Type: typ, Time: start, Data: hub.Data{Bytes: []byte(`[{"n":"t","v":2}]`)}}); err == nil {
		t.Error("an alarm of too long a type is no error")
	}
}

// Through a real router: the reading arrives, and the alarm at its own handler.
func TestThroughARouter(t *testing.T) {
	r := hub.NewRouter(hub.RouterOptions{})
	var readings, alarms hubtest.Recorder
	defer r.Directory().Join("reader", &readings)()
	defer r.Directory().Join("guard", &alarms)()
	err := r.SetRoutes([]hub.Route{
		{Match: "reading/#", Through: []hub.Handler{filter(t, Options{Name: "t", Above: at(30)})}, To: []hub.Address{{User: "reader"}}},
		{Match: "alarm/#", To: []hub.Address{{User: "guard"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []string{"29", "31", "32", "30"} {
		if err := r.Put(&hub.Message{Type: "reading/a/b", Time: start, Data: hub.Data{Bytes: []byte(`[{"n":"a/b/t","v":` + v + `}]`)}}); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(readings.Messages(t, 4)); got != 4 {
		t.Errorf("got %d readings, want 4", got)
	}
	got := alarms.Messages(t, 2)
	if len(got) != 2 || got[0].Type != "alarm/a/b" || !strings.Contains(string(got[0].Data.Bytes), `"vb":true`) || !strings.Contains(string(got[1].Data.Bytes), `"vb":false`) {
		t.Errorf("got %+v", got)
	}
}

func TestOptions(t *testing.T) {
	for what, o := range map[string]Options{
		"no name":             {Above: at(1)},
		"a name that is none": {Name: "a b", Above: at(1)},
		"no limit":            {Name: "a"},
		"two limits":          {Name: "a", Above: at(1), Below: at(0)},
		"clear above above":   {Name: "a", Above: at(1), Clear: at(2)},
		"clear below below":   {Name: "a", Below: at(1), Clear: at(0)},
		"for":                 {Name: "a", Above: at(1), For: -1},
		"repeat":              {Name: "a", Above: at(1), Repeat: -1},
		"memory":              {Name: "a", Above: at(1), Memory: -1},
		"little memory":       {Name: "a", Above: at(1), Memory: 100},
		"type":                {Name: "a", Above: at(1), Type: "alarm/#"},
		"NaN":                 {Name: "a", Above: at(math.NaN())},
		"infinite clear":      {Name: "a", Above: at(1), Clear: at(math.Inf(-1))},
	} {
		if _, err := New(o); err == nil || !strings.HasPrefix(err.Error(), "alarm: ") {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

// nobody is a Carrier that ignores commands.
type nobody struct{}

func (nobody) Do(*hub.Answer, *hub.Command) {}
func (nobody) Done(*hub.Answer, error)      {}

func TestAllocations(t *testing.T) {
	f := filter(t, Options{Name: "t", Above: at(10)})
	m := hub.Message{Type: "reading/a", Time: start, Data: hub.Data{Bytes: []byte(`[{"bn":"a/","n":"t","u":"Cel","v":11},{"n":"h","v":2}]`)}}
	a := hub.NewAnswer(&m, nobody{})
	if n := testing.AllocsPerRun(1000, func() {
		a.Reset(&m)
		f.Handle(a.Message(), a)
	}); n != 0 {
		t.Errorf("%v allocations a message, want 0", n)
	}
	if s := f.Stats(); s.Raised != 1 {
		t.Errorf("got %+v", s)
	}
}

func BenchmarkHandle(b *testing.B) {
	f := filter(b, Options{Name: "t", Above: at(10)})
	m := hub.Message{Type: "reading/a", Time: start, Data: hub.Data{Bytes: []byte(`[{"bn":"a/","n":"t","u":"Cel","v":9}]`)}}
	a := hub.NewAnswer(&m, nobody{})
	b.ReportAllocs()
	for b.Loop() {
		a.Reset(&m)
		f.Handle(a.Message(), a)
	}
}
