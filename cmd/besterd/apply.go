package main

import (
	"context"
	"errors"
	"log/slog"
	"reflect"

	"github.com/besterhub/bester/cmd/internal/setup"
	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/config"
	"github.com/besterhub/bester/hub/session"
	"github.com/besterhub/bester/hub/upstream"
)

// reload reads the config again and applies it, or logs why not. When ctx ends, the hub
// is to shut down, and reload does not wait for handlers that it replaces.
func (d *daemon) reload(ctx context.Context, path string, log *slog.Logger) {
	c, err := load(path)
	if err == nil {
		err = d.apply(ctx, c)
	}
	if err != nil {
		log.Error("config refused; the old one stays in force", "config", configName(path), "err", err)
		return
	}
	// The new config may log users out, and change which process may be a handler.
	d.accounts.refresh()
	d.sessions.Recheck()
	log.Info("config applied", "config", configName(path), "listeners", d.listenerNames())
}

// apply puts a config into force: all of it or, if it returns an error, nothing. What
// has not changed keeps running, and connections stay open.
func (d *daemon) apply(ctx context.Context, c *config.Config) error {
	d.applyMu.Lock()
	defer d.applyMu.Unlock()
	if d.shuttingDown {
		return errors.New("the hub is ending")
	}
	old := d.config
	if first := old.Hub.Name == ""; !first {
		switch {
		case c.Hub.Name != old.Hub.Name || c.Hub.MaxHops != old.Hub.MaxHops:
			return errors.New("hub.name and hub.max_hops cannot change while the hub runs: restart it")
		case c.Log != old.Log:
			return errors.New("log.level and log.format cannot change while the hub runs: restart it")
		}
	}

	// What can fail comes first, while the old config is still in force.
	listeners, err := d.openListeners(c)
	if err != nil {
		return err
	}
	rollback := func(err error) error {
		listeners.close()
		return err
	}
	filters, err := d.makeFilters(c)
	if err != nil {
		return rollback(err)
	}
	devices, err := d.makeDevices(c)
	if err != nil {
		return rollback(err)
	}
	accounts, err := openAccounts(c.Accounts.File)
	if err != nil {
		return rollback(err)
	}
	err = d.setHandlers(ctx, c)
	if err == nil {
		err = d.setRoutes(c, filters)
	}
	if err != nil {
		if rollbackErr := errors.Join(d.setHandlers(ctx, old), d.setRoutes(old, d.filters)); rollbackErr != nil {
			d.log.Error("the config in force could not be put back whole", "err", rollbackErr)
			d.closeEmptySlots(rollbackErr)
		}
		return rollback(err)
	}

	// From here on nothing can fail.
	if c.Peers.Open && !old.Peers.Open {
		d.log.Warn(`every original server may hand in messages, without an account: peers.classic (network.peers in server.conf) is "open"`,
			"remedy", "list the addresses that may")
	}
	for _, p := range setup.Contradictions(c) {
		d.log.Warn("limits contradict each other", "at", p.Error())
	}
	for _, p := range setup.UnusedFilters(c) {
		d.log.Warn("a filter is in no route", "at", p.Error())
	}
	if c.Accounts.File != old.Accounts.File {
		d.accounts.replace(accounts)
	}
	d.sessions.SetLimits(limits(c))
	d.stopDevices(devices)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.filters = filters
	d.setServers(c)
	d.setListeners(c, listeners)
	d.setDevices(devices)
	d.config = c
	return nil
}

// limits are what the config says of sessions.
func limits(c *config.Config) session.Limits {
	full := map[string]bformat.OverflowPolicy{config.DropOldest: bformat.DropOldest, config.DropNewest: bformat.DropNewest, config.Close: bformat.Close}
	return session.Limits{
		Login: c.Session.Login, Connections: c.Session.Connections, Frame: int(c.Hub.Frame),
		Queue: int(c.Session.Queue), Full: full[c.Session.Full], Write: c.Session.Write,
		Credits: c.Session.Credits, Peer: c.Peers.Allow, Memory: int(c.SessionMemory()), Failures: c.Session.Failures,
		Rate:      session.Rate{Messages: c.Session.Rate, Bytes: int(c.Session.RateBytes)},
		TotalRate: session.Rate{Messages: c.Session.TotalRate, Bytes: int(c.Session.TotalRateBytes)},
	}
}

// setServers puts the servers that have names into force. Messages that wait for the
// old ones are still sent.
func (d *daemon) setServers(c *config.Config) {
	if d.servers != nil && reflect.DeepEqual(c.Servers, d.config.Servers) {
		return
	}
	addresses := make(map[hub.ServerName]string)
	for _, s := range c.Servers {
		addresses[s.Name] = s.Address
	}
	old := d.servers
	d.servers = upstream.NewDirect(upstream.Options{Addresses: addresses})
	named := make(map[hub.ServerName]hub.Sink)
	for name := range addresses {
		named[name] = d.servers
	}
	d.router.Directory().SetServers(named, d.servers)
	if old != nil {
		d.goBackground(func() {
			ctx, cancel := context.WithTimeout(context.Background(), c.Hub.Drain)
			defer cancel()
			old.Shutdown(ctx)
		})
	}
}
