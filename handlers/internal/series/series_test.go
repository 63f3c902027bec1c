package series

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/besterhub/bester/hub"
)

var message = &hub.Message{Type: "reading/a", From: hub.Address{User: "anna"}}

// room returns the memory that n series of message take, each with a name of so many bytes.
func room(n, name int) int {
	s := New[int](0)
	s.Find(message, make([]byte, name))
	return n * s.used
}

func TestEvictsTheLeastRecentlyUsed(t *testing.T) {
	s := New[int](room(3, 1))
	set := func(name string, v int) {
		e, _ := s.Find(message, []byte(name))
		e.Value = v
	}
	get := func(name string) (int, bool) {
		e, ok := s.index[key{"anna", "", "reading/a", name}]
		if !ok {
			return 0, false
		}
		return e.Value, true
	}
	set("a", 1)
	set("b", 2)
	set("c", 3)
	if e, known := s.Find(message, []byte("a")); !known || e.Value != 1 {
		t.Fatalf("a: got %v, %v", e.Value, known)
	}
	set("d", 4) // b is the oldest now
	if _, ok := get("b"); ok {
		t.Error("b is still there")
	}
	for name, want := range map[string]int{"a": 1, "c": 3, "d": 4} {
		if got, ok := get(name); !ok || got != want {
			t.Errorf("%s: got %d, %v, want %d", name, got, ok, want)
		}
	}
	if e, known := s.Find(message, []byte("b")); known || e.Value != 0 {
		t.Errorf("b begins with %d, %v, want 0", e.Value, known)
	}
	if s.Len() != 3 || s.Evicted() != 2 {
		t.Errorf("got %d series, %d evicted; want 3 and 2", s.Len(), s.Evicted())
	}
}

func TestSeriesAreOfSenderTypeAndName(t *testing.T) {
	s := New[int](0)
	i := 0
	for _, from := range []hub.Address{{}, {User: "a"}, {Server: "a"}, {User: "a", Server: "a"}} {
		for _, typ := range []hub.Type{"reading/a", "reading/b"} {
			for _, name := range []string{"", "a", "b"} {
				m := &hub.Message{From: from, Type: typ}
				e, known := s.Find(m, []byte(name))
				if known {
					t.Errorf("%q %s %q is known", from, typ, name)
				}
				i++
				e.Value = i
				if e, known := s.Find(m, []byte(name)); !known || e.Value != i {
					t.Errorf("%q %s %q: got %v, %v", from, typ, name, e.Value, known)
				}
			}
		}
	}
}

// Pinned series are never evicted: where only they are left, others are refused.
func TestPinned(t *testing.T) {
	s := New[int](room(3, 1))
	for _, name := range []string{"a", "b", "c"} {
		e, _ := s.Find(message, []byte(name))
		s.Pin(e, name != "b")
	}
	for _, name := range []string{"d", "e"} { // d in place of b, e in place of d
		if e, known := s.Find(message, []byte(name)); known || e == nil {
			t.Errorf("%s: got %v, %v", name, e, known)
		}
	}
	e, known := s.Find(message, []byte("e"))
	if s.Pin(e, true); !known {
		t.Error("e is not remembered")
	}
	for range 2 {
		if e, _ := s.Find(message, []byte("f")); e != nil {
			t.Error("f has room")
		}
	}
	if s.Len() != 3 || s.Evicted() != 2 || s.Refused() != 2 {
		t.Errorf("got %d series, %d evicted, %d refused; want 3, 2, 2", s.Len(), s.Evicted(), s.Refused())
	}
	e, known = s.Find(message, []byte("a"))
	if s.Pin(e, false); !known {
		t.Error("a was forgotten")
	}
	if e, _ := s.Find(message, []byte("f")); e == nil || s.Len() != 3 {
		t.Error("f has no room, though a may go")
	}
}

// Whatever the order in which series come and go, are pinned and released, and however
// long their names, each has its own value, and the memory is never more than allowed.
func TestAgainstAMap(t *testing.T) {
	limit := room(8, 10)
	s := New[int](limit)
	rnd := rand.New(rand.NewPCG(5, 6))
	var recent []string // the least recently used first; without pinned ones
	values, pinned := make(map[string]int), make(map[string]bool)
	size := func(name string) int { return room(1, len(name)) }
	used := 0
	for i := range 20000 {
		n := rnd.IntN(5)
		if rnd.IntN(4) == 0 {
			n = rnd.IntN(24)
		}
		name := fmt.Sprint(n, strings.Repeat("x", n*9))
		want, remembered := values[name]
		e, known := s.Find(message, []byte(name))
		if known != remembered || e != nil && e.Value != want {
			t.Fatalf("step %d: %.4s: got %+v, %v; want %d, %v", i, name, e, known, want, remembered)
		}
		if at := slices.Index(recent, name); at >= 0 {
			recent = slices.Delete(recent, at, at+1)
		}
		if !remembered {
			for used+size(name) > limit && len(recent) > 0 {
				used -= size(recent[0])
				delete(values, recent[0])
				recent = recent[1:]
			}
			if fits := used+size(name) <= limit; fits != (e != nil) {
				t.Fatalf("step %d: %.4s: got an entry: %v, want %v", i, name, e != nil, fits)
			}
			if e == nil {
				continue
			}
			used += size(name)
		}
		if e.Value, values[name] = i, i; rnd.IntN(10) == 0 {
			pinned[name] = !pinned[name] && rnd.IntN(3) == 0
			s.Pin(e, pinned[name])
		}
		if !pinned[name] {
			recent = append(recent, name)
		}
		if s.used != used || used > limit || s.Len() != len(values) {
			t.Fatalf("step %d: %d bytes in %d series, want %d in %d", i, s.used, s.Len(), used, len(values))
		}
	}
	if s.Evicted() == 0 || s.Refused() == 0 {
		t.Errorf("%d evicted, %d refused: nothing was tried", s.Evicted(), s.Refused())
	}
}

// A shortage is told at once, and then once an hour.
func TestShortage(t *testing.T) {
	s := New[int](room(1, 1))
	now := time.Duration(0)
	elapsed := func() time.Duration { return now }
	var log strings.Builder
	logger := slog.New(slog.NewTextHandler(&log, nil))
	told := 0
	for i := range 120 { // two hours
		s.Find(message, []byte{byte('a' + i%2)})
		shortage := s.Shortage(elapsed)
		shortage.Log(nil)
		if shortage.Log(logger); shortage.Lost > 0 {
			told++
		}
		now += time.Minute
	}
	if lines := strings.Count(log.String(), "\n"); told != 2 || lines != 2 || !strings.Contains(log.String(), "names=1 ") || !strings.Contains(log.String(), "names=60 ") {
		t.Errorf("told %d times, in %d lines, want 2: %s", told, lines, &log)
	}
}

func TestFindAllocates(t *testing.T) {
	s := New[int](0)
	names := [][]byte{[]byte("greenhouse/bme280/temperature"), []byte("greenhouse/bme280/humidity"), nil}
	i := 0
	if n := testing.AllocsPerRun(100, func() {
		s.Find(message, names[i%3])
		i++
	}); n != 0 {
		t.Errorf("%v allocations to find a series, want 0", n)
	}
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		want, name string
		ok         bool
	}{
		{"temperature", "greenhouse/bme280/temperature", true},
		{"bme280/temperature", "greenhouse/bme280/temperature", true},
		{"greenhouse/bme280/temperature", "greenhouse/bme280/temperature", true},
		{"perature", "greenhouse/bme280/temperature", false},
		{"bme280", "greenhouse/bme280/temperature", false},
		{"a/temperature", "temperature", false},
		{"temperature", "", false},
	} {
		if got := Matches(c.want, c.name); got != c.ok || Matches(c.want, []byte(c.name)) != c.ok {
			t.Errorf("Matches(%q, %q) = %v, want %v", c.want, c.name, got, c.ok)
		}
	}
	if CheckName("a b") == nil || CheckName("a/b") != nil {
		t.Error("CheckName is wrong")
	}
	if CheckMemory(0) != nil || CheckMemory(MinMemory) != nil || CheckMemory(MinMemory-1) == nil || CheckMemory(-1) == nil {
		t.Error("CheckMemory is wrong")
	}
}
