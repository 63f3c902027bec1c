package config

import (
	"errors"
	"fmt"
	"strings"
)

// A Problem is one thing that is wrong in a file, and where.
type Problem struct {
	File         string // empty: no file, the problem is with the default
	Line, Column int    // from 1; the column counts bytes
	Key          string // "session.full"; empty if the file cannot be read that far
	Text         string // what is wrong, and what is allowed or mends it
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

// MaxProblems is how many problems of one file are reported.
const MaxProblems = 100

// Error is all that is wrong in a file, in the order of the file.
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

// A reader goes through the tree of a file, and notes where each key stands and
// everything that is wrong.
type reader struct {
	source *source
	places map[string]int // offsets by path.id
	found  []Problem
	more   int
}

func newReader(name string, data []byte) *reader {
	return &reader{source: newSource(name, data), places: map[string]int{"": 0}}
}

// wrong notes a problem at an offset.
func (r *reader) wrong(at int, p path, text string) {
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

// syntax notes what a parser has found.
func (r *reader) syntax(err error) {
	var m *misplaced
	if errors.As(err, &m) {
		r.wrong(m.at, nil, m.Error())
		return
	}
	r.wrong(0, nil, err.Error())
}

// problem notes a problem with what stands at a path, or should.
func (r *reader) problem(p path, format string, args ...any) {
	r.wrong(r.place(p), p, fmt.Sprintf(format, args...))
}

// place returns the offset of a path, or of the nearest one above it that is in
// the file.
func (r *reader) place(p path) int {
	for ; len(p) > 0; p = p[:len(p)-1] {
		if at, ok := r.places[p.id()]; ok {
			return at
		}
	}
	return 0
}

func (r *reader) given(p path) bool {
	_, ok := r.places[p.id()]
	return ok
}

// String writes a path as an error names it: without indices, which the line
// tells better.
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

// printable keeps a key as it is where it can be printed in a line, else quotes it.
func printable(k string) string {
	if len(k) > 80 {
		return fmt.Sprintf("%.40q…", k)
	}
	if q := fmt.Sprintf("%q", k); k == "" || q[1:len(q)-1] != k {
		return q
	}
	return k
}

// nearest returns the one of names that s is a slip of the pen from, or "".
func nearest(s string, names []string) string {
	best, least := "", 3 // more than two slips are another word
	if len(s) > 64 {
		return ""
	}
	for _, n := range names {
		if d := distance(s, n); d < least && d < len(n) {
			best, least = n, d
		}
	}
	return best
}

// distance counts the letters to insert, delete, change or swap with the next to
// make b of a.
func distance(a, b string) int {
	older, old, now := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range old {
		old[j] = j
	}
	for i := 1; i <= len(a); i++ {
		now[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			now[j] = min(old[j]+1, now[j-1]+1, old[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				now[j] = min(now[j], older[j-2]+1)
			}
		}
		older, old, now = old, now, older
	}
	return old[len(b)]
}
