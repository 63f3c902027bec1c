package hub

import (
	"maps"
	"slices"
	"sync/atomic"
)

// A Route is the operator's pipeline: the types it takes, the handlers a message
// runs through, and where it goes then.
type Route struct {
	Match   Pattern
	Through []Handler
	To      []Address
}

// A way is a route or a handler as the table keeps it: ready to walk.
type way struct {
	through []Handler
	users   []*user   // receivers here
	servers []Address // receivers elsewhere
	routed  bool      // a route, which says itself where its messages go
}

// A table finds the way of a type. It is replaced whole when a route or handler
// comes or goes; only what it remembers of its own look-ups changes.
type table struct {
	exact    map[Type]*way
	patterns []patternWay // the most specific first

	// What patterns have been found to match, by type, so that a type seen
	// before costs one look-up. Bounded: past maxSeen a type is matched anew.
	seen atomic.Pointer[map[Type]*way]
}

type patternWay struct {
	pattern Pattern
	way     *way
}

const maxSeen = 512

func newTable(routes []Route, handlers map[Pattern]Handler, d *Directory) *table {
	t := &table{exact: make(map[Type]*way)}
	ways := make(map[Pattern]*way, len(routes)+len(handlers))
	for p, h := range handlers {
		ways[p] = &way{through: []Handler{h}}
	}
	for _, r := range routes { // a route comes before a handler of the same pattern
		w := &way{through: r.Through, routed: true}
		for _, a := range r.To {
			if a.Server == "" {
				w.users = append(w.users, d.keep(a.User))
			} else {
				w.servers = append(w.servers, a)
			}
		}
		ways[r.Match] = w
	}
	for p, w := range ways {
		if p.Exact() {
			t.exact[Type(p)] = w
		} else {
			t.patterns = append(t.patterns, patternWay{p, w})
		}
	}
	slices.SortFunc(t.patterns, func(a, b patternWay) int { return a.pattern.Compare(b.pattern) })
	t.seen.Store(&map[Type]*way{})
	return t
}

// way returns the way of a type, or nil: exact first, then the most specific pattern.
func (t *table) way(typ Type) *way {
	if w := t.exact[typ]; w != nil {
		return w
	}
	if len(t.patterns) == 0 {
		return nil
	}
	seen := t.seen.Load()
	if w := (*seen)[typ]; w != nil {
		return w
	}
	for _, pw := range t.patterns {
		if pw.pattern.Match(typ) {
			t.remember(typ, pw.way, seen)
			return pw.way
		}
	}
	return nil
}

// remember puts a copy of seen, with a look-up's result added, in its place. Where another
// goroutine was quicker, that one's copy stays and this type is matched once more.
func (t *table) remember(typ Type, w *way, seen *map[Type]*way) {
	if len(*seen) >= maxSeen {
		return
	}
	next := maps.Clone(*seen)
	next[typ] = w
	t.seen.CompareAndSwap(seen, &next)
}
