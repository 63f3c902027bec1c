package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/besterhub/bester/hub/asynclog"
)

// signals are the signals that the hub acts on.
type signals struct {
	end     context.Context // done when the hub is to end
	release func()          // from then on SIGTERM and SIGINT end it at once
	hangups chan os.Signal  // SIGHUP: the config is to be read again
}

// catchSignals catches the signals. Those that come before the hub is ready are acted on
// once it is.
func catchSignals() *signals {
	s := &signals{hangups: make(chan os.Signal, 1)} // two that come at once are one
	signal.Notify(s.hangups, syscall.SIGHUP)
	s.end, s.release = signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	asynclog.IgnoreBrokenPipe()
	return s
}

const (
	// startGrace is how long a start goes on after the hub was told to end.
	startGrace = 5 * time.Second
	// endGrace is how long the end may take beyond hub.drain. It includes the time in which
	// handlers end by themselves before they are killed.
	endGrace = 10 * time.Second
)

// A service is a started hub as serve sees it.
type service interface {
	ready()                       // logs that it is
	reload(ctx context.Context)   // applies the config again, as long as ctx is not done
	ending(why error)             // logs that it ends
	drain() (limit time.Duration) // how long shutdown finishes what is in flight
	shutdown() error
}

// serve runs the hub that start starts until a signal ends it. A start, a reload or a
// shutdown that hangs does not keep it from ending.
func serve(s *signals, start func() (service, error)) error {
	var hub service
	var err error
	started := make(chan struct{})
	go func() {
		defer close(started)
		hub, err = start()
	}()
	select {
	case <-started:
	case <-s.end.Done():
		if !closedWithin(started, startGrace) {
			return fmt.Errorf("%w, before it had started", context.Cause(s.end))
		}
	}
	if err != nil {
		return err
	}
	if s.end.Err() == nil {
		hub.ready()
	}
	go func() {
		for {
			select {
			case <-s.hangups:
				hub.reload(s.end)
			case <-s.end.Done():
				return
			}
		}
	}()
	<-s.end.Done()
	hub.ending(context.Cause(s.end))
	s.release() // a second signal ends it at once
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err = hub.shutdown()
	}()
	if limit := hub.drain() + endGrace; !closedWithin(ended, limit) {
		return fmt.Errorf("something did not end within %v and was cut off", limit)
	}
	return err
}

// A hubService is the service of a config file.
type hubService struct {
	*daemon
	path string
}

// startService reads the config at path and starts its hub.
func startService(path string, stderr *asynclog.Writer) (service, error) {
	c, err := load(path)
	if err != nil {
		return nil, err
	}
	d, err := start(c, newLog(stderr, c.Log), stderr.Lost)
	if err != nil {
		return nil, err
	}
	return hubService{d, path}, nil
}

func (h hubService) ready() {
	h.log.Info("ready", "version", version, "config", configName(h.path), "hub", h.config.Hub.Name, "listeners", h.listenerNames(), "pid", os.Getpid())
}

func (h hubService) reload(ctx context.Context) { h.daemon.reload(ctx, h.path, h.log) }

func (h hubService) ending(why error) {
	h.log.Info("ending: what was taken is answered or handed on", "why", why)
}

func (h hubService) shutdown() error {
	err := h.daemon.shutdown(h.log)
	h.logTotals(h.log)
	return err
}

// closedWithin waits until c is closed, and reports whether it was within d.
func closedWithin(c <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-c:
		return true
	case <-timer.C:
		return false
	}
}
