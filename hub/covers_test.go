package hub_test

import (
	"testing"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/hubtest"
)

// Covers says what Match says of all types together.
func TestCoversIsWhatMatchSays(t *testing.T) {
	types := hubtest.Combine([]string{"a", "b", "z"}, 4)
	var patterns []hub.Pattern
	for _, s := range hubtest.Combine([]string{"a", "b", "+", "#"}, 3) {
		if p, err := hub.ParsePattern(s); err == nil {
			patterns = append(patterns, p)
		}
	}
	yes := 0
	for _, p := range patterns {
		for _, q := range patterns {
			want := true
			for _, typ := range types {
				if q.Match(hub.Type(typ)) && !p.Match(hub.Type(typ)) {
					want = false
					break
				}
			}
			if got := p.Covers(q); got != want {
				t.Errorf("%q covers %q: %v, want %v", p, q, got, want)
			}
			if want {
				yes++
			}
		}
	}
	if len(patterns) < 50 || yes < len(patterns) {
		t.Errorf("%d patterns, %d pairs covered: the test compares too little", len(patterns), yes)
	}
}
