// Package series is the memory that filters have: for each sender and SenML name
// (or message type) a little state, bounded in number, with the least recently
// used given up for a new one.
package series

import "github.com/besterhub/bester/hub"

// DefaultLimit is how many series a filter remembers if nobody says otherwise. Each
// costs some 250 bytes and the length of its name.
const DefaultLimit = 4096

// A Table remembers a V for each series. Finding one that is known allocates
// nothing. It belongs to whoever holds the lock around it.
type Table[V any] struct {
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
	then         *entry[V] // what was looked for after this one, the last time
	value        V
}

// New returns a Table of at most limit series; DefaultLimit if it is 0 or less.
func New[V any](limit int) *Table[V] {
	if limit <= 0 {
		limit = DefaultLimit
	}
	return &Table[V]{limit: limit, index: make(map[key]*entry[V])}
}

// Find returns what is remembered of a series; known is false, and the V zero, the
// first time. The pointer is good until the next Find. from's strings are kept,
// name is copied.
func (t *Table[V]) Find(from hub.Address, name []byte) (v *V, known bool) {
	e := t.guess()
	if e == nil || e.key.name != string(name) || e.key.user != from.User || e.key.server != from.Server {
		e = t.index[key{from.User, from.Server, string(name)}]
	}
	if e == nil {
		return t.add(key{from.User, from.Server, string(name)}), false
	}
	return t.use(e), true
}

// FindType is Find for a message's type, which is kept.
func (t *Table[V]) FindType(from hub.Address, typ hub.Type) (v *V, known bool) {
	k := key{from.User, from.Server, string(typ)}
	e := t.guess()
	if e == nil || e.key != k {
		e = t.index[k]
	}
	if e == nil {
		return t.add(k), false
	}
	return t.use(e), true
}

// guess returns what was looked for after the newest the last time, which is mostly
// what is looked for now: sensors are read in turn, and packs have the same names in
// the same order. An entry that was given up meanwhile has another key.
func (t *Table[V]) guess() *entry[V] {
	if t.newest == nil {
		return nil
	}
	return t.newest.then
}

// use makes e the newest.
func (t *Table[V]) use(e *entry[V]) *V {
	if t.newest.then != e {
		t.newest.then = e
	}
	if e != t.newest {
		t.unlink(e)
		t.link(e)
	}
	return &e.value
}

// Len returns the number of series remembered.
func (t *Table[V]) Len() int { return len(t.index) }

// Evicted returns how many series were given up for others.
func (t *Table[V]) Evicted() uint64 { return t.evicted }

func (t *Table[V]) add(k key) *V {
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
		t.newest.then = e
	}
	t.link(e)
	return &e.value
}

func (t *Table[V]) link(e *entry[V]) {
	e.older, e.newer = t.newest, nil
	if t.newest != nil {
		t.newest.newer = e
	} else {
		t.oldest = e
	}
	t.newest = e
}

func (t *Table[V]) unlink(e *entry[V]) {
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
