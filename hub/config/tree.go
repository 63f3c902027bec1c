package config

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// A node is one value of a file, in either format, and where it stands.
type node struct {
	at    int // offset of the value's first byte
	value any // string, int64, float64, bool, []*node, *table, other, or nil: JSON's null
}

// other is a value that no key takes, by its name: "a date".
type other string

// A table is an object of the file, its keys in their order.
type table struct {
	entries []entry
	index   map[string]int
	made    made
}

type entry struct {
	key  string
	at   int // offset of the key
	node *node
}

// maxDepth is how deep tables and lists may be nested. It bounds the recursion
// over what a file makes us build.
const maxDepth = 32

// add puts a new key into the table. The caller has made sure that it is new.
func (t *table) add(key string, at int, n *node) {
	if t.index == nil {
		t.index = make(map[string]int)
	}
	t.index[key] = len(t.entries)
	t.entries = append(t.entries, entry{key, at, n})
}

// get returns the value of a key, or nil.
func (t *table) get(key string) *node {
	if i, ok := t.index[key]; ok {
		return t.entries[i].node
	}
	return nil
}

// String writes the value as an error quotes it: short, in one line.
func (n *node) String() string {
	switch v := n.value.(type) {
	case nil:
		return "null"
	case string:
		if len(v) > 60 {
			return fmt.Sprintf("%.40q…", v)
		}
		return strconv.Quote(v)
	case []*node:
		return "a list"
	case *table:
		return "a table"
	default:
		return fmt.Sprint(v)
	}
}

// plain returns the value in Go's own types: what Options and Admin.Info hold.
func (n *node) plain() (any, *node) {
	switch v := n.value.(type) {
	case string, int64, bool, float64:
		return v, nil
	case []*node:
		list := make([]any, 0, len(v))
		for _, e := range v {
			x, bad := e.plain()
			if bad != nil {
				return nil, bad
			}
			list = append(list, x)
		}
		return list, nil
	case *table:
		m := make(map[string]any, len(v.entries))
		for _, e := range v.entries {
			x, bad := e.node.plain()
			if bad != nil {
				return nil, bad
			}
			m[e.key] = x
		}
		return m, nil
	default:
		return nil, n
	}
}

// A path names a key by the keys that lead to it; the elements of a list by "#"
// and their index, from 0.
type path []string

// key returns the path of a key or element below p. It never shares memory with
// another path.
func (p path) key(k string) path { return append(p[:len(p):len(p)], k) }

func (p path) index(i int) path { return p.key("#" + strconv.Itoa(i)) }

// id is the path as a map's key.
func (p path) id() string { return strings.Join(p, "\x00") }

// A source is the text of a file, to say where an offset is.
type source struct {
	name  string
	lines []int // offset of each line's first byte
}

func newSource(name string, data []byte) *source {
	s := &source{name, []int{0}}
	for i, c := range data {
		if c == '\n' {
			s.lines = append(s.lines, i+1)
		}
	}
	return s
}

// position returns the line and the column, in bytes, of an offset, from 1.
func (s *source) position(at int) (line, column int) {
	line = sort.SearchInts(s.lines, at+1)
	return line, at - s.lines[line-1] + 1
}
