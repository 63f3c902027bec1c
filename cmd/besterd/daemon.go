package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/besterhub/bester/hub"
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

	applying sync.Mutex // held while a config is applied, and by the daemon's end

	mu               sync.Mutex // guards what follows, all of it what the config in force has made
	config           *config.Config
	servers          *upstream.Direct
	listeners        map[place]*session.Listener
	handlers         map[string]*handler
	filters          map[string]*filter
	devices          map[string]*device
	informerListener net.Listener
	certificates     atomic.Pointer[map[place]*tls.Certificate]
	stop             context.CancelFunc // ends what runs beside: the look at the accounts file
	beside           sync.WaitGroup
	ended            bool
}

// start starts a hub. It is ready when start returns.
func start(c *config.Config, log *slog.Logger) (*daemon, error) {
	d := &daemon{
		log: log, began: time.Now(), config: new(config.Config),
		listeners: make(map[place]*session.Listener),
		handlers:  make(map[string]*handler),
		filters:   make(map[string]*filter),
		devices:   make(map[string]*device),
	}
	d.router = hub.NewRouter(hub.RouterOptions{Name: c.Hub.Name, MaxHops: c.Hub.MaxHops, Log: log})
	d.accounts = &accounts{log: log, changed: func() { d.sessions.Recheck() }}
	d.groups = link.NewGroups(link.GroupsOptions{Router: d.router, Name: c.Hub.Name, Options: link.Options{Log: log}})
	d.sessions = session.NewServer(session.Options{
		Router: d.router, Hub: c.Hub.Name, Accounts: d.accounts, Log: log,
		Handler: d.attach, AuthorizeHandler: d.mayBe, Status: d.status, Limits: limits(c),
	})
	d.informer = informer.NewServer(informer.Options{
		Directory: d.router.Directory(), Listeners: d.listening, Admin: d.admin, Log: log,
	})
	if err := d.apply(context.Background(), c); err != nil {
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

// shutdown ends the hub: nothing new is taken, what was taken is answered or handed
// on, as long as hub.drain allows.
//
//  1. The devices end, and the sessions read no more.
//  2. What is under way comes to its end, through handlers and servers that still work.
//  3. Sessions write out what waits for them, and all else ends beside.
func (d *daemon) shutdown(log *slog.Logger) error {
	d.applying.Lock()
	defer d.applying.Unlock() // and nothing is applied any more
	d.mu.Lock()
	d.ended = true
	ctx, cancel := context.WithTimeout(context.Background(), max(d.config.Hub.Drain, time.Second))
	devices, servers, handlers := d.devices, d.servers, d.handlers
	d.mu.Unlock()
	defer cancel()
	if d.stop != nil {
		d.stop()
	}
	var ends sync.WaitGroup
	for _, v := range devices {
		ends.Go(v.end)
	}
	err := named("messages", d.sessions.Drain(ctx))
	ends.Wait()
	if err == nil { // the last readings may have come meanwhile
		err = named("messages", d.router.Drain(ctx))
	}

	var mu sync.Mutex
	end := func(what string, shutdown func(context.Context) error) {
		ends.Go(func() {
			if e := named(what, shutdown(ctx)); e != nil {
				mu.Lock()
				defer mu.Unlock()
				err = errors.Join(err, e)
			}
		})
	}
	end("sessions", d.sessions.Shutdown)
	end("handlers", d.groups.Shutdown)
	for name, h := range handlers {
		if h.end != nil {
			end("handler "+name, func(ctx context.Context) error { return h.end(ctx, nil) })
		}
	}
	if servers != nil {
		end("servers", servers.Shutdown)
	}
	end("informer", d.informer.Shutdown)
	ends.Wait()
	d.beside.Wait()
	return err
}

// sumUp logs what has been done.
func (d *daemon) sumUp(log *slog.Logger) {
	s := d.router.Stats()
	log.Info("ended", "taken", s.Taken, "delivered", s.Delivered, "failed", s.Failed, "after", time.Since(d.began).Round(time.Second).String())
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
