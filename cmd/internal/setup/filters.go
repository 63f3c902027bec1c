package setup

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"

	handlers "github.com/besterhub/bester/handlers/catalog"
	"github.com/besterhub/bester/hub/config"
)

// MisplacedFilters returns the filters in routes that have to see every value and stand
// behind one that holds values back: an alarm behind a deadband or throttle. They are no
// error, because it may be meant, but they are worth a warning. A handler whose command is
// "bester handle KIND" counts as a filter of that kind.
func MisplacedFilters(c *config.Config) (problems []config.Problem) {
	for i, route := range c.Routes {
		before, beforeKind := "", ""
		for j, name := range route.Through {
			k, ok := kindOf(c, name)
			switch {
			case !ok:
			case k.NeedsAll && before != "":
				text := fmt.Sprintf("%q (%s) does not see what %q (%s) before it holds back: name %q before %q", name, k.Name, before, beforeKind, name, before)
				problems = append(problems, c.Problem(text, "route", "#"+strconv.Itoa(i), "through", "#"+strconv.Itoa(j)))
			case k.HoldsBack && before == "":
				before, beforeKind = name, k.Name
			}
		}
	}
	return problems
}

// kindOf returns the kind of a filter in the config, or of a handler that does the same.
func kindOf(c *config.Config, name string) (handlers.Kind, bool) {
	kind := ""
	for _, f := range c.Filters {
		if f.Name == name {
			kind = f.Kind
		}
	}
	for _, h := range c.Handlers {
		if h.Name == name && len(h.Command) > 2 && filepath.Base(h.Command[0]) == "bester" && h.Command[1] == "handle" {
			kind = h.Command[2]
		}
	}
	i := slices.IndexFunc(handlers.Kinds, func(k handlers.Kind) bool { return k.Name == kind })
	if i < 0 {
		return handlers.Kind{}, false
	}
	return handlers.Kinds[i], true
}
