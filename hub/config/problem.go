package config

import (
	"errors"
	"fmt"
	"strings"
)

// A Problem is one error in a file, with its position.
type Problem struct {
	File         string // empty: there is no file, the problem is with the default
	Line, Column int    // from 1; the column counts bytes
	Key          string // "session.full"; empty if the file cannot be read that far
	Text         string // what is wrong, and what is allowed or what to do
}

// Error writes "bester.toml:12:8: session.full: …".
func (p Problem) Error() string {
	if p.File == "" {
		return p.Key + ": " + p.Text
	}
	if p.Key == "" {
		return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Text)
	}
	return fmt.Sprintf("%s:%d:%d: %s: %s", p.File, p.Line, p.Column, p.Key, p.Text)
}

// MaxProblems is how many problems of one file are reported at most.
const MaxProblems = 100

// Error is all problems of a file, in the order of their positions.
type Error struct {
	Problems []Problem // at least one, at most MaxProblems
	More     int       // how many there are beyond these
}

// Error writes one problem a line.
func (e *Error) Error() string {
	lines := make([]string, 0, len(e.Problems)+1)
	for _, p := range e.Problems {
		lines = append(lines, p.Error())
	}
	if e.More > 0 {
		lines = append(lines, fmt.Sprintf("… and %d more", e.More))
	}
	return strings.Join(lines, "\n")
}

// A reader walks the tree of a file. It collects the offset of each key and all problems.
type reader struct {
	source  *source
	offsets map[string]int // offsets by path.id
	found   []Problem
	more    int
}

func newReader(name string, data []byte) *reader {
	return &reader{source: newSource(name, data), offsets: map[string]int{"": 0}}
}

// problemAt adds a problem at an offset.
func (r *reader) problemAt(at int, p path, text string) {
	line, column := r.source.position(at)
	r.note(Problem{r.source.name, line, column, p.String(), text})
}

func (r *reader) note(p Problem) {
	if len(r.found) == MaxProblems {
		r.more++
		return
	}
	r.found = append(r.found, p)
}

// syntax adds the error of a parser.
func (r *reader) syntax(err error) {
	var m *positionError
	if errors.As(err, &m) {
		r.problemAt(m.at, nil, m.Error())
		return
	}
	r.problemAt(0, nil, err.Error())
}

// problem adds a problem with the value at a path, or with its absence.
func (r *reader) problem(p path, format string, args ...any) {
	r.problemAt(r.offset(p), p, fmt.Sprintf(format, args...))
}

// offset returns the offset of a path, or of its nearest ancestor that is in the file.
func (r *reader) offset(p path) int {
	for ; len(p) > 0; p = p[:len(p)-1] {
		if at, ok := r.offsets[p.id()]; ok {
			return at
		}
	}
	return 0
}

func (r *reader) has(p path) bool {
	_, ok := r.offsets[p.id()]
	return ok
}

// String writes a path for an error: without indices, since the error has the line number.
func (p path) String() string {
	var b strings.Builder
	for _, k := range p {
		if rest, ok := strings.CutPrefix(k, "#"); ok && strings.Trim(rest, "0123456789") == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(printable(k))
	}
	return b.String()
}

// printable returns a key unchanged if it is printable on one line, else quoted.
func printable(k string) string {
	if len(k) > 80 {
		return fmt.Sprintf("%.40q…", k)
	}
	if q := fmt.Sprintf("%q", k); k == "" || q[1:len(q)-1] != k {
		return q
	}
	return k
}
