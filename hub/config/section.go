package config

import (
	"fmt"
	"slices"
)

// fields is a section's own keys as a value: the table behind [hub].
type fields func() []key

func (f fields) read(r *reader, p path, n *node) {
	if t := tableOf(r, p, n); t != nil {
		readKeys(r, p, t, f, nil)
	}
}

func (f fields) write(w *writer, p path) {
	w.header(p, false)
	w.keys(p, f())
}

// tableOf returns the table of a node, or notes that it is none.
func tableOf(r *reader, p path, n *node) *table {
	t, ok := n.value.(*table)
	if !ok {
		r.wrong(n.at, p, fmt.Sprintf("%v: want a table", n))
	}
	return t
}

// readKeys reads a table by its keys. Keys that are not among them go to rest,
// or are unknown where it is nil. Keys are asked for again at the end: whether
// they had a meaning depends on what has been read.
func readKeys(r *reader, p path, t *table, keys func() []key, rest func(name string, p path, n *node)) {
	known := keys()
	for _, e := range t.entries {
		at := e.node.at
		if _, section := e.node.value.(*table); section {
			at = e.at
		}
		k := p.key(e.key)
		r.places[k.id()] = at
		i := slices.IndexFunc(known, func(k key) bool { return k.name == e.key })
		switch {
		case i >= 0:
			known[i].value.read(r, k, e.node)
		case rest != nil:
			rest(e.key, k, e.node)
		default:
			r.wrong(e.at, k, "unknown key; "+instead(e.key, known))
		}
	}
	for _, k := range keys() {
		if k.only != "" && t.get(k.name) != nil {
			r.problem(p.key(k.name), "only with %s: remove it", k.only)
		}
	}
}

// instead says what an unknown key may have been meant to be.
func instead(name string, known []key) string {
	names := make([]string, len(known))
	for i, k := range known {
		names[i] = k.name
	}
	if n := nearest(name, names); n != "" {
		return fmt.Sprintf("did you mean %s?", n)
	}
	return "want " + or(names)
}

// A tables value is a list of sections: [[listen]].
type tables[T any] struct {
	to    *[]T
	fresh func() T // with its defaults
	keys  func(*T) []key
}

func (s tables[T]) read(r *reader, p path, n *node) {
	nodes, ok := n.value.([]*node)
	if !ok {
		r.wrong(n.at, p, fmt.Sprintf("%v: want a list of tables: [[%v]]", n, p))
		return
	}
	for i, e := range nodes {
		v, q := s.fresh(), p.index(i)
		r.places[q.id()] = e.at
		if t := tableOf(r, q, e); t != nil {
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

// A named value is sections by name: [handlers.NAME].
type named[T any] struct {
	to    *[]T
	name  func(*T) *string
	check func(string) error // of the name
	fresh func() T           // with its defaults
	keys  func(*T) []key
	rest  func(*T) *map[string]any // where keys of its kind go; nil: it has none
}

func (s named[T]) read(r *reader, p path, n *node) {
	t := tableOf(r, p, n)
	if t == nil {
		return
	}
	for _, e := range t.entries {
		v, q := s.fresh(), p.key(e.key)
		*s.name(&v) = e.key
		r.places[q.id()] = e.at
		if err := s.check(e.key); err != nil {
			r.wrong(e.at, q, err.Error())
		}
		if t := tableOf(r, q, e.node); t != nil {
			readKeys(r, q, t, func() []key { return s.keys(&v) }, s.options(r, &v))
		}
		*s.to = append(*s.to, v)
	}
}

func (s named[T]) options(r *reader, v *T) func(string, path, *node) {
	if s.rest == nil {
		return nil
	}
	return func(name string, p path, n *node) {
		x, bad := n.plain()
		if bad != nil {
			r.wrong(bad.at, p, fmt.Sprintf("%v: want a string, a number, true, false, a list or a table of these", bad))
			return
		}
		m := s.rest(v)
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
		if s.rest != nil {
			w.options(q, *s.rest(v))
		}
	}
}
