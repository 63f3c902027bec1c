package hub

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxType is the longest type and pattern, in bytes.
const MaxType = 255

// Pattern is a type with wildcards: "+" matches exactly one level, and a final "#"
// matches any number of levels, also none: "reading/#" matches "reading" and
// "reading/greenhouse/bme280". A pattern without wildcards matches that type alone.
type Pattern string

// ParsePattern checks s: 1 to MaxType bytes of UTF-8 without control
// characters, "+" and "#" only as whole levels, "#" only as the last.
func ParsePattern(s string) (Pattern, error) {
	if err := checkName(s); err != nil {
		return "", fmt.Errorf("pattern %q: %w", s, err)
	}
	for level := range strings.SplitSeq(s, "/") {
		if len(level) > 1 && strings.ContainsAny(level, "+#") {
			return "", fmt.Errorf("pattern %q: %q must be + or # alone, or contain neither", s, level)
		}
	}
	if i := strings.IndexByte(s, '#'); i >= 0 && i != len(s)-1 {
		return "", fmt.Errorf("pattern %q: # must be the last level", s)
	}
	return Pattern(s), nil
}

// ParseType checks s like ParsePattern, and refuses wildcards.
func ParseType(s string) (Type, error) {
	if err := checkName(s); err != nil {
		return "", fmt.Errorf("type %q: %w", s, err)
	}
	if !Pattern(s).Exact() {
		return "", fmt.Errorf("type %q: + and # are for patterns", s)
	}
	return Type(s), nil
}

func checkName(s string) error {
	switch {
	case s == "":
		return errors.New("empty")
	case len(s) > MaxType:
		return fmt.Errorf("%d bytes, at most %d are allowed", len(s), MaxType)
	case !utf8.ValidString(s):
		return errors.New("not UTF-8")
	case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return errors.New("contains a control character")
	}
	return nil
}

// Exact reports whether p matches one type alone.
func (p Pattern) Exact() bool { return !strings.ContainsAny(string(p), "+#") }

// Match reports whether p matches t. It allocates nothing.
func (p Pattern) Match(t Type) bool {
	ps, ts, more := string(p), string(t), true
	for {
		pl, prest, pmore := strings.Cut(ps, "/")
		if pl == "#" {
			return true
		}
		if !more {
			return false
		}
		tl, trest, tmore := strings.Cut(ts, "/")
		if pl != "+" && pl != tl {
			return false
		}
		if !pmore {
			return !tmore
		}
		ps, ts, more = prest, trest, tmore
	}
}

// Covers reports whether p matches every type that q matches.
//
// Level by level: "#" covers the rest of q; "+" covers "+" and every name; a name
// covers only itself. Where q ends, p must end too, or have only "/#" left, which also
// matches no level. A "#" in q needs a "#" at the same place in p, with one exception:
// a type has at least one level, so "+/#" matches the same types as "#".
func (p Pattern) Covers(q Pattern) bool {
	if p == "+/#" {
		p = "#"
	}
	ps, qs, more := string(p), string(q), true
	for {
		pl, prest, pmore := strings.Cut(ps, "/")
		if pl == "#" {
			return true
		}
		if !more {
			return false
		}
		ql, qrest, qmore := strings.Cut(qs, "/")
		if ql == "#" || pl != "+" && pl != ql {
			return false
		}
		if !pmore {
			return !qmore
		}
		ps, qs, more = prest, qrest, qmore
	}
}

// Compare orders patterns by specificity: it is negative if p is more specific than q.
// Level by level, a name comes before "+", and "+" before "#" or the end. Equally
// specific patterns are in alphabetical order.
func (p Pattern) Compare(q Pattern) int {
	ps, qs := string(p), string(q)
	for pmore, qmore := true, true; pmore && qmore; {
		var pl, ql string
		pl, ps, pmore = strings.Cut(ps, "/")
		ql, qs, qmore = strings.Cut(qs, "/")
		if c := cmp.Compare(wildcardRank(pl), wildcardRank(ql)); c != 0 {
			return c
		}
		if pmore != qmore { // the longer one is more specific, unless only "/#" is left of it
			longer, sign := ps, -1
			if qmore {
				longer, sign = qs, 1
			}
			if longer == "#" {
				sign = -sign
			}
			return sign
		}
	}
	return cmp.Compare(p, q)
}

func wildcardRank(level string) int {
	switch level {
	case "#":
		return 2
	case "+":
		return 1
	}
	return 0
}
