package config

import (
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// What can be wrong with JSON.
const (
	jsonEnds    = "the file ends too early: a } or ] is missing"
	jsonNoValue = "not a value: a string stands in double quotes; else want a number, true, false, [ … ] or { … }"
	jsonControl = `a string may have no line end or control character in it: close it, or write \n`
	jsonEscape  = `\ begins a special character, such as \n: for a backslash write \\`
)

// parseJSON returns the document's root. The document is strict JSON (RFC 8259) in UTF-8: one
// object, without duplicate keys. The error is a *positionError. It does without encoding/json,
// whose decoder would be a sixtieth of besterd.
func parseJSON(data []byte) (*table, error) {
	r := &jsonReader{data: data}
	n, err := r.value(0)
	if err != nil {
		return nil, err
	}
	if r.skipSpace(); r.i < len(data) {
		return nil, r.fail("more after the end of the file's object: remove it")
	}
	root, ok := n.value.(*table)
	if !ok {
		return nil, errorAt(n.at, "want an object: { … }")
	}
	return root, nil
}

// A jsonReader makes nodes of JSON.
type jsonReader struct {
	data []byte
	i    int // where it is
}

// fail returns an error about the next byte, or about the end if there is none.
func (r *jsonReader) fail(text string) error {
	if r.i >= len(r.data) {
		return errorAt(max(len(r.data)-1, 0), jsonEnds)
	}
	return errorAt(r.i, "%s", text)
}

// at reports whether the next byte is c.
func (r *jsonReader) at(c byte) bool { return r.i < len(r.data) && r.data[r.i] == c }

// take is at, and moves over the byte and the white space after it.
func (r *jsonReader) take(c byte) bool {
	if !r.at(c) {
		return false
	}
	r.i++
	r.skipSpace()
	return true
}

func (r *jsonReader) skipSpace() {
	for r.at(' ') || r.at('\t') || r.at('\n') || r.at('\r') {
		r.i++
	}
}

// value reads a value, and the white space before it.
func (r *jsonReader) value(depth int) (n *node, err error) {
	r.skipSpace()
	if depth > maxDepth {
		return nil, errorAt(r.i, "more than %d objects and lists deep", maxDepth)
	}
	n = &node{at: r.i}
	switch {
	case r.take('{'):
		n.value, err = r.object(depth)
	case r.take('['):
		n.value, err = r.list(depth)
	case r.at('"'):
		n.value, err = r.str()
	case r.at('t'):
		n.value, err = true, r.word("true")
	case r.at('f'):
		n.value, err = false, r.word("false")
	case r.at('n'):
		err = r.word("null")
	default:
		n.value, err = r.number()
	}
	if err != nil {
		return nil, err
	}
	return n, nil
}

// object reads an object after its opening brace.
func (r *jsonReader) object(depth int) (*table, error) {
	t := new(table)
	for more := !r.at('}'); more; {
		at := r.i
		if !r.at('"') {
			return nil, r.fail("want a key in double quotes")
		}
		key, err := r.str()
		if err != nil {
			return nil, err
		}
		if t.get(key) != nil {
			return nil, errorAt(at, "%q is there twice", key)
		}
		if r.skipSpace(); !r.take(':') {
			return nil, r.fail("want : after the key")
		}
		n, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		t.add(key, at, n)
		if more, err = r.more('}', "want , or } after the value", "a comma before }: remove it"); err != nil {
			return nil, err
		}
	}
	r.i++
	return t, nil
}

// list reads a list after its opening bracket.
func (r *jsonReader) list(depth int) ([]*node, error) {
	list := []*node{}
	for more := !r.at(']'); more; {
		n, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, n)
		if more, err = r.more(']', "want , or ] after the value", "a comma before ]: remove it"); err != nil {
			return nil, err
		}
	}
	r.i++
	return list, nil
}

// more reports whether a comma and another element follow, or the closing bracket.
func (r *jsonReader) more(closing byte, neither, both string) (bool, error) {
	r.skipSpace()
	switch comma := r.take(','); {
	case comma && r.at(closing):
		return false, r.fail(both)
	case comma:
		return true, nil
	case r.at(closing):
		return false, nil
	}
	return false, r.fail(neither)
}

func (r *jsonReader) word(w string) error {
	for i := range len(w) {
		if !r.at(w[i]) {
			return r.fail(jsonNoValue)
		}
		r.i++
	}
	return nil
}

// number reads an int64, or else a float64.
func (r *jsonReader) number() (any, error) {
	at := r.i
	if r.at('-') {
		r.i++
	}
	if r.at('0') { // stands alone
		r.i++
	} else if !r.digits() {
		return nil, r.fail(jsonNoValue)
	}
	if r.at('.') {
		r.i++
		if !r.digits() {
			return nil, r.fail(jsonNoValue)
		}
	}
	if r.at('e') || r.at('E') {
		r.i++
		if r.at('+') || r.at('-') {
			r.i++
		}
		if !r.digits() {
			return nil, r.fail(jsonNoValue)
		}
	}
	text := string(r.data[at:r.i])
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		return i, nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, errorAt(at, "%s: not a number that fits 64 bits", text)
	}
	return f, nil
}

// digits moves over digits, and reports whether there are any.
func (r *jsonReader) digits() bool {
	start := r.i
	for r.i < len(r.data) && r.data[r.i]-'0' <= 9 {
		r.i++
	}
	return r.i > start
}

// str reads a string.
func (r *jsonReader) str() (string, error) {
	r.i++
	var s []byte
	for {
		switch {
		case r.i >= len(r.data):
			return "", r.fail("")
		case r.data[r.i] < ' ':
			return "", r.fail(jsonControl)
		case r.at('"'):
			r.i++
			return string(s), nil
		case !r.at('\\'):
			s = append(s, r.data[r.i])
			r.i++
			continue
		}
		c, err := r.escape()
		if err != nil {
			return "", err
		}
		s = utf8.AppendRune(s, c)
	}
}

// escape reads what a backslash begins. Half a surrogate pair is U+FFFD.
func (r *jsonReader) escape() (rune, error) {
	r.i++
	if r.i >= len(r.data) {
		return 0, r.fail("")
	}
	c := r.data[r.i]
	if c == 'u' {
		r.i++
		first, err := r.hex4()
		if err != nil || !utf16.IsSurrogate(first) {
			return first, err
		}
		after := r.i
		if r.at('\\') && after+1 < len(r.data) && r.data[after+1] == 'u' {
			r.i += 2
			second, err := r.hex4()
			if both := utf16.DecodeRune(first, second); err != nil || both != utf8.RuneError {
				return both, err
			}
			r.i = after // it stands for itself
		}
		return utf8.RuneError, nil
	}
	for _, e := range []struct{ name, means byte }{{'"', '"'}, {'\\', '\\'}, {'/', '/'}, {'b', '\b'}, {'f', '\f'}, {'n', '\n'}, {'r', '\r'}, {'t', '\t'}} {
		if c == e.name {
			r.i++
			return rune(e.means), nil
		}
	}
	return 0, r.fail(jsonEscape)
}

// hex4 reads four hexadecimal digits.
func (r *jsonReader) hex4() (n rune, err error) {
	for range 4 {
		if r.i >= len(r.data) {
			return 0, r.fail("")
		}
		digit, err := strconv.ParseUint(string(r.data[r.i:r.i+1]), 16, 8)
		if err != nil {
			return 0, r.fail(jsonEscape)
		}
		n = n<<4 | rune(digit)
		r.i++
	}
	return n, nil
}
