package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/besterhub/bester/devices"
	devicecatalog "github.com/besterhub/bester/devices/catalog"
	handlercatalog "github.com/besterhub/bester/handlers/catalog"
	"github.com/besterhub/bester/hub/config"
)

// A filter is an in-process handler that the config names.
type filter struct {
	config config.Filter
	handlercatalog.Filter
}

// makeFilters makes the filters of a config. A filter that has not changed is kept,
// with its state.
func (d *daemon) makeFilters(c *config.Config) (map[string]*filter, error) {
	all := make(map[string]*filter)
	for _, f := range c.Filters {
		if have := d.filters[f.Name]; have != nil && reflect.DeepEqual(have.config, f) {
			all[f.Name] = have
			continue
		}
		h, err := handlercatalog.New(f.Kind, f.Options, d.log.With("filter", f.Name))
		if err != nil {
			return nil, err // load has checked it: not reached
		}
		all[f.Name] = &filter{f, h}
	}
	return all, nil
}

// A device is a sensor that the config names, and its poller.
type device struct {
	config config.Device
	poller *devices.Poller
	cancel context.CancelFunc // ends the poller; nil before it runs
	ended  chan struct{}      // closed when the poller has ended
}

const (
	// deviceOpenLimit is how long a device may take to be opened. A chip that does not
	// answer can hold its bus, and whoever asks for it, for ever.
	deviceOpenLimit = 10 * time.Second
	// deviceStopLimit is how long a reload waits for a device to end.
	deviceStopLimit = 10 * time.Second
)

// stop ends the device's poller, and waits until it has ended or ctx ends, whose error it
// then returns.
func (v *device) stop(ctx context.Context) error {
	v.cancel()
	select {
	case <-v.ended:
		return nil
	default:
	}
	select {
	case <-v.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// openSensor opens the sensor of a device. It does not wait longer than deviceOpenLimit,
// nor when ctx has ended: a sensor that hangs is left behind.
func openSensor(ctx context.Context, v config.Device) (devices.Sensor, error) {
	type opened struct {
		sensor devices.Sensor
		err    error
	}
	result := make(chan opened, 1)
	go func() {
		s, err := devicecatalog.Open(v.Kind, v.Options)
		result <- opened{s, err}
	}()
	ctx, cancel := context.WithTimeoutCause(ctx, deviceOpenLimit, fmt.Errorf("it hangs while it is opened, for %v now: "+
		"see its bus or the files it reads, or take it out of the config", deviceOpenLimit))
	defer cancel()
	select {
	case r := <-result:
		return r.sensor, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("device %q: %w", v.Name, context.Cause(ctx))
	}
}

// makeDevices makes the devices of a config. A device that has not changed keeps running.
func (d *daemon) makeDevices(ctx context.Context, c *config.Config) (map[string]*device, error) {
	all := make(map[string]*device)
	for _, v := range c.Devices {
		if have := d.devices[v.Name]; have != nil && reflect.DeepEqual(have.config, v) {
			all[v.Name] = have
			continue
		}
		sensor, err := openSensor(ctx, v)
		if err != nil {
			return nil, err
		}
		p, err := devices.NewPoller(sensor, devices.PollerOptions{
			Device: v.Name, Hub: c.Hub.Name, Type: v.Type, Interval: v.Every, Log: d.log,
		})
		if err != nil {
			return nil, err
		}
		all[v.Name] = &device{config: v, poller: p}
	}
	return all, nil
}

// replaceDevices stops the devices that are not in all, and starts those in all that are
// new, unless the hub is to end meanwhile. One that hangs is logged, and left behind. d.mu is
// not held while it waits: only this changes d.devices.
func (d *daemon) replaceDevices(ctx context.Context, all map[string]*device) {
	limited, cancel := context.WithTimeout(ctx, deviceStopLimit)
	defer cancel()
	var wg sync.WaitGroup
	for name, v := range d.devices {
		if all[name] == v {
			continue
		}
		wg.Go(func() {
			if v.stop(limited) != nil && ctx.Err() == nil {
				d.log.Error("device hangs: the reload goes on without waiting for its end", "device", name, "after", deviceStopLimit,
					"remedy", "see its bus or the files it reads; what it holds is free once the hub is restarted")
			}
		})
	}
	wg.Wait() // two devices may share hardware
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.shuttingDown {
		d.setDevices(all)
	}
}

// setDevices starts the devices in all that are new.
func (d *daemon) setDevices(all map[string]*device) {
	for name, v := range all {
		if v.cancel != nil {
			continue
		}
		var ctx context.Context
		ctx, v.cancel = context.WithCancel(context.Background())
		v.ended = make(chan struct{})
		go func() {
			defer close(v.ended)
			if err := v.poller.Run(ctx, d.router); err != nil && !errors.Is(err, context.Canceled) {
				d.log.Error("device ended", "device", name, "err", err)
			}
		}()
	}
	d.devices = all
}

// stopDevices stops devices, all at once. The error names those that have not ended when
// ctx does.
func stopDevices(ctx context.Context, all map[string]*device) error {
	names := slices.Sorted(maps.Keys(all))
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() { errs[i] = cutOffError(fmt.Sprintf("device %q was", name), all[name].stop(ctx)) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
