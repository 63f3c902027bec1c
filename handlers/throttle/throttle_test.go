package throttle

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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

// ask gives f a message and returns what it did: the data passed on, "drop", or the error.
func ask(t *testing.T, f *Filter, m hub.Message) string {
	t.Helper()
	var as hubtest.Answers
	as.Ask(f, &m)
	a := as.Wait(t, 1)[0]
	for _, fault := range as.Faults() {
		t.Error(fault)
	}
	switch {
	case a.Err != nil:
		return a.Err.Error()
	case len(a.Commands) != 1:
		return fmt.Sprintf("%d commands", len(a.Commands))
	case a.Commands[0].Verb == hub.Pass:
		return a.Text(0)
	}
	return a.Commands[0].Verb.String()
}

// clock makes a clock that is set by now.
func clock() (now *time.Time, read func() time.Time) {
	now = new(time.Time)
	*now = start
	return now, func() time.Time { return *now }
}

func TestByType(t *testing.T) {
	for what, c := range map[string]struct {
		at   []float64 // seconds
		want string
	}{
		"one in each interval":      {[]float64{0, 1, 9.9, 10, 11, 20, 29, 30}, "+--+-+-+"},
		"late ones do not shift it": {[]float64{0, 10.4, 20.1, 30, 39.9}, "++++-"},
		"a pause starts anew":       {[]float64{0, 34, 40, 43.9, 44}, "++--+"},
		"all at once":               {[]float64{0, 0, 0, 25, 25, 25}, "+--+--"},
	} {
		now, read := clock()
		f := filter(t, Options{Every: 10 * time.Second, Now: read})
		var got strings.Builder
		for i, s := range c.at {
			*now = start.Add(time.Duration(s * 1e9))
			// The time in the message jumps, and does not count.
			m := hub.Message{Type: "any", Time: start.Add(time.Duration(i%3) * time.Hour), Data: hub.Data{Bytes: []byte(`"x"`)}}
			if ask(t, f, m) == "drop" {
				got.WriteByte('-')
			} else {
				got.WriteByte('+')
			}
		}
		if got.String() != c.want {
			t.Errorf("%s: %v: got %s, want %s", what, c.at, &got, c.want)
		}
	}
}

// By default it is the time that passes.
func TestTimeThatPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := filter(t, Options{Every: time.Minute})
		for i, want := range []string{"1", "drop", "1"} {
			if got := ask(t, f, hub.Message{Data: hub.Data{Bytes: []byte("1")}}); got != want {
				t.Errorf("message %d: got %s, want %s", i, got, want)
			}
			time.Sleep(30 * time.Second)
		}
	})
}

func TestSendersAndTypesApart(t *testing.T) {
	f := filter(t, Options{Every: time.Minute, By: "type"})
	m := func(typ hub.Type, user hub.UserName) hub.Message {
		return hub.Message{Type: typ, From: hub.Address{User: user}, Time: start, Data: hub.Data{Encoding: hub.MessagePack, Bytes: []byte("\x01")}}
	}
	for _, c := range []struct {
		m    hub.Message
		want string
	}{{m("a", "anna"), "\x01"}, {m("b", "anna"), "\x01"}, {m("a", "bert"), "\x01"}, {m("a", "anna"), "drop"}, {m("b", "anna"), "drop"}} {
		if got := ask(t, f, c.m); got != c.want {
			t.Errorf("%s of %v: got %q, want %q", c.m.Type, c.m.From, got, c.want)
		}
	}
	if s := f.Stats(); s != (Stats{Passed: 3, Dropped: 2}) {
		t.Errorf("got %+v", s)
	}
}

func TestByName(t *testing.T) {
	now, read := clock()
	f := filter(t, Options{Every: 10 * time.Second, By: "name", Now: read})
	for i, c := range []struct {
		at         int
		data, want string
	}{
		{0, `[{"bn":"a/","n":"t","v":1},{"n":"h","v":2}]`, `[{"bn":"a/","n":"t","v":1},{"n":"h","v":2}]`},
		{5, `[{"bn":"a/","n":"t","v":1},{"n":"p","v":3}]`, `[{"bn":"a/","n":"p","v":3}]`},
		{6, `[{"bn":"a/","n":"t","v":1},{"n":"p","v":3}]`, `drop`},
		{10, `[{"bn":"a/","n":"t","v":1},{"n":"p","v":3}]`, `[{"bn":"a/","n":"t","v":1}]`},
		// Within one pack all come at once, whatever their times.
		{30, `[{"n":"x","t":-25,"v":1},{"n":"x","t":-16,"v":2},{"n":"x","t":-15,"v":3},{"n":"x","t":-1,"v":4}]`, `[{"n":"x","t":-25,"v":1}]`},
		// Invalid ones by their names, where they have one.
		{35, `[{"n":"y","v":null},{"n":"y","v":2},{"v":3},{"v":4},{"n":"z","v":5}]`, `[{"n":"y","v":null},{"v":3},{"n":"z","v":5}]`},
	} {
		*now = start.Add(time.Duration(c.at) * time.Second)
		m := hub.Message{Type: "reading/a", Time: start, Data: hub.Data{Bytes: []byte(c.data)}}
		if got := ask(t, f, m); got != c.want {
			t.Errorf("message %d:\ngot  %s\nwant %s", i, got, c.want)
		}
	}
	if s := f.Stats(); s != (Stats{Passed: 5, Dropped: 1, Records: 1 + 2 + 1 + 3 + 2, Invalid: 3}) {
		t.Errorf("got %+v", s)
	}
}

// Data that is no SenML pack is throttled by type.
func TestOtherDataByName(t *testing.T) {
	f := filter(t, Options{Every: 10 * time.Second, By: "name"})
	for i, c := range []struct {
		data, want string
	}{
		{`{"t":1}`, `{"t":1}`},
		{`[{"n":"a","v":1},{"n":"b"`, `drop`},
		{`[{"n":"a","v":1}]`, `[{"n":"a","v":1}]`}, // the one before was not remembered
	} {
		m := hub.Message{Type: "reading/a", Time: start, Data: hub.Data{Bytes: []byte(c.data)}}
		if got := ask(t, f, m); got != c.want {
			t.Errorf("message %d: got %s, want %s", i, got, c.want)
		}
	}
	if s := f.Stats(); s.Malformed != 2 {
		t.Errorf("got %+v", s)
	}
}

func TestMoreTypesThanMemory(t *testing.T) {
	f := filter(t, Options{Every: time.Hour, Memory: 4 << 10})
	for i := range 101 {
		if got := ask(t, f, hub.Message{Type: hub.Type(fmt.Sprint(i % 100)), Time: start, Data: hub.Data{Bytes: []byte("1")}}); got != "1" {
			t.Errorf("%d: got %s", i, got)
		}
	}
	if f.Stats().Evicted == 0 {
		t.Errorf("got %+v", f.Stats())
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{{}, {Every: -1}, {Every: 1}, {Every: time.Second, By: "user"}, {Every: time.Second, Memory: -1}} {
		if _, err := New(o); err == nil || !strings.HasPrefix(err.Error(), "throttle: ") {
			t.Errorf("%+v: got %v", o, err)
		}
	}
}

// nobody is a Carrier that ignores commands.
type nobody struct{}

func (nobody) Do(*hub.Answer, *hub.Command) {}
func (nobody) Done(*hub.Answer, error)      {}

func TestAllocations(t *testing.T) {
	for _, by := range []string{"type", "name"} {
		now, read := clock()
		f := filter(t, Options{Every: 2 * time.Second, By: by, Now: read})
		m := hub.Message{Type: "reading/a", Time: start, Data: hub.Data{Bytes: []byte(`[{"bn":"a/","n":"t","v":1},{"n":"h","v":2}]`)}}
		a := hub.NewAnswer(&m, nobody{})
		if n := testing.AllocsPerRun(1000, func() {
			*now = now.Add(time.Second)
			a.Reset(&m)
			f.Handle(a.Message(), a)
		}); n != 0 {
			t.Errorf("by %s: %v allocations a message, want 0", by, n)
		}
		if s := f.Stats(); s.Passed < 400 || s.Dropped < 400 {
			t.Errorf("by %s: got %+v", by, s)
		}
	}
}

func BenchmarkHandle(b *testing.B) {
	now, read := clock()
	f := filter(b, Options{Every: 2 * time.Second, Now: read})
	m := hub.Message{Type: "reading/a", Time: start, Data: hub.Data{Bytes: []byte(`1`)}}
	a := hub.NewAnswer(&m, nobody{})
	b.ReportAllocs()
	for b.Loop() {
		*now = now.Add(time.Second)
		a.Reset(&m)
		f.Handle(a.Message(), a)
	}
}
