package account

import (
	"strings"

	"github.com/besterhub/bester/hub"
)

// covers reports whether p stands for every type that q stands for.
//
// Level by level: "#" covers whatever is left of q; "+" covers "+" and every
// name; a name covers itself alone. Where q ends, p must end too, or have only
// "/#" left, which stands for no level as well. What is left of q cannot be "#"
// unless p has it there too, with one exception: a type has at least one level,
// so "+/#" stands for as much as "#".
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

// A rule is a pattern made ready to be matched for each message: most are an exact
// type or end in the only wildcard they have, and need one comparison.
type rule struct {
	pattern hub.Pattern
	kind    ruleKind
	text    string // the exact type, or all before "/#"
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
