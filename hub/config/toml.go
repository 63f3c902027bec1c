package config

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// made says how a TOML table came to be, which decides what may still be added to it.
type made uint8

const (
	byPath   made = iota // a part of a [header] that led elsewhere: may get a header of its own
	byHeader             // has had its [header]
	byKey                // a part of a dotted key: may get more dotted keys
	inline               // { … }: complete
	byArray              // [[header]]
)

// A tree is a TOML document while it is being built. go-toml's parser does the
// syntax; which keys and tables may come twice is decided here, because only a
// tree that keeps each value's place can name it in an error.
type tree struct {
	parser unstable.Parser
	root   *table
}

// misplaced is an error with its place in the file.
type misplaced struct {
	at  int
	err error
}

func (m *misplaced) Error() string { return m.err.Error() }

func wrong(at int, format string, args ...any) error {
	return &misplaced{at, fmt.Errorf(format, args...)}
}

// parseTOML returns the document's root. Its error is a *misplaced.
func parseTOML(data []byte) (*table, error) {
	t := &tree{root: &table{made: byHeader}}
	p := &t.parser
	p.Reset(data)
	now := t.root
	for p.NextExpression() {
		e := p.Expression()
		var err error
		switch e.Kind {
		case unstable.Table:
			now, err = t.header(e, false)
		case unstable.ArrayTable:
			now, err = t.header(e, true)
		default:
			err = t.keyValue(now, e, 0)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := p.Error(); err != nil {
		var pe *unstable.ParserError
		if errors.As(err, &pe) && len(pe.Highlight) > 0 {
			return nil, wrong(int(p.Range(pe.Highlight).Offset), "%s", pe.Message)
		}
		return nil, wrong(0, "%w", err)
	}
	return t.root, nil
}

// header opens the table of a [header] or [[header]].
func (t *tree) header(e *unstable.Node, array bool) (*table, error) {
	now, depth := t.root, 0
	for it := e.Key(); it.Next(); depth++ {
		k, at, name := it.Node(), int(it.Node().Raw.Offset), string(it.Node().Data)
		if depth == maxDepth {
			return nil, wrong(at, "%q: more than %d tables deep", name, maxDepth)
		}
		n := now.get(name)
		if k.Next() != nil { // on the way
			switch {
			case n == nil:
				next := &table{made: byPath}
				now.add(name, at, &node{at, next})
				now = next
			case open(n) == nil:
				return nil, wrong(at, "%q is not a table that can be added to", name)
			default:
				now = open(n)
			}
			continue
		}
		next := &table{made: byHeader}
		switch {
		case array && n == nil:
			next.made = byArray
			now.add(name, at, &node{at, []*node{{at, next}}})
		case array:
			list, ok := n.value.([]*node)
			if !ok || open(n) == nil {
				return nil, wrong(at, "[[%s]]: %q is no list of tables", name, name)
			}
			next.made = byArray
			n.value = append(list, &node{at, next})
		case n == nil:
			now.add(name, at, &node{at, next})
		default:
			old, ok := n.value.(*table)
			if !ok || old.made != byPath {
				return nil, wrong(at, "%q is there twice", name)
			}
			old.made = byHeader
			return old, nil
		}
		return next, nil
	}
	return now, nil
}

// open returns the table that a header below n adds to: n, or the last of a list
// of [[tables]]; nil if n is neither or complete.
func open(n *node) *table {
	switch v := n.value.(type) {
	case *table:
		if v.made != inline {
			return v
		}
	case []*node:
		if len(v) > 0 {
			if last, ok := v[len(v)-1].value.(*table); ok && last.made == byArray {
				return last
			}
		}
	}
	return nil
}

// keyValue adds "a.b = value" to a table.
func (t *tree) keyValue(to *table, e *unstable.Node, depth int) error {
	after := 0
	var name string
	var at int
	for it := e.Key(); it.Next(); depth++ {
		k := it.Node()
		name, at, after = string(k.Data), int(k.Raw.Offset), int(k.Raw.Offset+k.Raw.Length)
		if depth >= maxDepth {
			return wrong(at, "%q: more than %d tables deep", name, maxDepth)
		}
		if k.Next() == nil {
			break
		}
		switch n := to.get(name); {
		case n == nil:
			next := &table{made: byKey}
			to.add(name, at, &node{at, next})
			to = next
		default:
			next, ok := n.value.(*table)
			if !ok || next.made != byKey {
				return wrong(at, "%q is there twice", name)
			}
			to = next
		}
	}
	if to.get(name) != nil {
		return wrong(at, "%q is there twice", name)
	}
	n, err := t.value(e.Value(), t.pastEqual(after), depth+1)
	if err != nil {
		return err
	}
	to.add(name, at, n)
	return nil
}

// pastEqual returns the offset of the value after a key: lists do not say theirs.
func (t *tree) pastEqual(at int) int {
	data := t.parser.Data()
	for at < len(data) && strings.IndexByte(" \t=", data[at]) >= 0 {
		at++
	}
	return at
}

// value makes a node of a value; at is its place unless it knows a better one.
func (t *tree) value(v *unstable.Node, at, depth int) (*node, error) {
	if v.Raw.Length > 0 {
		at = int(v.Raw.Offset)
	}
	if depth > maxDepth {
		return nil, wrong(at, "more than %d tables and lists deep", maxDepth)
	}
	n := &node{at: at}
	switch v.Kind {
	case unstable.String:
		n.value = string(v.Data)
	case unstable.Bool:
		n.value = string(v.Data) == "true"
	case unstable.Integer:
		i, err := strconv.ParseInt(string(v.Data), 0, 64)
		if errors.Is(err, strconv.ErrSyntax) { // a sign before 0x: TOML has none
			return nil, wrong(at, "%s: not a number", v.Data)
		} else if err != nil {
			return nil, wrong(at, "%s: a whole number has at most 63 bits", v.Data)
		}
		n.value = i
	case unstable.Float:
		n.value = other(v.Data) // inf or nan, unless
		if bytes.IndexByte(v.Data, 'n') < 0 {
			f, err := strconv.ParseFloat(strings.ReplaceAll(string(v.Data), "_", ""), 64)
			if err != nil {
				return nil, wrong(at, "%s: not a number that fits 64 bits", v.Data)
			}
			n.value = f
		}
	case unstable.Array:
		list := []*node{}
		for it := v.Children(); it.Next(); {
			e, err := t.value(it.Node(), at, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, e)
		}
		n.value = list
	case unstable.InlineTable:
		in := &table{made: byHeader}
		for it := v.Children(); it.Next(); {
			if err := t.keyValue(in, it.Node(), depth); err != nil {
				return nil, err
			}
		}
		in.seal()
		n.value = in
	default:
		n.value = other("a date")
	}
	return n, nil
}

// seal makes an inline table complete, with all that its dotted keys made.
func (t *table) seal() {
	t.made = inline
	for _, e := range t.entries {
		if in, ok := e.node.value.(*table); ok && in.made == byKey {
			in.seal()
		}
	}
}
