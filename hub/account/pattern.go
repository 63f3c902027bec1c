package account

import (
	"slices"
	"strings"

	"github.com/besterhub/bester/hub"
)

// covers reports whether p matches every type that q matches.
//
// Level by level: "#" covers the rest of q; "+" covers "+" and every name; a name
// covers only itself. Where q ends, p must end too, or have only "/#" left, which also
// matches no level. A "#" in q needs a "#" at the same place in p, with one exception:
// a type has at least one level, so "+/#" matches the same types as "#".
func covers(p, q hub.Pattern) bool {
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

// A rule is a pattern compiled for matching each message. Most patterns are an exact type,
// or have one wildcard, at the end, and need one comparison.
type rule struct {
	pattern hub.Pattern
	kind    ruleKind
	text    string // the exact type, or the prefix before "/#"
}

type ruleKind uint8

const (
	general ruleKind = iota // neither of the others
	exact
	prefix // "text/#": text itself, and all below it
)

func newRules(patterns []hub.Pattern) []rule {
	rules := make([]rule, len(patterns))
	for i, p := range patterns {
		rules[i] = rule{pattern: p}
		before, ends := strings.CutSuffix(string(p), "/#")
		switch {
		case p.Exact():
			rules[i].kind, rules[i].text = exact, string(p)
		case ends && hub.Pattern(before).Exact():
			rules[i].kind, rules[i].text = prefix, before
		}
	}
	return rules
}

// coversAny reports whether one of the allowed patterns covers p.
func coversAny(allowed []hub.Pattern, p hub.Pattern) bool {
	return slices.ContainsFunc(allowed, func(a hub.Pattern) bool { return covers(a, p) })
}

func match(rules []rule, t hub.Type) bool {
	for i := range rules {
		if rules[i].match(string(t)) {
			return true
		}
	}
	return false
}

func (r *rule) match(t string) bool {
	switch r.kind {
	case exact:
		return t == r.text
	case prefix:
		n := len(r.text)
		return len(t) >= n && t[:n] == r.text && (len(t) == n || t[n] == '/')
	}
	return r.pattern.Match(hub.Type(t))
}
