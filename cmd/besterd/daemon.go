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
	"github.com/besterhub/bester/hub/lograte"
	"github.com/besterhub/bester/hub/session"
	"github.com/besterhub/bester/hub/upstream"
)

// A daemon is a running hub: the packages of the project, wired as the config says.
type daemon struct {
	log       *slog.Logger
	logLost   func() uint64 // how many lines of log were lost
	startedAt time.Time
	router    *hub.Router

	accounts       *accounts
	sessions       *session.Server
	groups         *link.Groups
	informer       *informer.Server
	hopsLogLimiter lograte.Limiter // of messages that go in a circle
	handlerTypes   lograte.Limiter // of processes that name other types than the config

	applyMu       sync.Mutex         // held while a config is put into force, and when shutdown begins: never while something may hang
	replacing     context.Context    // ends when shutdown no longer waits for what a config replaces
	stopReplacing context.CancelFunc // ends it

	mu               sync.Mutex // guards what follows, all of it made from the config in force
	config           *config.Config
	limits           limitsReport
	servers          *upstream.ClassicForwarder
	listeners        map[listenAddress]*session.Listener
	handlers         map[string]*handler
	filters          map[string]*filter
	devices          map[string]*device
	informerListener net.Listener
	certificates     atomic.Pointer[map[listenAddress]*tls.Certificate]
	stopWatching     context.CancelFunc // ends watchAccounts
	background       sync.WaitGroup
	madeFolders      []string // for sockets, the inner ones first; see removeMade
	shuttingDown     bool
}

// start starts a hub. It is ready when start returns. logLost says how many lines of log
// were lost.
func start(c *config.Config, log *slog.Logger, logLost func() uint64) (*daemon, error) {
	d := &daemon{
		log: log, logLost: logLost, startedAt: time.Now(), config: new(config.Config), hopsLogLimiter: lograte.Limiter{Every: time.Minute, Burst: 4},
		handlerTypes: lograte.Limiter{Every: time.Minute, Burst: 4},
		listeners:    make(map[listenAddress]*session.Listener),
		handlers:     make(map[string]*handler),
		filters:      make(map[string]*filter),
		devices:      make(map[string]*device),
	}
	d.replacing, d.stopReplacing = context.WithCancel(context.Background())
	d.router = hub.NewRouter(hub.RouterOptions{Name: c.Hub.Name, MaxHops: c.Hub.MaxHops, OnHops: d.logHops, Log: log})
	d.accounts = newAccounts(log, func() { d.sessions.Recheck() })
	d.groups = link.NewGroups(link.GroupsOptions{Router: d.router, Name: c.Hub.Name, Options: link.Options{Log: log}})
	d.sessions = session.NewServer(session.Options{
		Router: d.router, Hub: c.Hub.Name, Accounts: d.accounts, Log: log,
		Handler: d.attachHandler, AuthorizeHandler: d.checkHandlerRight, Status: d.status, Limits: limits(c, findResources()),
	})
	d.informer = informer.NewServer(informer.Options{
		Directory: d.router.Directory(), Listeners: d.listenerNames, Admin: d.adminInfo, Log: log,
	})
	if err := d.apply(context.Background(), c); err != nil {
		d.shutdown(log)
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	d.stopWatching = stop
	d.goBackground(func() { d.watchAccounts(ctx) })
	return d, nil
}

// goBackground runs f in a goroutine that shutdown waits for.
func (d *daemon) goBackground(f func()) {
	d.background.Add(1)
	go func() {
		defer d.background.Done()
		f()
	}()
}

// watchAccounts reads the accounts file again when it has changed, so that a change also
// applies to users who are logged in already.
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

// What hub.drain has not sufficed for has these times beyond it. Both run at once, and are
// shorter than endGrace.
const (
	forceGrace = time.Second     // handlers and servers end by themselves; then messages in flight there fail
	flushGrace = 6 * time.Second // sessions write what is queued for them
)

// shutdown stops the hub. It takes no new messages, and drains those that are in flight
// for at most hub.drain.
//
//  1. The devices stop, and the sessions stop reading.
//  2. Messages in flight are finished by handlers and servers, which still work.
//  3. Handlers and servers end. Messages that are still in flight there fail.
//  4. Sessions write what is queued for them, also that a message has failed.
//
// Each step has a limit of its own: what hangs in one leaves the next its time.
func (d *daemon) shutdown(log *slog.Logger) error {
	d.applyMu.Lock()
	d.mu.Lock()
	d.shuttingDown = true // no config is applied from now on
	devices, servers, handlers := d.devices, d.servers, d.handlers
	d.mu.Unlock()
	d.applyMu.Unlock()
	drained, cancel := context.WithTimeout(context.Background(), d.drain())
	defer cancel()
	if d.stopWatching != nil {
		d.stopWatching()
	}
	devicesEnded := make(chan error, 1)
	go func() { devicesEnded <- stopDevices(drained, devices) }()
	err := cutOffError("messages were", d.sessions.Drain(drained))
	err = errors.Join(err, <-devicesEnded)
	if err == nil { // the last readings may have come meanwhile
		err = cutOffError("messages were", d.router.Drain(drained))
	}

	forced, cancel := afterDrain(drained, forceGrace)
	defer cancel()
	flushed, cancel := afterDrain(drained, flushGrace)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	shutDown := func(ctx context.Context, what string, shutdown func(context.Context) error) {
		wg.Go(func() {
			if e := cutOffError(what, shutdown(ctx)); e != nil {
				mu.Lock()
				defer mu.Unlock()
				err = errors.Join(err, e)
			}
		})
	}
	d.mu.Lock()
	d.stopReplacing() // no handler is started from now on
	d.mu.Unlock()
	shutDown(forced, "handlers were", d.groups.Shutdown)
	for name, h := range handlers {
		if h.retire != nil {
			shutDown(forced, "handler "+name+" was", func(ctx context.Context) error { return h.retire(ctx, nil) })
		}
	}
	if servers != nil {
		shutDown(forced, "messages for servers were", servers.Shutdown)
	}
	shutDown(forced, "informer was", d.informer.Shutdown)
	shutDown(flushed, "sessions were", d.sessions.Shutdown) // once handlers and servers have answered or failed all
	wg.Wait()
	d.background.Wait()
	d.removeMade()
	return err
}

// afterDrain returns a context for what comes after draining. It ends with drained, or grace
// from now if that is later.
func afterDrain(drained context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	end := time.Now().Add(grace)
	if t, ok := drained.Deadline(); ok && t.After(end) {
		end = t
	}
	return context.WithDeadline(context.Background(), end)
}

// drain is how long messages in flight are drained.
func (d *daemon) drain() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return max(d.config.Hub.Drain, time.Second)
}

// logTotals logs how many messages were taken, delivered and failed.
func (d *daemon) logTotals(log *slog.Logger) {
	s := d.routerStats()
	log.Info("ended", "taken", s.Taken, "delivered", s.Delivered, "failed", s.Failed, "lost", s.Lost, "after", time.Since(d.startedAt).Round(time.Second).String())
}

func cutOffError(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s cut off: %w", what, err)
}

// adminInfo is what serverInfo says of this hub: one JSON value, or nil.
func (d *daemon) adminInfo() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	b, err := json.Marshal(d.config.Admin.Info)
	if err != nil {
		return nil
	}
	return b
}
