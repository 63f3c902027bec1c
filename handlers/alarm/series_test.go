package alarm

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/besterhub/bester/hub"
)

// value makes a message with one value.
func value(typ hub.Type, name string, v float64) hub.Message {
	return hub.Message{Type: typ, From: hub.Address{User: "gateway"}, Time: start,
		Data: hub.Data{Bytes: fmt.Appendf(nil, `[{"n":"%s","v":%v}]`, name, v)}}
}

// tell gives f one value and returns r for an alarm raised, c for one cleared, . for none.
func tell(t *testing.T, f *Filter, m hub.Message) string {
	t.Helper()
	alarms, err := ask(t, f, m)
	if err != nil {
		t.Fatalf("%s: %v", m.Data.Bytes, err)
	}
	var b strings.Builder
	for _, a := range alarms {
		if strings.Contains(a, `"vb":true`) {
			b.WriteByte('r')
		} else {
			b.WriteByte('c')
		}
	}
	if b.Len() == 0 {
		return "."
	}
	return b.String()
}

// Two sensors of one account that call their values the same do not clear each other's alarm.
func TestTypesApart(t *testing.T) {
	f := filter(t, Options{Name: "temperature", Above: at(75), Clear: at(70)})
	for i, c := range []struct {
		typ  hub.Type
		v    float64
		want string
	}{{"reading/kitchen", 80, "r"}, {"reading/cellar", 20, "."}, {"reading/kitchen", 81, "."}, {"reading/cellar", 80, "r"}, {"reading/kitchen", 69, "c"}} {
		if got := tell(t, f, value(c.typ, "temperature", c.v)); got != c.want {
			t.Errorf("message %d: got %s, want %s", i, got, c.want)
		}
	}
}

// Only the time that passes counts, whatever the readings say, however their sender's
// clock jumps.
func TestOnlyTimeThatPassesCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := filter(t, Options{Name: "x", Above: at(10), For: time.Minute, Repeat: time.Hour})
		send := func(stamp int64) string {
			m := value("reading", "x", 11)
			m.Time = time.Unix(stamp, 0)
			m.Data.Bytes = fmt.Appendf(nil, `[{"n":"x","t":%d,"v":11}]`, stamp)
			return tell(t, f, m)
		}
		for i, c := range []struct {
			wait  time.Duration
			stamp int64
			want  string
		}{
			{0, 1_700_000_000, "."}, {time.Second, 1_800_000_000, "."}, {time.Second, 1_600_000_000, "."},
			{0, 1_600_000_060, "."}, {0, 1_600_000_120, "."}, // late readings, all at once
			{57 * time.Second, 1_500_000_000, "."}, {time.Second, 1_400_000_000, "r"},
			{time.Second, 1_900_000_000, "."}, {time.Second, 1_300_000_000, "."}, {time.Hour, 1_300_000_000, "r"},
		} {
			time.Sleep(c.wait)
			if got := send(c.stamp); got != c.want {
				t.Errorf("reading %d: got %s, want %s", i, got, c.want)
			}
		}
	})
}

// The hub's own clock is set: what counts is the monotonic one.
func TestTheHubsClockIsSet(t *testing.T) {
	f := filter(t, Options{Name: "x", Above: at(10), For: 24 * time.Hour})
	for range 3 {
		m := value("reading", "x", 11)
		m.Time = m.Time.Add(48 * time.Hour)
		if got := tell(t, f, m); got != "." {
			t.Errorf("got %s", got)
		}
	}
	if f.elapsed() >= 24*time.Hour || !strings.Contains(f.start.String(), " m=") {
		t.Errorf("%v have passed since %v, without the monotonic clock", f.elapsed(), f.start)
	}
}

// More names than there is memory for: no alarm is forgotten and raised again, no new one
// is raised that would be forgotten, and the counters and the log tell.
func TestMoreNamesThanMemory(t *testing.T) {
	var log strings.Builder
	f := filter(t, Options{Name: "x", Above: at(10), Memory: 8 << 10, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if got := tell(t, f, value("reading", "kitchen/x", 11)); got != "r" {
		t.Fatalf("got %s", got)
	}
	for i := range 200 { // not in alarm
		if got := tell(t, f, value("reading", fmt.Sprint(i, "/x"), 1)); got != "." {
			t.Fatalf("got %s", got)
		}
	}
	if got := tell(t, f, value("reading", "kitchen/x", 12)); got != "." {
		t.Errorf("got %s: its alarm was forgotten", got)
	}
	s := f.Stats()
	if s.Evicted == 0 || s.Unwatched != 0 || strings.Count(log.String(), "\n") != 1 {
		t.Errorf("got %+v, log %s", s, &log)
	}
	raised := ""
	for i := range 200 { // all in alarm
		if tell(t, f, value("reading", fmt.Sprint(i, "/x"), 11)) == "r" {
			raised += fmt.Sprint(i, " ")
		}
	}
	s = f.Stats()
	if s.Raised+s.Unwatched != 201 || s.Unwatched == 0 || s.Raised == 0 {
		t.Errorf("got %+v", s)
	}
	for i := range 200 { // each once, however often they come
		tell(t, f, value("reading", fmt.Sprint(i, "/x"), 11))
	}
	if again := f.Stats(); again.Raised != s.Raised || again.Unwatched != 2*s.Unwatched {
		t.Errorf("got %+v after %+v", again, s)
	}
	// Where one ends there is room for another.
	if got := tell(t, f, value("reading", "kitchen/x", 1)); got != "c" {
		t.Errorf("got %s", got)
	}
	if got := tell(t, f, value("reading", "late/x", 11)); got != "r" {
		t.Errorf("got %s", got)
	}
}

// Names that the filter does not watch take none of its memory.
func TestOthersTakeNoMemory(t *testing.T) {
	f := filter(t, Options{Name: "x", Above: at(10)})
	for i := range 100 {
		tell(t, f, value("reading", fmt.Sprint("other", i), 11))
	}
	if n := f.states.Len(); n != 0 {
		t.Errorf("%d names are remembered", n)
	}
}

// An invalid record costs no other, whichever stands first. Where it may be what is
// watched, the sender is told.
func TestInvalidRecords(t *testing.T) {
	for _, c := range []struct {
		data, err string
	}{
		{`[{"n":"a/humidity","v":null},{"n":"a/temperature","v":99}]`, ""},
		{`[{"n":"a/temperature","v":99},{"n":"a/humidity","v":null}]`, ""},
		{`[{"n":"a/temperature","v":99},{"n":"b/temperature","v":null}]`, `alarm: "temperature" cannot be watched: record 2: field "v": want a number`},
		{`[{"n":"b/temperature","v":"98"},{"n":"a/temperature","v":99}]`, `alarm: "temperature" cannot be watched: record 1: field "v": want a number`},
		{`[null,{"n":"a/temperature","v":99}]`, `alarm: "temperature" cannot be watched: record 1: byte 1: want '{', not 'n'`},
	} {
		f := filter(t, Options{Name: "temperature", Above: at(75)})
		alarms, err := ask(t, f, hub.Message{Type: "reading/a", Time: start, Data: hub.Data{Bytes: []byte(c.data)}})
		if len(alarms) != 1 || fmt.Sprint(err) != fmt.Sprint(c.err) && (err != nil || c.err != "") {
			t.Errorf("%s: got %q, %v; want 1 alarm, %s", c.data, alarms, err, c.err)
		}
		if s := f.Stats(); s.Invalid != 1 || s.Malformed != 0 {
			t.Errorf("%s: got %+v", c.data, s)
		}
	}
}
