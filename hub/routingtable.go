package hub

import (
	"maps"
	"slices"
	"sync/atomic"
)

// A Route is the operator's pipeline: the types it matches, the handlers that process
// a message in turn, and the receivers it goes to then.
type Route struct {
	Match   Pattern   // the types that take the route
	Through []Handler // called one after the other, each with what the one before passes on
	To      []Address // where it goes in the end
}

// A pipeline is a route or a single handler in the form that the router executes.
type pipeline struct {
	match    Pattern
	handlers []Handler
	users    []*user   // receivers here
	servers  []Address // receivers elsewhere
}

// A routingTable maps types to pipelines. A new table replaces it when a route or
// handler is added or removed; only its cache changes.
type routingTable struct {
	exact    map[Type]*pipeline
	patterns []patternPipeline // the most specific first
	users    []*user           // pinned for it, some more than once

	// cache holds the results of pattern matching by type, so that a known type
	// costs one look-up. It is bounded: beyond maxCachedTypes a type is matched anew.
	cache atomic.Pointer[map[Type]*pipeline]
}

type patternPipeline struct {
	pattern  Pattern
	pipeline *pipeline
}

const maxCachedTypes = 512

// newRoutingTable returns the table of routes and handlers. Where several have the same
// pattern, a route takes precedence, and then the handler of the last map.
func newRoutingTable(routes []Route, d *Directory, handlers ...map[Pattern]Handler) *routingTable {
	t := &routingTable{exact: make(map[Type]*pipeline)}
	pipelines := make(map[Pattern]*pipeline)
	for _, m := range handlers {
		for p, h := range m {
			pipelines[p] = &pipeline{match: p, handlers: []Handler{h}}
		}
	}
	for _, r := range routes {
		pl := &pipeline{match: r.Match, handlers: r.Through}
		for _, a := range r.To {
			if a.Server == "" {
				u := d.pin(a.User)
				pl.users, t.users = append(pl.users, u), append(t.users, u)
			} else {
				pl.servers = append(pl.servers, a)
			}
		}
		pipelines[r.Match] = pl
	}
	for _, p := range slices.SortedFunc(maps.Keys(pipelines), Pattern.Compare) {
		if p.Exact() {
			t.exact[Type(p)] = pipelines[p]
		} else {
			t.patterns = append(t.patterns, patternPipeline{p, pipelines[p]})
		}
	}
	t.cache.Store(&map[Type]*pipeline{})
	return t
}

// lookup returns the pipeline of a type, or nil: an exact name comes first, then the most
// specific pattern.
func (t *routingTable) lookup(typ Type) *pipeline {
	if pl := t.exact[typ]; pl != nil {
		return pl
	}
	if len(t.patterns) == 0 {
		return nil
	}
	cached := t.cache.Load()
	if pl := (*cached)[typ]; pl != nil {
		return pl
	}
	for _, pp := range t.patterns {
		if pp.pattern.Match(typ) {
			t.addToCache(typ, pp.pipeline, cached)
			return pp.pipeline
		}
	}
	return nil
}

// addToCache replaces the cache with a copy that has one more result. If another
// goroutine was quicker, its copy stays, and this type is matched once more.
func (t *routingTable) addToCache(typ Type, pl *pipeline, cached *map[Type]*pipeline) {
	if len(*cached) >= maxCachedTypes {
		return
	}
	next := maps.Clone(*cached)
	next[typ] = pl
	t.cache.CompareAndSwap(cached, &next)
}
