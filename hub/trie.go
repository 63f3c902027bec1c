package hub

import "strings"

// A trie holds values by pattern, one level of the pattern at each depth. Looking up a type
// costs a few steps for each of its levels, however many patterns there are. The zero value
// is empty. V's zero value stands for none.
type trie[V comparable] struct {
	children map[string]*trie[V] // by level; "+" and "#" are levels like others
	value    V                   // of the pattern that ends here
}

// at returns where the value of p is, and makes room for it if need be.
func (t *trie[V]) at(p Pattern) *V {
	for level := range strings.SplitSeq(string(p), "/") {
		next := t.children[level]
		if next == nil {
			next = new(trie[V])
			if t.children == nil {
				t.children = make(map[string]*trie[V])
			}
			t.children[level] = next
		}
		t = next
	}
	return &t.value
}

// get returns the value of p.
func (t *trie[V]) get(p Pattern) (v V) {
	for level := range strings.SplitSeq(string(p), "/") {
		if t = t.children[level]; t == nil {
			return v
		}
	}
	return t.value
}

// remove removes the value of p, and the levels that only it needed.
func (t *trie[V]) remove(p Pattern) {
	t.removeLevels(string(p), true)
}

// removeLevels removes the value below t of the levels, if there are more. It reports
// whether t holds nothing any more.
func (t *trie[V]) removeLevels(levels string, more bool) (empty bool) {
	var none V
	if !more {
		t.value = none
	} else {
		level, rest, more := strings.Cut(levels, "/")
		if next := t.children[level]; next != nil && next.removeLevels(rest, more) {
			delete(t.children, level)
		}
	}
	return t.value == none && len(t.children) == 0
}

// each calls visit for the values of all patterns that match typ, in the order of
// Pattern.Compare, until one call returns true. It reports whether one has.
func (t *trie[V]) each(typ Type, visit func(V) bool) bool {
	return t.eachLevel(string(typ), true, visit)
}

func (t *trie[V]) eachLevel(levels string, more bool, visit func(V) bool) bool {
	if t == nil {
		return false
	}
	if !more {
		return t.visit(visit) || t.children["#"].visit(visit)
	}
	level, rest, more := strings.Cut(levels, "/")
	return t.children[level].eachLevel(rest, more, visit) ||
		t.children["+"].eachLevel(rest, more, visit) ||
		t.children["#"].visit(visit)
}

func (t *trie[V]) visit(visit func(V) bool) bool {
	var none V
	return t != nil && t.value != none && visit(t.value)
}
