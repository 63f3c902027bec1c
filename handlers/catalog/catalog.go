// Package catalog is the table of the built-in filters. A route can run its messages
// through them in the hub's process, and they can run as processes of their own. A new
// filter is a folder in handlers and a line here.
package catalog

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/besterhub/bester/handlers/alarm"
	"github.com/besterhub/bester/handlers/deadband"
	"github.com/besterhub/bester/handlers/internal/series"
	"github.com/besterhub/bester/handlers/throttle"
	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/options"
)

// A Filter is a handler that counts what it does.
type Filter interface {
	hub.Handler
	// Report returns the counters, its kind's Stats, for the hub's status.
	Report() any
}

// A Kind is one kind of filter.
type Kind struct {
	Name string // in the config file
	Help string // what it does, in a line
	// HoldsBack is true if it does not pass on everything, NeedsAll if it has to see
	// everything. One that needs all behind one that holds back is a mistake of the config.
	HoldsBack, NeedsAll bool
	// Options describes the options that it takes, from the tags of its Options struct.
	Options []options.Option
	// New makes a filter from the operator's options: see options.Decode. It writes to log,
	// which may be nil, where its memory is too small. The filter starts no goroutine and
	// needs no Close.
	New func(o map[string]any, log *slog.Logger) (Filter, error)
}

// Kinds are the filters that exist, in alphabetical order.
var Kinds = []Kind{
	kind("alarm", "watches a value and makes a message when it goes beyond a limit and when it is back", needsAll,
		func(o alarm.Options, log *slog.Logger) (*alarm.Filter, error) { o.Log = log; return alarm.New(o) }),
	kind("deadband", "passes on what has changed", holdsBack,
		func(o deadband.Options, log *slog.Logger) (*deadband.Filter, error) {
			o.Log = log
			return deadband.New(o)
		}),
	kind("throttle", "passes on one message, or one value, in an interval", holdsBack,
		func(o throttle.Options, log *slog.Logger) (*throttle.Filter, error) {
			o.Log = log
			return throttle.New(o)
		}),
}

// New makes a filter of the kind. If there is no such kind, the error lists those there are.
func New(name string, o map[string]any, log *slog.Logger) (Filter, error) {
	names := make([]string, len(Kinds))
	for i, k := range Kinds {
		if k.Name == name {
			return k.New(o, log)
		}
		names[i] = k.Name
	}
	return nil, fmt.Errorf("no filter %q: there are %s", name, strings.Join(names, ", "))
}

// Memory returns how many bytes a filter with these options may take for what it remembers.
func Memory(o map[string]any) int64 {
	var b options.Bytes
	if text, ok := o["memory"].(string); !ok || b.UnmarshalText([]byte(text)) != nil || b <= 0 {
		return series.DefaultMemory
	}
	return int64(b)
}

// What kinds of filters do with the flow of messages.
const (
	holdsBack = 1 << iota
	needsAll
)

// kind makes a line of the table from a constructor.
func kind[O any, F Filter](name, help string, flow int, make func(O, *slog.Logger) (F, error)) Kind {
	return Kind{name, help, flow&holdsBack != 0, flow&needsAll != 0, options.List(*new(O)), func(m map[string]any, log *slog.Logger) (Filter, error) {
		var o O
		if err := options.Decode(m, &o); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		h, err := make(o, log)
		if err != nil {
			return nil, err
		}
		return h, nil
	}}
}
