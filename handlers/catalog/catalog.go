// Package catalog is the table of the built-in filters. A route can run its messages
// through them in the hub's process, and they can run as processes of their own. A new
// filter is a folder in handlers and a line here.
package catalog

import (
	"fmt"
	"strings"

	"github.com/besterhub/bester/handlers/alarm"
	"github.com/besterhub/bester/handlers/deadband"
	"github.com/besterhub/bester/handlers/throttle"
	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/options"
)

// A Kind is one kind of filter.
type Kind struct {
	Name string // in the config file
	Help string // what it does, in a line
	// Options describes the options that it takes, from the tags of its Options struct.
	Options []options.Option
	// New makes a filter from the operator's options: see options.Decode. The filter
	// starts no goroutine and needs no Close.
	New func(o map[string]any) (hub.Handler, error)
}

// Kinds are the filters that exist, in alphabetical order.
var Kinds = []Kind{
	kind("alarm", "watches a value and makes a message when it goes beyond a limit and when it is back", alarm.New),
	kind("deadband", "passes on what has changed", deadband.New),
	kind("throttle", "passes on one message, or one value, in an interval", throttle.New),
}

// New makes a filter of the kind. If there is no such kind, the error lists those there are.
func New(name string, o map[string]any) (hub.Handler, error) {
	names := make([]string, len(Kinds))
	for i, k := range Kinds {
		if k.Name == name {
			return k.New(o)
		}
		names[i] = k.Name
	}
	return nil, fmt.Errorf("no filter %q: there are %s", name, strings.Join(names, ", "))
}

// kind makes a line of the table from a constructor.
func kind[O any, H hub.Handler](name, help string, make func(O) (H, error)) Kind {
	return Kind{name, help, options.List(*new(O)), func(m map[string]any) (hub.Handler, error) {
		var o O
		if err := options.Decode(m, &o); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		h, err := make(o)
		if err != nil {
			return nil, err
		}
		return h, nil
	}}
}
