package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A key describes one key of a section: its name, and how its value is read and written.
// The tables of keys in keys.go are the schema. They are used to read a file, to write one
// and to test the example.
type key struct {
	name  string
	value value
	// condition is empty if the key has a meaning now. Else it says when it would have
	// one, such as `network = "unix"`.
	condition string
}

// A value is the value of a key. It reads itself from a node, adding problems to the
// reader, and writes itself as TOML.
type value interface {
	read(r *reader, p path, n *node)
	write(w *writer, p path)
}

// A scalar is a single value.
type scalar[T any] struct {
	to   *T
	from func(n *node) (T, error)
	text func(dst []byte, v T) []byte
}

func (s scalar[T]) read(r *reader, p path, n *node) {
	v, err := s.from(n)
	if err != nil {
		r.problemAt(n.at, p, err.Error())
	}
	*s.to = v // zero after an error, so that it causes no further problems
}

func (s scalar[T]) write(w *writer, p path) { w.line(p, s.text(nil, *s.to)) }

// A list is a list of single values.
type list[T any] struct {
	to   *[]T
	from func(n *node) (T, error)
	text func(dst []byte, v T) []byte
}

func (l list[T]) read(r *reader, p path, n *node) {
	nodes, ok := n.value.([]*node)
	if !ok {
		r.problemAt(n.at, p, fmt.Sprintf("%v: want a list: [ … ]", n))
		return
	}
	var all []T
	for i, e := range nodes {
		v, err := l.from(e)
		if err != nil {
			r.problemAt(e.at, p, err.Error())
		}
		r.offsets[p.index(i).id()] = e.at
		all = append(all, v)
	}
	*l.to = all
}

func (l list[T]) write(w *writer, p path) {
	dst := []byte{'['}
	for i, v := range *l.to {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = l.text(dst, v)
	}
	w.line(p, append(dst, ']'))
}

// str reads a string.
func str(n *node) (string, error) {
	s, ok := n.value.(string)
	if !ok {
		return "", fmt.Errorf(`%v: want a string in quotes`, n)
	}
	return s, nil
}

// text accepts a string that passes the check, if there is one.
func text(to *string, check func(string) error) value {
	return scalar[string]{to, checked(check), appendString}
}

// texts accepts a list of such strings.
func texts(to *[]string, check func(string) error) value {
	return list[string]{to, checked(check), appendString}
}

func checked(check func(string) error) func(n *node) (string, error) {
	return parsed(func(s string) (string, error) {
		if check == nil {
			return s, nil
		}
		return s, check(s)
	})
}

// parsed returns a function that reads a string with a parser, for scalars and lists of any
// type.
func parsed[T any](parse func(string) (T, error)) func(n *node) (T, error) {
	return func(n *node) (none T, err error) {
		s, err := str(n)
		if err != nil {
			return none, err
		}
		v, err := parse(s)
		if err != nil {
			return none, err
		}
		return v, nil
	}
}

// enum accepts one of the words.
func enum(to *string, words ...string) value {
	return text(to, oneOf(words))
}

func oneOf(words []string) func(string) error {
	return func(s string) error {
		if !slices.Contains(words, s) {
			return fmt.Errorf("%q: want %s", s, joinOr(words))
		}
		return nil
	}
}

// joinOr returns "a, b or c".
func joinOr(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// count accepts a whole number.
func count(to *int, low, high int) value {
	return scalar[int]{to, func(n *node) (int, error) {
		i, ok := n.value.(int64)
		if !ok || i < int64(low) || i > int64(high) {
			return 0, fmt.Errorf("%v: want a whole number from %d to %d", n, low, high)
		}
		return int(i), nil
	}, func(dst []byte, v int) []byte { return strconv.AppendInt(dst, int64(v), 10) }}
}

// size accepts a number of bytes.
func size(to *Bytes, low, high Bytes) value {
	return scalar[Bytes]{to, func(n *node) (b Bytes, err error) {
		switch v := n.value.(type) {
		case int64:
			err = b.UnmarshalText(strconv.AppendInt(nil, v, 10))
		case string:
			err = b.UnmarshalText([]byte(v))
		default:
			return 0, fmt.Errorf(`%v: want a size such as "256 KiB"`, n)
		}
		if err != nil {
			return 0, err
		}
		if b < low || b > high {
			return 0, fmt.Errorf("%v: want %v to %v", n, low, high)
		}
		return b, nil
	}, func(dst []byte, v Bytes) []byte { return appendString(dst, v.String()) }}
}

// optionalSize is size, but also accepts "", which is zero.
func optionalSize(to *Bytes, low, high Bytes) value {
	s := size(to, low, high).(scalar[Bytes])
	from, text := s.from, s.text
	s.from = func(n *node) (Bytes, error) {
		if n.value == "" {
			return 0, nil
		}
		return from(n)
	}
	s.text = func(dst []byte, v Bytes) []byte {
		if v == 0 {
			return appendString(dst, "")
		}
		return text(dst, v)
	}
	return s
}

// duration accepts a duration.
func duration(to *time.Duration, low, high time.Duration) value {
	return scalar[time.Duration]{to, func(n *node) (time.Duration, error) {
		s, _ := n.value.(string)
		d, err := time.ParseDuration(s)
		if err != nil {
			return 0, fmt.Errorf(`%v: want a duration with its unit, in quotes, such as "500ms", "10s" or "1m30s"`, n)
		}
		if d < low || d > high {
			return 0, fmt.Errorf("%v: want %s to %s", n, shortDuration(low), shortDuration(high))
		}
		return d, nil
	}, func(dst []byte, v time.Duration) []byte { return appendString(dst, shortDuration(v)) }}
}

// shortDuration formats a duration without trailing zero units: 1h, not 1h0m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// boolean accepts true or false.
func boolean(to *bool) value {
	return scalar[bool]{to, func(n *node) (bool, error) {
		b, ok := n.value.(bool)
		if !ok {
			return false, fmt.Errorf("%v: want true or false", n)
		}
		return b, nil
	}, strconv.AppendBool}
}

// anyValue accepts any value that both TOML and JSON have.
func anyValue(to *any) value {
	return scalar[any]{to, func(n *node) (any, error) {
		v, bad := n.plain()
		if bad != nil {
			return nil, fmt.Errorf("%v: want a string, a number, true, false, a list or a table of these", bad)
		}
		return v, nil
	}, appendPlain}
}
