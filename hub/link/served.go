package link

import (
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"

	"github.com/besterhub/bester/hub"
)

// patterns returns the types of a hello, sorted and each once.
func patterns(types []string) ([]hub.Pattern, error) {
	var ps []hub.Pattern
	for _, t := range types {
		p, err := hub.ParsePattern(t)
		if err != nil {
			return nil, hub.Reason(hub.ErrDenied, "%v", err)
		}
		ps = append(ps, p)
	}
	slices.Sort(ps)
	return slices.Compact(ps), nil
}

// logTypes returns what g serves, for the log, or nothing if only routes lead to it.
func (gs *Groups) logTypes(g *Group) []slog.Attr {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	types := g.slotTypes
	if reg := gs.registrations[g]; len(types) == 0 && reg != nil {
		types = reg.types
	}
	if len(types) == 0 {
		return nil
	}
	var b strings.Builder
	for i, p := range types {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(string(p))
	}
	return []slog.Attr{slog.String("types", b.String())}
}

// noTypesError is why a process is refused that names no types and that the config does not
// name.
func noTypesError(name string) error {
	if name == "" {
		return hub.Reason(hub.ErrDenied, "a handler without a name, whose hello names no types: start it with --types, or with --name and that handler in the config")
	}
	return hub.Reason(hub.ErrDenied, "handler %q: its hello names no types, and neither does the config: start it with --types, "+
		"or in the config give [handlers.%s] types or a route through it", name, tomlKey(name))
}

// otherTypesError is why a process is refused that names other types than the processes of
// its name that are there.
func otherTypesError(name string, have, want []hub.Pattern) error {
	wants := "names no types"
	if len(want) > 0 {
		wants = "wants " + quotedPatterns(want)
	}
	serves := "gets its messages by route"
	if len(have) > 0 {
		serves = "serves " + quotedPatterns(have)
	}
	return hub.Reason(hub.ErrDenied, "handler %q %s, as other processes of that name say; this one %s: give it another name, or the same types",
		name, serves, wants)
}

// quotedPatterns lists patterns for an error text, which is to stay short.
func quotedPatterns(patterns []hub.Pattern) string {
	const most = 8
	var list []string
	for i, p := range patterns {
		if i == most {
			list = append(list, fmt.Sprintf("and %d more", len(patterns)-most))
			break
		}
		list = append(list, strconv.Quote(string(p)))
	}
	return strings.Join(list, ", ")
}

// tomlKey returns a handler's name as a key in the config.
func tomlKey(name string) string {
	for _, r := range name {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_') {
			return strconv.Quote(name)
		}
	}
	return name
}
