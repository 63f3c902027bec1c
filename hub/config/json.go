package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
)

// parseJSON returns the document's root. The document is strict JSON (RFC 8259): one object,
// without duplicate keys. The error is a *positionError.
func parseJSON(data []byte) (*table, error) {
	var whole json.RawMessage
	if err := json.Unmarshal(data, &whole); err != nil {
		var se *json.SyntaxError
		if errors.As(err, &se) {
			return nil, errorAt(max(int(se.Offset)-1, 0), "%s", rephrase(se.Error()))
		}
		return nil, errorAt(0, "%w", err)
	}
	w := &jsonBuilder{data: data, dec: json.NewDecoder(bytes.NewReader(data))}
	w.dec.UseNumber()
	n, err := w.value(0)
	if err != nil {
		return nil, err
	}
	root, ok := n.value.(*table)
	if !ok {
		return nil, errorAt(n.at, "want an object: { … }")
	}
	return root, nil
}

// A jsonBuilder makes nodes of JSON that is known to be well-formed.
type jsonBuilder struct {
	data []byte
	dec  *json.Decoder
}

// token returns the next token and its offset.
func (w *jsonBuilder) token() (json.Token, int, error) {
	at := int(w.dec.InputOffset())
	for at < len(w.data) && bytes.IndexByte([]byte(" \t\r\n,:"), w.data[at]) >= 0 {
		at++
	}
	tok, err := w.dec.Token()
	if err != nil {
		return nil, at, errorAt(at, "%w", err)
	}
	return tok, at, nil
}

func (w *jsonBuilder) value(depth int) (*node, error) {
	tok, at, err := w.token()
	if err != nil {
		return nil, err
	}
	if depth > maxDepth {
		return nil, errorAt(at, "more than %d objects and lists deep", maxDepth)
	}
	n := &node{at: at, value: tok}
	switch tok {
	case json.Delim('{'):
		n.value, err = w.object(depth)
	case json.Delim('['):
		list := []*node{}
		for err == nil && w.dec.More() {
			var e *node
			e, err = w.value(depth + 1)
			list = append(list, e)
		}
		if err == nil {
			_, _, err = w.token() // the closing bracket
		}
		n.value = list
	default:
		if num, ok := tok.(json.Number); ok {
			n.value, err = number(num, at)
		}
	}
	if err != nil {
		return nil, err
	}
	return n, nil
}

func (w *jsonBuilder) object(depth int) (*table, error) {
	t := new(table)
	for w.dec.More() {
		tok, at, err := w.token()
		if err != nil {
			return nil, err
		}
		key, _ := tok.(string)
		if t.get(key) != nil {
			return nil, errorAt(at, "%q is there twice", key)
		}
		n, err := w.value(depth + 1)
		if err != nil {
			return nil, err
		}
		t.add(key, at, n)
	}
	_, _, err := w.token() // the closing brace
	return t, err
}

func number(n json.Number, at int) (any, error) {
	if i, err := strconv.ParseInt(n.String(), 10, 64); err == nil {
		return i, nil
	}
	f, err := n.Float64()
	if err != nil {
		return nil, errorAt(at, "%s: not a number that fits 64 bits", n)
	}
	return f, nil
}
