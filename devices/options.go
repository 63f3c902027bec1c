package devices

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/besterhub/bester/devices/senml"
	"github.com/besterhub/bester/hub"
)

// PollerOptions say how a sensor is polled and what its messages are. All but
// the device's name may be zero.
type PollerOptions struct {
	// Device is the sensor's name on this hub, for example "bme280". It and Hub
	// become a part of SenML names: letters, digits and - : . / _ .
	Device string
	// Hub is this hub's name. If empty, names begin with the device's.
	Hub string
	// Type is the messages' type. If empty, reading/<Hub>/<Device>.
	Type hub.Type
	// Base is put before the readings' names. If empty, <Hub>/<Device>/.
	Base string
	// From is the messages' sender. If zero, they have none: nobody to reply to.
	From hub.Address

	// Interval is the time from one reading to the next. Readings are aligned to
	// its multiples on the wall clock, so that those of several sensors and boards
	// coincide; only the first is made at once. If zero, 10 s.
	Interval time.Duration
	// Timeout is how long a read may take. After it the read's context ends, which
	// counts as a failure. If zero, 5 s.
	Timeout time.Duration
	// Jitter delays each reading but the first by a random time less than Jitter,
	// so that many sensors are not read at the same time. It must be less than
	// Interval. If zero, there is none.
	Jitter time.Duration

	// Now tells the time that readings and messages get. If nil, time.Now.
	Now func() time.Time
	// Log gets one line when the sensor or the sink begins to fail, and one when it
	// works again. If nil, nothing is logged.
	Log *slog.Logger
}

// maxBackoff is the longest interval to which failures alone extend the polling.
const maxBackoff = time.Minute

// complete fills in the defaults and validates the result.
func (o *PollerOptions) complete() error {
	path := o.Device
	if o.Hub != "" {
		path = o.Hub + "/" + path
	}
	if o.Base == "" {
		o.Base = path + "/"
	}
	if o.Type == "" {
		o.Type = hub.Type("reading/" + path)
	}
	if o.Interval == 0 {
		o.Interval = 10 * time.Second
	}
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Log = o.Log.With("device", o.Device)
	_, err := hub.ParseType(string(o.Type))
	switch {
	case o.Device == "":
		return errors.New("no device name")
	case !senml.ValidName(o.Base + "x"):
		return fmt.Errorf("name %q: want letters, digits and - : . / _ with a letter or digit first", o.Base)
	case err != nil:
		return err
	case o.Interval < 0:
		return fmt.Errorf("interval %v: want more than 0", o.Interval)
	case o.Timeout < 0:
		return fmt.Errorf("timeout %v: want more than 0", o.Timeout)
	case o.Jitter < 0 || o.Jitter >= o.Interval:
		return fmt.Errorf("jitter %v: want less than the interval, %v", o.Jitter, o.Interval)
	}
	return nil
}
