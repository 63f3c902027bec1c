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
type pipeline struct {
	handlers []Handler
	users    []*user   // receivers here
	servers  []Address // receivers elsewhere
}

// A table finds the way of a type. It is replaced whole when a route or handler
// comes or goes; only what it remembers of its own look-ups changes.
type routingTable struct {
	exact    map[Type]*pipeline
	patterns []patternPipeline // the most specific first

	// What patterns have been found to match, by type, so that a type seen
	// before costs one look-up. Bounded: past maxSeen a type is matched anew.
	cache atomic.Pointer[map[Type]*pipeline]
}

type patternPipeline struct {
	pattern  Pattern
	pipeline *pipeline
}

const maxCachedTypes = 512

func newRoutingTable(routes []Route, handlers map[Pattern]Handler, d *Directory) *routingTable {
	t := &routingTable{exact: make(map[Type]*pipeline)}
	pipelines := make(map[Pattern]*pipeline, len(routes)+len(handlers))
	for p, h := range handlers {
		pipelines[p] = &pipeline{handlers: []Handler{h}}
	}
	for _, r := range routes { // a route comes before a handler of the same pattern
		w := &pipeline{handlers: r.Through}
		for _, a := range r.To {
			if a.Server == "" {
				w.users = append(w.users, d.pin(a.User))
			} else {
				w.servers = append(w.servers, a)
			}
		}
		pipelines[r.Match] = w
	}
	for p, w := range pipelines {
		if p.Exact() {
			t.exact[Type(p)] = w
		} else {
			t.patterns = append(t.patterns, patternPipeline{p, w})
		}
	}
	slices.SortFunc(t.patterns, func(a, b patternPipeline) int { return a.pattern.Compare(b.pattern) })
	t.cache.Store(&map[Type]*pipeline{})
	return t
}

// way returns the way of a type, or nil: exact first, then the most specific pattern.
func (t *routingTable) lookup(typ Type) *pipeline {
	if w := t.exact[typ]; w != nil {
		return w
	}
	if len(t.patterns) == 0 {
		return nil
	}
	cached := t.cache.Load()
	if w := (*cached)[typ]; w != nil {
		return w
	}
	for _, pw := range t.patterns {
		if pw.pattern.Match(typ) {
			t.addToCache(typ, pw.pipeline, cached)
			return pw.pipeline
		}
	}
	return nil
}

// remember puts a copy of seen, with a look-up's result added, in its place. Where another
// goroutine was quicker, that one's copy stays and this type is matched once more.
func (t *routingTable) addToCache(typ Type, w *pipeline, cached *map[Type]*pipeline) {
	if len(*cached) >= maxCachedTypes {
		return
	}
	next := maps.Clone(*cached)
	next[typ] = w
	t.cache.CompareAndSwap(cached, &next)
}
