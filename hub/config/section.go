package config

import (
	"fmt"
	"slices"
)

// fields is the value of a section with its own keys, such as [hub].
type fields func() []key

func (f fields) read(r *reader, p path, n *node) {
	if t := asTable(r, p, n); t != nil {
		readKeys(r, p, t, f, nil)
	}
}

func (f fields) write(w *writer, p path) {
	w.header(p, false)
	w.keys(p, f())
}

// asTable returns the table of a node. If the node is no table, it adds a problem and
// returns nil.
func asTable(r *reader, p path, n *node) *table {
	t, ok := n.value.(*table)
	if !ok {
		r.problemAt(n.at, p, fmt.Sprintf("%v: want a table", n))
	}
	return t
}

// readKeys reads a table by the schema that keys returns. Other keys go to rest; if rest is
// nil, they are unknown. keys is called again at the end, because the conditions of keys
// depend on the values that have been read.
func readKeys(r *reader, p path, t *table, keys func() []key, rest func(name string, p path, n *node)) {
	known := keys()
	for _, e := range t.entries {
		at := e.node.at
		if _, section := e.node.value.(*table); section {
			at = e.at
		}
		k := p.key(e.key)
		r.offsets[k.id()] = at
		i := slices.IndexFunc(known, func(k key) bool { return k.name == e.key })
		switch {
		case i >= 0:
			known[i].value.read(r, k, e.node)
		case rest != nil:
			rest(e.key, k, e.node)
		default:
			r.problemAt(e.at, k, "unknown key; "+suggestKey(e.key, known))
		}
	}
	for _, k := range keys() {
		if k.condition != "" && t.get(k.name) != nil {
			r.problem(p.key(k.name), "only with %s: remove it", k.condition)
		}
	}
}

// tables is the value of a list of sections, such as [[listen]].
type tables[T any] struct {
	to       *[]T
	defaults func() T // with its defaults
	keys     func(*T) []key
}

func (s tables[T]) read(r *reader, p path, n *node) {
	nodes, ok := n.value.([]*node)
	if !ok {
		r.problemAt(n.at, p, fmt.Sprintf("%v: want a list of tables: [[%v]]", n, p))
		return
	}
	for i, e := range nodes {
		v, q := s.defaults(), p.index(i)
		r.offsets[q.id()] = e.at
		if t := asTable(r, q, e); t != nil {
			readKeys(r, q, t, func() []key { return s.keys(&v) }, nil)
		}
		*s.to = append(*s.to, v)
	}
}

func (s tables[T]) write(w *writer, p path) {
	for i := range *s.to {
		w.header(p, true)
		w.keys(p, s.keys(&(*s.to)[i]))
	}
}

// named is the value of sections by name, such as [handlers.NAME].
type named[T any] struct {
	to       *[]T
	name     func(*T) *string
	check    func(string) error // of the name
	defaults func() T           // with its defaults
	keys     func(*T) []key
	extra    func(*T) *map[string]any // where the kind's own keys go; nil: there are none
}

func (s named[T]) read(r *reader, p path, n *node) {
	t := asTable(r, p, n)
	if t == nil {
		return
	}
	for _, e := range t.entries {
		v, q := s.defaults(), p.key(e.key)
		*s.name(&v) = e.key
		r.offsets[q.id()] = e.at
		if err := s.check(e.key); err != nil {
			r.problemAt(e.at, q, err.Error())
		}
		if t := asTable(r, q, e.node); t != nil {
			readKeys(r, q, t, func() []key { return s.keys(&v) }, s.options(r, &v))
		}
		*s.to = append(*s.to, v)
	}
}

func (s named[T]) options(r *reader, v *T) func(string, path, *node) {
	if s.extra == nil {
		return nil
	}
	return func(name string, p path, n *node) {
		x, bad := n.plain()
		if bad != nil {
			r.problemAt(bad.at, p, fmt.Sprintf("%v: want a string, a number, true, false, a list or a table of these", bad))
			return
		}
		m := s.extra(v)
		if *m == nil {
			*m = make(map[string]any)
		}
		(*m)[name] = x
	}
}

func (s named[T]) write(w *writer, p path) {
	for i := range *s.to {
		v := &(*s.to)[i]
		q := p.key(*s.name(v))
		w.header(q, false)
		w.keys(q, s.keys(v))
		if s.extra != nil {
			w.options(q, *s.extra(v))
		}
	}
}
