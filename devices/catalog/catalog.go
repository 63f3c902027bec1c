// Package catalog is the table of the kinds of devices that the config file can name.
// A new chip is a folder in devices and a line here.
package catalog

import (
	"fmt"
	"strings"

	"github.com/besterhub/bester/devices"
	"github.com/besterhub/bester/devices/system"
	"github.com/besterhub/bester/hub/options"
)

// A Kind is one kind of device.
type Kind struct {
	Name string // in the config file
	Help string // what it is, in a line
	// Options describes the options that it takes, from the tags of its Options struct.
	Options []options.Option
	// Open makes a Sensor from the operator's options: see options.Decode. It probes a
	// chip on a bus, so that it fails if the chip does not answer.
	Open func(o map[string]any) (devices.Sensor, error)
}

// Kinds are the devices that exist, in alphabetical order.
var Kinds = []Kind{
	kind("system", "this machine: processor, load, memory, disks, power, clock", system.New),
}

// Open makes a Sensor of the kind. If there is no such kind, the error lists those there are.
func Open(name string, o map[string]any) (devices.Sensor, error) {
	names := make([]string, len(Kinds))
	for i, k := range Kinds {
		if k.Name == name {
			return k.Open(o)
		}
		names[i] = k.Name
	}
	return nil, fmt.Errorf("no device of kind %q: there are %s", name, strings.Join(names, ", "))
}

// kind makes a line of the table from a constructor.
func kind[O any, S devices.Sensor](name, help string, open func(O) (S, error)) Kind {
	return Kind{name, help, options.List(*new(O)), func(m map[string]any) (devices.Sensor, error) {
		var o O
		if err := options.Decode(m, &o); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		s, err := open(o)
		if err != nil {
			return nil, err
		}
		return s, nil
	}}
}
