package devices_test

import (
	"context"
	"fmt"
	"time"

	"github.com/besterhub/bester/devices"
	"github.com/besterhub/bester/devices/senml"
	"github.com/besterhub/bester/hub"
)

// printer is a sink that prints the readings it gets and then ends the program.
type printer struct{ done context.CancelFunc }

func (p printer) Put(m *hub.Message) error {
	var r senml.Reader
	for r.Reset(m.Data); r.Next(); {
		fmt.Printf("%s: %s %v %s\n", m.Type, r.Record().Name, r.Record().Number, r.Record().Unit)
	}
	p.done()
	return r.Err()
}

func ExamplePoller() {
	thermometer := devices.SensorFunc(func(ctx context.Context, dst []devices.Reading) ([]devices.Reading, error) {
		return append(dst, devices.Number("temperature", devices.Celsius, 21.4)), nil
	})
	p, err := devices.NewPoller(thermometer, devices.PollerOptions{Hub: "greenhouse", Device: "door", Interval: time.Minute})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	err = p.Run(ctx, printer{cancel})
	fmt.Println(err)
	// Output:
	// reading/greenhouse/door: greenhouse/door/temperature 21.4 Cel
	// <nil>
}
