package main

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/besterhub/bester/cmd/internal/setup"
	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/config"
	"github.com/besterhub/bester/hub/upstream"
)

// reloadWarning is how long a reload takes before the log says that it is not done.
const reloadWarning = 10 * time.Second

// reload reads the config again and applies it, or logs why not. When ctx ends, the hub
// is to shut down, and reload makes nothing more.
func (d *daemon) reload(ctx context.Context, path string, log *slog.Logger) {
	warning := time.AfterFunc(reloadWarning, func() {
		log.Warn("the reload is not done yet", "config", configName(path), "after", reloadWarning,
			"reason", "a file that it reads hangs, or a handler that it replaces has messages to answer; SIGHUP is heeded again after it")
	})
	defer warning.Stop()
	c, err := load(path)
	if err == nil {
		err = d.apply(ctx, c)
	}
	if err != nil {
		log.Error("config refused; the old one stays in force", "config", configName(path), "err", err)
		return
	}
	d.accounts.refresh()
	log.Info("config applied", "config", configName(path), "listeners", d.listenerNames())
}

// apply puts a config into force: all of it or, if it returns an error, nothing. What
// has not changed keeps running, and connections stay open. One call comes after the other.
//
//  1. What is new is made. Only this can fail.
//  2. The routes change to it at once: a message goes by the old config or by the new one.
//  3. What is old finishes what it has, and ends. Nothing is locked meanwhile: shutdown
//     may begin, and what is in flight here is drained like the rest.
func (d *daemon) apply(ctx context.Context, c *config.Config) error {
	old := d.config
	if first := old.Hub.Name == ""; !first {
		switch {
		case c.Hub.Name != old.Hub.Name || c.Hub.MaxHops != old.Hub.MaxHops:
			return errors.New("hub.name and hub.max_hops cannot change while the hub runs: restart it")
		case c.Log != old.Log:
			return errors.New("log.level and log.format cannot change while the hub runs: restart it")
		}
	}

	// What can fail comes first, while the old config is still in force. It also reads
	// files: where that hangs, shutdown does not wait for it.
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
	devices, err := d.makeDevices(ctx, c)
	if err != nil {
		return rollback(err)
	}
	accounts, err := openAccounts(c.Accounts.File)
	if err != nil {
		return rollback(err)
	}
	handlers, err := d.makeHandlers(c)
	if err != nil {
		return rollback(err)
	}
	routing, err := d.makeRouting(c, filters, handlers)
	if err != nil {
		return rollback(err)
	}
	d.applyMu.Lock()
	unlock := sync.OnceFunc(d.applyMu.Unlock)
	defer unlock()
	if d.shuttingDown {
		return rollback(errors.New("the hub is ending"))
	}
	servers := d.makeServers(c)
	servers.add()
	undo := d.serveNamed(routing, handlers)
	if err := d.router.Configure(routing.routes, routing.handlers, routing.replaced...); err != nil {
		undo()
		servers.discard()
		return rollback(err)
	}

	// From here on nothing can fail.
	if c.Peers.Open && !old.Peers.Open {
		d.log.Warn(`every original server may hand in messages, without an account: peers.classic (network.peers in server.conf) is "open"`,
			"remedy", "list the addresses that may")
	}
	if c.Hub.Dial.Open && !old.Hub.Dial.Open && !c.Classic() {
		d.log.Warn(`handlers and clients may have the hub connect to anything, this machine's own ports too: hub.dial is "open"`,
			"remedy", "list the servers that they need")
	}
	for _, p := range setup.LimitConflicts(c) {
		d.log.Warn("limits contradict each other", "at", p.Error())
	}
	for _, p := range setup.NoHandlers(c) {
		d.log.Warn("no handlers", "at", p.Error())
	}
	for _, p := range setup.UnusedFilters(c) {
		d.log.Warn("a filter is in no route", "at", p.Error())
	}
	for _, p := range setup.ServersAtTLS(c) {
		d.log.Warn("a server's address looks wrong", "at", p.Error())
	}
	for _, p := range setup.MisplacedFilters(c) {
		d.log.Warn("a filter does not see all values", "at", p.Error())
	}
	if c.Accounts.File != old.Accounts.File {
		d.accounts.replace(accounts)
	}
	has := findResources()
	l := limits(c, has)
	tuneGC(has.memory)
	logLimits(d.log, c, l, has)
	d.sessions.SetLimits(l)
	d.router.SetLastValues(int(c.Hub.LastValues))
	replacement := d.replaceHandlers(old, handlers)
	d.mu.Lock()
	d.filters, d.handlers = filters, handlers
	d.mu.Unlock()
	replacement.start()
	d.mu.Lock()
	d.setListeners(c, listeners)
	d.config, d.limits = c, reportLimits(l, has)
	d.mu.Unlock()
	d.sessions.Recheck() // it may log users out, and change which process may be a handler

	d.background.Add(1)
	defer d.background.Done()
	unlock()
	var wg sync.WaitGroup
	wg.Go(func() { d.replaceDevices(d.replacing, devices) })
	wg.Go(func() { replacement.finish(d.replacing) })
	wg.Wait()
	servers.finish()
	return nil
}

// serverOptions are what the config says of other servers.
func serverOptions(c *config.Config, log *slog.Logger) upstream.Options {
	o := upstream.Options{
		Addresses: make(map[hub.ServerName]string), Log: log,
		Unnamed: upstream.Unnamed{All: c.Hub.Dial.Open, Hosts: c.Hub.Dial.Hosts, Ranges: c.Hub.Dial.Ranges},
	}
	for _, s := range c.Servers {
		o.Addresses[s.Name] = s.Address
	}
	for _, r := range c.Routes {
		for _, to := range r.To {
			if _, named := o.Addresses[to.Server]; to.Server != "" && !named {
				o.Unnamed.Routed = append(o.Unnamed.Routed, string(to.Server))
			}
		}
	}
	return o
}

// A serverChange puts the servers of a new config in the place of those before. What waits
// for a server is still sent, before what comes after it.
type serverChange struct {
	d        *daemon
	old, new upstream.Options // old is empty at the start
}

func (d *daemon) makeServers(c *config.Config) *serverChange {
	s := &serverChange{d, serverOptions(d.config, d.log), serverOptions(c, d.log)}
	if d.servers == nil {
		d.mu.Lock()
		d.servers = upstream.NewClassicForwarder(s.old)
		d.mu.Unlock()
	}
	return s
}

// add puts the new servers into force, and keeps those that the new config does not have:
// some messages are on their way to them by the old routes.
func (s *serverChange) add() {
	both := s.new
	both.Addresses = maps.Clone(s.old.Addresses)
	maps.Copy(both.Addresses, s.new.Addresses)
	both.Unnamed.Routed = slices.Concat(s.new.Unnamed.Routed, s.old.Unnamed.Routed)
	s.set(both)
}

// set puts these servers into force.
func (s *serverChange) set(o upstream.Options) {
	s.d.servers.SetServers(o.Addresses, o.Unnamed)
	named := make(map[hub.ServerName]hub.Sink)
	for name := range o.Addresses {
		named[name] = s.d.servers
	}
	s.d.router.Directory().SetServers(named, s.d.servers)
}

// discard puts the old servers back.
func (s *serverChange) discard() { s.set(s.old) }

// finish removes the servers that the new config does not have.
func (s *serverChange) finish() { s.set(s.new) }

// logHops says that hubs send messages in a circle.
func (d *daemon) logHops(m *hub.Message, route hub.Pattern, err error) {
	d.hopsLogLimiter.Log(d.log, slog.LevelWarn, "message refused: it went in a circle",
		slog.String("type", string(m.Type)), slog.String("route", string(route)), slog.Int("hops", m.Hops),
		slog.String("hub", d.router.Name()), slog.Any("err", err),
		slog.String("remedy", "have only one of the hubs send this type on to the other"))
}
