package hub

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestPatternMatch(t *testing.T) {
	for _, c := range []struct {
		pattern Pattern
		typ     Type
		want    bool
	}{
		{"a", "a", true},
		{"a", "b", false},
		{"a", "a/b", false},
		{"a/b", "a", false},
		{"a/b", "a/b", true},
		{"+", "a", true},
		{"+", "a/b", false},
		{"+", "", true},
		{"a/+", "a", false},
		{"a/+", "a/", true},
		{"a/+", "a/b", true},
		{"a/+", "a/b/c", false},
		{"a/+/c", "a/b/c", true},
		{"a/+/c", "a/b/d", false},
		{"#", "", true},
		{"#", "a", true},
		{"#", "a/b/c", true},
		{"a/#", "a", true},
		{"a/#", "a/b", true},
		{"a/#", "a/b/c", true},
		{"a/#", "ab", false},
		{"+/#", "a", true},
		{"+/b/#", "a/b", true},
		{"+/b/#", "a/c", false},
		{"reading/+/bme280", "reading/greenhouse/bme280", true},
	} {
		if got := c.pattern.Match(c.typ); got != c.want {
			t.Errorf("%q.Match(%q): got %v, want %v", c.pattern, c.typ, got, c.want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { Pattern("a/+/c/#").Match("a/b/c/d/e") }); n != 0 {
		t.Errorf("Match: %v allocations, want 0", n)
	}
}

func TestParsePattern(t *testing.T) {
	for _, good := range []string{"a", "a/b", "+", "#", "a/+/b", "a/#", "+/#", "a//b", "é", strings.Repeat("a", MaxType)} {
		if p, err := ParsePattern(good); err != nil || p != Pattern(good) {
			t.Errorf("ParsePattern(%q): %q, %v", good, p, err)
		}
	}
	for _, bad := range []string{"", "a+", "+a/b", "a#", "#/a", "a/#/b", "a\nb", "\x7f", "\xff", strings.Repeat("a", MaxType+1)} {
		if _, err := ParsePattern(bad); err == nil {
			t.Errorf("ParsePattern(%q): no error", bad)
		}
	}
	for _, bad := range []string{"", "+", "a/#", "a\x00"} {
		if _, err := ParseType(bad); err == nil {
			t.Errorf("ParseType(%q): no error", bad)
		}
	}
}

func TestPatternCompareSorts(t *testing.T) {
	want := []Pattern{"a/b/c", "a/b", "a/b/#", "a/+/c", "a/+", "a/+/#", "a", "a/#", "b", "+/b", "+", "+/#", "#"}
	// If a type matches two of the patterns, the first one in want is more specific.
	better := func(p, q Pattern) bool { return slices.Index(want, p) < slices.Index(want, q) }
	got := slices.Clone(want)
	for range 20 {
		rand.Shuffle(len(got), func(i, j int) { got[i], got[j] = got[j], got[i] })
		slices.SortFunc(got, Pattern.Compare)
		for i, p := range got {
			for _, q := range got[i+1:] {
				if overlap(p, q) && !better(p, q) {
					t.Fatalf("%q sorts before %q in %q", p, q, got)
				}
			}
		}
	}
}

func overlap(p, q Pattern) bool {
	for _, typ := range []Type{"a", "b", "c", "a/b", "a/c", "c/b", "a/b/c", "a/x/c", "a/b/x", "x/y/z"} {
		if p.Match(typ) && q.Match(typ) {
			return true
		}
	}
	return false
}

func FuzzPattern(f *testing.F) {
	f.Add("a/+/#", "a/b/c", "a/#")
	f.Add("+", "", "#")
	f.Fuzz(func(t *testing.T, a, typ, b string) {
		p, err := ParsePattern(a)
		if err != nil {
			return
		}
		q, err := ParsePattern(b)
		if err != nil {
			return
		}
		if p.Compare(q) != -q.Compare(p) {
			t.Errorf("Compare(%q, %q) is not antisymmetric", p, q)
		}
		if p.Exact() && p.Match(Type(typ)) != (a == typ) {
			t.Errorf("%q.Match(%q) is not equality", p, typ)
		}
		if slow := matchSlow(strings.Split(a, "/"), strings.Split(typ, "/")); p.Match(Type(typ)) != slow {
			t.Errorf("%q.Match(%q): got %v", p, typ, !slow)
		}
	})
}

// matchSlow is a simple reference implementation of Match.
func matchSlow(p, t []string) bool {
	switch {
	case len(p) == 1 && p[0] == "#":
		return true
	case len(p) == 0 || len(t) == 0:
		return len(p) == len(t)
	case p[0] != "+" && p[0] != t[0]:
		return false
	}
	return matchSlow(p[1:], t[1:])
}
