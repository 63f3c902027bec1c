package account

import (
	"slices"
	"strings"

	"github.com/besterhub/bester/hub"
)

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
	return slices.ContainsFunc(allowed, func(a hub.Pattern) bool { return a.Covers(p) })
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
