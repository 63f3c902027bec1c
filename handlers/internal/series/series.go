// Package series keeps the state of filters: an LRU cache with one value for each
// series. A series is the values of one sender and SenML name, or of one sender and
// message type.
package series

import "github.com/besterhub/bester/hub"

// DefaultLimit is the number of series that a filter remembers by default. Each costs
// some 250 bytes and the length of its name.
const DefaultLimit = 4096

// An LRU is a cache with a V for each series. When it is full, a new series evicts the
// least recently used one. Finding a known series allocates nothing. The caller holds a
// lock around it.
type LRU[V any] struct {
	limit   int
	index   map[key]*entry[V]
	newest  *entry[V]
	oldest  *entry[V]
	evicted uint64
}

type key struct {
	user   hub.UserName
	server hub.ServerName
	name   string
}

type entry[V any] struct {
	key          key
	newer, older *entry[V]
	successor    *entry[V] // the entry that was used after this one the last time
	value        V
}

// New returns an LRU of at most limit series, or DefaultLimit if limit is 0 or less.
func New[V any](limit int) *LRU[V] {
	if limit <= 0 {
		limit = DefaultLimit
	}
	return &LRU[V]{limit: limit, index: make(map[key]*entry[V])}
}

// Find returns the value of a series. The first time, known is false and the value is
// zero. The pointer is valid until the next Find. The strings of from are kept; name is
// copied.
func (t *LRU[V]) Find(from hub.Address, name []byte) (v *V, known bool) {
	e := t.predict()
	if e == nil || e.key.name != string(name) || e.key.user != from.User || e.key.server != from.Server {
		e = t.index[key{from.User, from.Server, string(name)}]
	}
	if e == nil {
		return t.add(key{from.User, from.Server, string(name)}), false
	}
	return t.touch(e), true
}

// FindType is Find for a message's type. The string is kept.
func (t *LRU[V]) FindType(from hub.Address, typ hub.Type) (v *V, known bool) {
	k := key{from.User, from.Server, string(typ)}
	e := t.predict()
	if e == nil || e.key != k {
		e = t.index[k]
	}
	if e == nil {
		return t.add(k), false
	}
	return t.touch(e), true
}

// predict returns the entry that followed the newest one the last time. It is usually
// the entry that is looked for now, because sensors are read in turn and packs have the
// same names in the same order. The caller compares the key, since the entry may have
// been evicted and reused.
func (t *LRU[V]) predict() *entry[V] {
	if t.newest == nil {
		return nil
	}
	return t.newest.successor
}

// touch makes e the newest.
func (t *LRU[V]) touch(e *entry[V]) *V {
	if t.newest.successor != e {
		t.newest.successor = e
	}
	if e != t.newest {
		t.unlink(e)
		t.link(e)
	}
	return &e.value
}

// Len returns the number of series remembered.
func (t *LRU[V]) Len() int { return len(t.index) }

// Evicted returns how many series were evicted for others.
func (t *LRU[V]) Evicted() uint64 { return t.evicted }

func (t *LRU[V]) add(k key) *V {
	var e *entry[V]
	if len(t.index) < t.limit {
		e = new(entry[V])
	} else {
		e = t.oldest
		t.unlink(e)
		delete(t.index, e.key)
		t.evicted++
		*e = entry[V]{}
	}
	e.key = k
	t.index[k] = e
	if t.newest != nil {
		t.newest.successor = e
	}
	t.link(e)
	return &e.value
}

func (t *LRU[V]) link(e *entry[V]) {
	e.older, e.newer = t.newest, nil
	if t.newest != nil {
		t.newest.newer = e
	} else {
		t.oldest = e
	}
	t.newest = e
}

func (t *LRU[V]) unlink(e *entry[V]) {
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		t.newest = e.older
	}
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		t.oldest = e.newer
	}
}
