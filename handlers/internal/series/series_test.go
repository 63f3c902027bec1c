package series

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/besterhub/bester/hub"
)

var anna = hub.Address{User: "anna"}

func TestEvictsTheLeastRecentlyUsed(t *testing.T) {
	s := New[int](3)
	set := func(name string, v int) {
		p, _ := s.Find(anna, []byte(name))
		*p = v
	}
	get := func(name string) (int, bool) {
		e, ok := s.index[key{"anna", "", name}]
		if !ok {
			return 0, false
		}
		return e.value, true
	}
	set("a", 1)
	set("b", 2)
	set("c", 3)
	if v, known := s.Find(anna, []byte("a")); !known || *v != 1 {
		t.Fatalf("a: got %v, %v", *v, known)
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
	if v, known := s.Find(anna, []byte("b")); known || *v != 0 {
		t.Errorf("b begins with %d, %v, want 0", *v, known)
	}
	if s.Len() != 3 || s.Evicted() != 2 {
		t.Errorf("got %d series, %d evicted; want 3 and 2", s.Len(), s.Evicted())
	}
}

func TestSeriesAreOfSenderAndName(t *testing.T) {
	s := New[int](0)
	for i, from := range []hub.Address{{}, {User: "a"}, {Server: "a"}, {User: "a", Server: "a"}} {
		v, known := s.Find(from, []byte("n"))
		if known {
			t.Errorf("%q is known", from)
		}
		*v = i
		if w, known := s.FindType(from, "n"); !known || *w != i {
			t.Errorf("%q: got %v, %v", from, *w, known)
		}
	}
}

func TestLimitOfOne(t *testing.T) {
	s := New[int](1)
	for i := range 10 {
		if _, known := s.FindType(anna, hub.Type(fmt.Sprint(i))); known {
			t.Error("known")
		}
		if _, known := s.FindType(anna, hub.Type(fmt.Sprint(i))); !known {
			t.Error("not known")
		}
	}
	if s.Len() != 1 || s.newest != s.oldest {
		t.Errorf("got %d series", s.Len())
	}
}

// Whatever the order in which series come and go, each has its own value.
func TestAgainstAMap(t *testing.T) {
	const limit = 8
	s := New[int](limit)
	rnd := rand.New(rand.NewPCG(5, 6))
	var recent []string // the least recently used first
	values := make(map[string]int)
	for i := range 20000 {
		name := fmt.Sprint(i % 5)
		if rnd.IntN(4) == 0 {
			name = fmt.Sprint(rnd.IntN(3 * limit))
		}
		at := slices.Index(recent, name)
		v, known := s.Find(anna, []byte(name))
		if known != (at >= 0) || *v != values[name] {
			t.Fatalf("step %d: %s: got %d, %v; want %d, %v", i, name, *v, known, values[name], at >= 0)
		}
		if at >= 0 {
			recent = slices.Delete(recent, at, at+1)
		} else if len(recent) == limit {
			delete(values, recent[0])
			recent = recent[1:]
		}
		recent = append(recent, name)
		*v, values[name] = i, i
	}
	if s.Len() != limit || s.Evicted() == 0 {
		t.Errorf("got %d series, %d evicted", s.Len(), s.Evicted())
	}
}

func TestFindAllocates(t *testing.T) {
	s := New[int](10)
	names := [][]byte{[]byte("greenhouse/bme280/temperature"), []byte("greenhouse/bme280/humidity")}
	i := 0
	if n := testing.AllocsPerRun(100, func() {
		s.Find(anna, names[i%2])
		s.FindType(anna, "reading/greenhouse")
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
	} {
		if got := Matches(c.want, c.name); got != c.ok {
			t.Errorf("Matches(%q, %q) = %v, want %v", c.want, c.name, got, c.ok)
		}
	}
	if CheckName("a b") == nil || CheckName("a/b") != nil {
		t.Error("CheckName is wrong")
	}
}
