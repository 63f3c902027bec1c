package hub

import (
	"maps"
	"sync"
	"sync/atomic"
)

// lookups caches what the router does with each type, so that a known type costs one
// look-up, however many routes and subscriptions there are. New lookups replace it when
// any of these change.
type lookups struct {
	table *routingTable

	known atomic.Pointer[map[Type]*pipeline] // never changed, but replaced
	mu    sync.Mutex
	fresh map[Type]*pipeline // those not in known yet
	asked int                // how often fresh was asked since known was replaced
	lists map[subscriberSet][]subscriber
	made  int // entries in lists, and in those made for one type
}

// maxLookups is how many types lookups keep. Where more are used, they begin anew.
const maxLookups = 8192

// maxListed is how many subscribers all lists of subscribers may have together before they
// begin anew.
const maxListed = 32 << 10

func newLookups(t *routingTable) *lookups {
	l := &lookups{table: t}
	l.known.Store(new(map[Type]*pipeline))
	return l
}

// lookup returns the pipeline of a type, nil if there is neither a route nor a handler nor a
// subscriber.
func (l *lookups) lookup(typ Type, r *Router) *pipeline {
	if pl, ok := (*l.known.Load())[typ]; ok {
		return pl
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	pl, ok := l.fresh[typ]
	if !ok {
		pl = l.find(typ, r)
		if l.fresh == nil {
			l.fresh = make(map[Type]*pipeline)
		}
		l.fresh[typ] = pl
	}
	known := *l.known.Load()
	full := len(known)+len(l.fresh) > maxLookups || l.made > maxListed
	if l.asked++; full || l.asked > len(known) { // so a type is copied a few times on average, however many follow
		if full {
			known, l.lists, l.made = nil, nil, 0
		}
		next := make(map[Type]*pipeline, len(known)+len(l.fresh))
		maps.Copy(next, known)
		maps.Copy(next, l.fresh)
		l.known.Store(&next)
		l.fresh, l.asked = nil, 0
	}
	return pl
}

// find returns the pipeline of a type, with its subscribers and its last value. The caller
// holds mu.
func (l *lookups) find(typ Type, r *Router) *pipeline {
	pl := l.table.lookup(typ)
	if l.lists == nil {
		l.lists = make(map[subscriberSet][]subscriber)
	}
	subscribers, made := r.subscriptions.of(typ, pl, l.lists)
	l.made += made
	if pl == nil && len(subscribers) == 0 {
		return nil
	}
	last := r.lastValues.of(typ)
	if len(subscribers) == 0 && last == nil {
		return pl
	}
	of := new(pipeline)
	if pl != nil {
		*of = *pl
	}
	of.subscribers, of.last = subscribers, last
	return of
}

// A cachedLookup is the last result of a batch's goroutine.
type cachedLookup struct {
	from     *lookups
	typ      Type
	pipeline *pipeline
}

// lookup returns the pipeline of a type, or nil. b caches the last result of its goroutine
// until it is flushed.
func (r *Router) lookup(typ Type, b *Batch) *pipeline {
	l := r.lookups.Load()
	if b == nil {
		return l.lookup(typ, r)
	}
	if b.lastLookup.from != l || b.lastLookup.typ != typ {
		b.lastLookup = cachedLookup{l, typ, l.lookup(typ, r)}
	}
	return b.lastLookup.pipeline
}

// forgetLookups has all types looked up anew.
func (r *Router) forgetLookups() {
	for {
		old := r.lookups.Load()
		if r.lookups.CompareAndSwap(old, newLookups(old.table)) {
			return
		}
	}
}
