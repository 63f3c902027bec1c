package hub

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// The trie finds what Pattern.Match finds, in the order of Pattern.Compare, while patterns
// come and go.
func TestTrieFindsWhatPatternsMatch(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	pick := func(levels []string, most int) string {
		n := 1 + rng.IntN(most)
		parts := make([]string, n)
		for i := range parts {
			parts[i] = levels[rng.IntN(len(levels))]
		}
		return strings.Join(parts, "/")
	}
	var root trie[*Pattern]
	have := make(map[Pattern]bool)
	for range 20000 {
		s := pick([]string{"a", "b", "", "+", "a", "b"}, 4)
		if rng.IntN(3) == 0 {
			s += "/#"
		}
		p, err := ParsePattern(s)
		if err != nil {
			continue // the empty one
		}
		if rng.IntN(2) == 0 {
			*root.at(p) = &p
			have[p] = true
		} else {
			root.remove(p)
			delete(have, p)
		}
		typ := Type(pick([]string{"a", "b", "", "c"}, 5))
		var want, got []Pattern
		for p := range have {
			if p.Match(typ) {
				want = append(want, p)
			}
		}
		slices.SortFunc(want, Pattern.Compare)
		root.each(typ, func(p *Pattern) bool { got = append(got, *p); return false })
		if !slices.Equal(got, want) {
			t.Fatalf("type %q: got %q, want %q", typ, got, want)
		}
		if stopped := root.each(typ, func(*Pattern) bool { return true }); stopped != (len(want) > 0) {
			t.Fatalf("type %q: stopped: %v", typ, stopped)
		}
	}
	for p := range have {
		root.remove(p)
	}
	if len(root.children) != 0 {
		t.Errorf("%d levels are left of no pattern", len(root.children))
	}
}
