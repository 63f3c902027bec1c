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
