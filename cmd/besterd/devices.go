package main

import (
	"context"
	"errors"
	"reflect"
	"sync"

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
	stop   func() // stops the poller and waits for it; nil before it runs
}

// makeDevices makes the devices of a config. A device that has not changed keeps running.
func (d *daemon) makeDevices(c *config.Config) (map[string]*device, error) {
	all := make(map[string]*device)
	for _, v := range c.Devices {
		if have := d.devices[v.Name]; have != nil && reflect.DeepEqual(have.config, v) {
			all[v.Name] = have
			continue
		}
		sensor, err := devicecatalog.Open(v.Kind, v.Options)
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
// new. A device may have to finish a read, so d.mu is not held meanwhile: only apply
// changes d.devices.
func (d *daemon) replaceDevices(all map[string]*device) {
	var wg sync.WaitGroup
	for name, device := range d.devices {
		if all[name] != device {
			wg.Go(device.stop)
		}
	}
	wg.Wait() // two devices may share hardware
	d.mu.Lock()
	defer d.mu.Unlock()
	d.setDevices(all)
}

// setDevices starts the devices in all that are new.
func (d *daemon) setDevices(all map[string]*device) {
	for name, v := range all {
		if v.stop != nil {
			continue
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			if err := v.poller.Run(ctx, d.router); err != nil && !errors.Is(err, context.Canceled) {
				d.log.Error("device ended", "device", name, "err", err)
			}
		}()
		v.stop = func() {
			cancel()
			<-done
		}
	}
	d.devices = all
}
