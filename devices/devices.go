// Package devices turns what is wired to the board into messages. A Sensor yields
// Readings. A Poller, which is a hub.Source, reads it at intervals and puts the
// readings into the hub as SenML packs.
//
// A chip or kind of device is a folder of its own below this one, and one line in
// the table of devices/catalog. Its test calls the conformance suite in
// devices/devicetest.
package devices

import (
	"context"
	"time"

	"github.com/besterhub/bester/devices/senml"
)

// A Reading is one value that a sensor has measured.
type Reading struct {
	// Name says what was measured, for example "temperature" or
	// "disk/root/used". It follows the device's name and a "/", so it is of
	// letters, digits and the signs - : . / _ and short (senml.MaxName for all).
	Name string
	// Unit is what a Number is measured in. Empty if it has none.
	Unit Unit
	// Kind says what the value is: a Number (the zero value), Bool or Text.
	Kind senml.Kind
	// Value is that of a Number, which must be finite; of a Bool 1 if it is true.
	Value float64
	// Text is the value of a Text.
	Text string
	// Time is when it was measured. If zero, when the sensor was read.
	Time time.Time
}

// Number returns a reading of a number.
func Number(name string, unit Unit, v float64) Reading {
	return Reading{Name: name, Unit: unit, Value: v}
}

// Bool returns a reading that is true or false.
func Bool(name string, v bool) Reading {
	r := Reading{Name: name, Kind: senml.Bool}
	if v {
		r.Value = 1
	}
	return r
}

// Text returns a reading that is a text.
func Text(name, v string) Reading {
	return Reading{Name: name, Kind: senml.Text, Text: v}
}

// A Sensor yields readings of one device.
type Sensor interface {
	// Read measures, appends the readings to dst and returns it. What cannot be
	// measured now is left out, not zero. Readings returned with an error are
	// valid.
	//
	// The caller owns the readings; their strings must not change afterwards. ctx
	// ends at the caller's deadline or when the program ends; Read then returns
	// soon, with ctx's error. ctx is valid until Read returns. Read is called by
	// one goroutine at a time. A sensor needs no Close: the program owns the buses
	// and pins.
	Read(ctx context.Context, dst []Reading) ([]Reading, error)
}

// SensorFunc is a Sensor that is one function.
type SensorFunc func(ctx context.Context, dst []Reading) ([]Reading, error)

// Read calls f.
func (f SensorFunc) Read(ctx context.Context, dst []Reading) ([]Reading, error) { return f(ctx, dst) }
