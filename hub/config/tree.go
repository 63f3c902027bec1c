package config

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// A node is one value of a file, in either format, with its position.
type node struct {
	at    int // offset of the value's first byte
	value any // string, int64, float64, bool, []*node, *table, unsupported, or nil for JSON's null
}

// unsupported is a value of a type that no key accepts, described for errors: "a date".
type unsupported string

// A table is a TOML table or JSON object, with its keys in the order of the file.
type table struct {
	entries []entry
	index   map[string]int
	origin  origin
}

type entry struct {
	key  string
	at   int // offset of the key
	node *node
}

// maxDepth is how deep tables and lists may be nested. It bounds recursion.
const maxDepth = 32

// add adds a key to the table. The caller has checked that it is new.
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

// String writes the value for an error: short, on one line.
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

// plain returns the value in Go's own types, as Options and Admin.Info hold it. If it has
// an unsupported value, plain returns that node as the second result.
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

// key returns the path of a key or element below p, in memory of its own.
func (p path) key(k string) path { return append(p[:len(p):len(p)], k) }

func (p path) index(i int) path { return p.key("#" + strconv.Itoa(i)) }

// id returns the path as a key for maps.
func (p path) id() string { return strings.Join(p, "\x00") }

// A source converts offsets in a file to lines and columns.
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
