package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/config"
	"github.com/besterhub/bester/hub/informer"
	"github.com/besterhub/bester/hub/link"
	"github.com/besterhub/bester/hub/session"
	"github.com/besterhub/bester/hub/upstream"
)

// A daemon is a running hub: the rooms of the project, wired as the config says.
type daemon struct {
	log    *slog.Logger
	began  time.Time
	router *hub.Router

	accounts *accounts
	sessions *session.Server
	groups   *link.Groups
	informer *informer.Server

	mu               sync.Mutex // held while a config is applied, or the daemon ends
	config           *config.Config
	servers          *upstream.Direct
	listeners        map[config.Listen]*session.Listener
	handlers         map[string]*handler
	filters          map[string]*filter
	devices          map[string]*device
	informerListener net.Listener
	certificates     atomic.Pointer[map[config.Listen]*tls.Certificate]
	stop             context.CancelFunc // ends what runs beside: the look at the accounts file
	beside           sync.WaitGroup
	ended            bool
}

// start starts a hub. It is ready when start returns.
func start(c *config.Config, log *slog.Logger) (*daemon, error) {
	d := &daemon{
		log: log, began: time.Now(), config: new(config.Config),
		listeners: make(map[config.Listen]*session.Listener),
		handlers:  make(map[string]*handler),
		filters:   make(map[string]*filter),
		devices:   make(map[string]*device),
	}
	d.router = hub.NewRouter(hub.RouterOptions{Name: c.Hub.Name, MaxHops: c.Hub.MaxHops})
	d.accounts = &accounts{log: log, changed: func() { d.sessions.Recheck() }}
	d.groups = link.NewGroups(link.GroupsOptions{Router: d.router, Name: c.Hub.Name, Options: link.Options{Log: log}})
	d.sessions = session.NewServer(session.Options{
		Router: d.router, Hub: c.Hub.Name, Accounts: d.accounts, Log: log,
		Handler: d.attach, MayBe: d.mayBe, Status: d.status, Limits: limits(c),
	})
	d.informer = informer.NewServer(informer.Options{
		Directory: d.router.Directory(), Listeners: d.listening, Admin: d.admin, Log: log,
	})
	if err := d.apply(c); err != nil {
		d.shutdown(log)
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	d.stop = stop
	d.run(func() { d.watchAccounts(ctx) })
	return d, nil
}

// run runs f beside, until shutdown has waited for it.
func (d *daemon) run(f func()) {
	d.beside.Add(1)
	go func() {
		defer d.beside.Done()
		f()
	}()
}

// watchAccounts has what "bester account" changes count also for those who are
// logged in already.
func (d *daemon) watchAccounts(ctx context.Context) {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			d.accounts.refresh()
		}
	}
}

// reload reads the config again and applies it, or logs why not.
func (d *daemon) reload(path string, log *slog.Logger) {
	c, err := load(path)
	if err == nil {
		err = d.apply(c)
	}
	if err != nil {
		log.Error("config refused; the old one stays in force", "config", orDefaults(path), "err", err)
		return
	}
	d.accounts.refresh()
	log.Info("config applied", "config", orDefaults(path), "listeners", d.listening())
}

// apply puts a config into force: all of it, or, with an error, nothing. What has not
// changed goes on untouched, and connections stay.
func (d *daemon) apply(c *config.Config) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return errors.New("the hub is ending")
	}
	old := d.config
	first := len(d.listeners) == 0
	if !first && (c.Hub.Name != old.Hub.Name || c.Hub.MaxHops != old.Hub.MaxHops) {
		return errors.New("hub.name and hub.max_hops cannot change while the hub runs: restart it")
	}

	// What can fail comes first, beside what is there already.
	opened, err := d.open(c)
	if err != nil {
		return err
	}
	filters, err := d.makeFilters(c)
	if err != nil {
		opened.close()
		return err
	}
	devices, err := d.makeDevices(c)
	if err != nil {
		opened.close()
		return err
	}
	if first || c.Accounts.File != old.Accounts.File {
		if err := d.accounts.open(c.Accounts.File); err != nil {
			opened.close()
			return err
		}
	}
	if err := d.setHandlers(c, socket(c)); err != nil {
		opened.close()
		d.setHandlers(old, socket(old))
		return err
	}
	if err := d.setRoutes(c, filters); err != nil {
		opened.close()
		d.setHandlers(old, socket(old))
		return err
	}

	// From here on nothing can fail.
	if c.Peers.Open && !old.Peers.Open {
		d.log.Warn(`every original server may hand in messages, without an account: peers.classic (network.peers in server.conf) is "open"`,
			"remedy", "list the addresses that may")
	}
	d.filters = filters
	d.sessions.SetLimits(limits(c))
	d.setServers(c)
	d.setListeners(c, opened)
	d.setDevices(devices)
	d.config = c
	return nil
}

// limits are what the config says of sessions.
func limits(c *config.Config) session.Limits {
	full := map[string]bformat.Full{config.DropOldest: bformat.DropOldest, config.DropNewest: bformat.DropNewest, config.Close: bformat.Close}
	return session.Limits{
		Login: c.Session.Login, Connections: c.Session.Connections, Frame: int(c.Hub.Frame),
		Queue: int(c.Session.Queue), Full: full[c.Session.Full], Write: c.Session.Write,
		Credits: c.Session.Credits, Peer: c.Peers.Allow,
	}
}

// setServers puts the servers that have names into force. What waits for the old
// ones is still sent.
func (d *daemon) setServers(c *config.Config) {
	if d.servers != nil && reflect.DeepEqual(c.Servers, d.config.Servers) {
		return
	}
	addresses := make(map[hub.ServerName]string)
	for _, s := range c.Servers {
		addresses[s.Name] = s.Address
	}
	if old := d.servers; old != nil {
		d.run(func() {
			ctx, cancel := context.WithTimeout(context.Background(), c.Hub.Drain)
			defer cancel()
			old.Shutdown(ctx)
		})
	}
	d.servers = upstream.NewDirect(upstream.Options{Addresses: addresses})
	named := make(map[hub.ServerName]hub.Sink)
	for name := range addresses {
		named[name] = d.servers
	}
	d.router.Directory().SetServers(named, d.servers)
}

// shutdown ends the hub: nothing new is taken, what was taken is answered or handed
// on, as long as hub.drain allows.
func (d *daemon) shutdown(log *slog.Logger) error {
	d.mu.Lock()
	d.ended = true // nothing is applied any more
	drain := max(d.config.Hub.Drain, time.Second)
	devices, servers := d.devices, d.servers
	d.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	if d.stop != nil {
		d.stop()
	}
	for _, dev := range devices {
		dev.end()
	}
	// Sessions wait for the answers of handlers, handlers for nobody: in this order
	// every answer still finds its session.
	err := errors.Join(named("sessions", d.sessions.Shutdown(ctx)), named("handlers", d.endHandlers(ctx)))
	if servers != nil {
		err = errors.Join(err, named("servers", servers.Shutdown(ctx)))
	}
	err = errors.Join(err, named("informer", d.informer.Shutdown(ctx)))
	d.beside.Wait()
	s := d.router.Stats()
	log.Info("ended", "taken", s.Taken, "delivered", s.Delivered, "failed", s.Failed, "after", time.Since(d.began).Round(time.Second).String())
	return err
}

func named(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s were cut off: %w", what, err)
}

// admin is what serverInfo says of this hub: one JSON value, or nil.
func (d *daemon) admin() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	b, err := json.Marshal(d.config.Admin.Info)
	if err != nil {
		return nil
	}
	return b
}
