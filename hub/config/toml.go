package config

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// origin is how a TOML table was defined. It decides what may still be added to the table.
type origin uint8

const (
	implicit   origin = iota // a parent in the [header] of another table: may still get its own header
	explicit                 // has had its [header]
	dotted                   // defined by a dotted key: may get more dotted keys
	inline                   // { … }: nothing may be added
	arrayTable               // [[header]]
)

// A tomlBuilder builds the tree of a TOML document. go-toml's parser does the syntax. The
// rules for duplicate keys and tables are implemented here, so that errors can have the
// position of the duplicate.
type tomlBuilder struct {
	parser unstable.Parser
	root   *table
}

// positionError is an error with its offset in the file.
type positionError struct {
	at  int
	err error
}

func (m *positionError) Error() string { return m.err.Error() }

func errorAt(at int, format string, args ...any) error {
	return &positionError{at, fmt.Errorf(format, args...)}
}

// parseTOML returns the document's root. Its error is a *positionError.
func parseTOML(data []byte) (*table, error) {
	t := &tomlBuilder{root: &table{origin: explicit}}
	p := &t.parser
	p.Reset(data)
	current := t.root
	for p.NextExpression() {
		e := p.Expression()
		var err error
		switch e.Kind {
		case unstable.Table:
			current, err = t.header(e, false)
		case unstable.ArrayTable:
			current, err = t.header(e, true)
		default:
			err = t.keyValue(current, e, 0)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := p.Error(); err != nil {
		var pe *unstable.ParserError
		if errors.As(err, &pe) && len(pe.Highlight) > 0 {
			return nil, errorAt(int(p.Range(pe.Highlight).Offset), "%s", rephrase(pe.Message))
		}
		return nil, errorAt(0, "%s", rephrase(err.Error()))
	}
	return t.root, nil
}

// header opens the table of a [header] or [[header]].
func (t *tomlBuilder) header(e *unstable.Node, array bool) (*table, error) {
	current, depth := t.root, 0
	for it := e.Key(); it.Next(); depth++ {
		k, at, name := it.Node(), int(it.Node().Raw.Offset), string(it.Node().Data)
		if depth == maxDepth {
			return nil, errorAt(at, "%q: more than %d tables deep", name, maxDepth)
		}
		n := current.get(name)
		if k.Next() != nil { // not the last part of the key
			switch {
			case n == nil:
				next := &table{origin: implicit}
				current.add(name, at, &node{at, next})
				current = next
			case openTable(n) == nil:
				return nil, errorAt(at, "%q is not a table that can be added to", name)
			default:
				current = openTable(n)
			}
			continue
		}
		next := &table{origin: explicit}
		switch {
		case array && n == nil:
			next.origin = arrayTable
			current.add(name, at, &node{at, []*node{{at, next}}})
		case array:
			list, ok := n.value.([]*node)
			if !ok || openTable(n) == nil {
				return nil, errorAt(at, "[[%s]]: %q is no list of tables", name, name)
			}
			next.origin = arrayTable
			n.value = append(list, &node{at, next})
		case n == nil:
			current.add(name, at, &node{at, next})
		default:
			old, ok := n.value.(*table)
			if !ok || old.origin != implicit {
				return nil, errorAt(at, "%q is there twice", name)
			}
			old.origin = explicit
			return old, nil
		}
		return next, nil
	}
	return current, nil
}

// openTable returns the table to which a header below n adds: n itself, or the last element
// if n is a list of [[tables]]. It returns nil if n is neither, or is an inline table.
func openTable(n *node) *table {
	switch v := n.value.(type) {
	case *table:
		if v.origin != inline {
			return v
		}
	case []*node:
		if len(v) > 0 {
			if last, ok := v[len(v)-1].value.(*table); ok && last.origin == arrayTable {
				return last
			}
		}
	}
	return nil
}

// keyValue adds "a.b = value" to a table.
func (t *tomlBuilder) keyValue(to *table, e *unstable.Node, depth int) error {
	after := 0
	var name string
	var at int
	for it := e.Key(); it.Next(); depth++ {
		k := it.Node()
		name, at, after = string(k.Data), int(k.Raw.Offset), int(k.Raw.Offset+k.Raw.Length)
		if depth >= maxDepth {
			return errorAt(at, "%q: more than %d tables deep", name, maxDepth)
		}
		if k.Next() == nil {
			break
		}
		switch n := to.get(name); {
		case n == nil:
			next := &table{origin: dotted}
			to.add(name, at, &node{at, next})
			to = next
		default:
			next, ok := n.value.(*table)
			if !ok || next.origin != dotted {
				return errorAt(at, "%q is there twice", name)
			}
			to = next
		}
	}
	if to.get(name) != nil {
		return errorAt(at, "%q is there twice", name)
	}
	n, err := t.value(e.Value(), t.valueOffset(after), depth+1)
	if err != nil {
		return err
	}
	to.add(name, at, n)
	return nil
}

// valueOffset returns the offset of the value after a key. It is needed for lists, for which
// go-toml has no offset.
func (t *tomlBuilder) valueOffset(at int) int {
	data := t.parser.Data()
	for at < len(data) && strings.IndexByte(" \t=", data[at]) >= 0 {
		at++
	}
	return at
}

// value makes a node of a value. at is its offset if go-toml has none.
func (t *tomlBuilder) value(v *unstable.Node, at, depth int) (*node, error) {
	if v.Raw.Length > 0 {
		at = int(v.Raw.Offset)
	}
	if depth > maxDepth {
		return nil, errorAt(at, "more than %d tables and lists deep", maxDepth)
	}
	n := &node{at: at}
	switch v.Kind {
	case unstable.String:
		n.value = string(v.Data)
	case unstable.Bool:
		n.value = string(v.Data) == "true"
	case unstable.Integer:
		i, err := strconv.ParseInt(string(v.Data), 0, 64)
		if errors.Is(err, strconv.ErrSyntax) { // such as a sign before 0x, which TOML does not allow
			return nil, errorAt(at, "%s: not a number", v.Data)
		} else if err != nil {
			return nil, errorAt(at, "%s: a whole number has at most 63 bits", v.Data)
		}
		n.value = i
	case unstable.Float:
		n.value = unsupported(v.Data) // stays if it is inf or nan
		if bytes.IndexByte(v.Data, 'n') < 0 {
			f, err := strconv.ParseFloat(strings.ReplaceAll(string(v.Data), "_", ""), 64)
			if err != nil {
				return nil, errorAt(at, "%s: not a number that fits 64 bits", v.Data)
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
		in := &table{origin: explicit}
		for it := v.Children(); it.Next(); {
			if err := t.keyValue(in, it.Node(), depth); err != nil {
				return nil, err
			}
		}
		in.seal()
		n.value = in
	default:
		n.value = unsupported("a date")
	}
	return n, nil
}

// seal marks an inline table, and the tables of its dotted keys, as complete.
func (t *table) seal() {
	t.origin = inline
	for _, e := range t.entries {
		if in, ok := e.node.value.(*table); ok && in.origin == dotted {
			in.seal()
		}
	}
}
