package main

import (
	"context"
	"fmt"
	"log/slog"
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

// A startedHub is a hub that was started, and its log.
type startedHub struct {
	*daemon
	log *slog.Logger
}

// serve runs the hub of the config at path until a signal ends it.
func serve(s *signals, path string, stderr *asynclog.Writer) error {
	var h startedHub
	var err error
	begun := make(chan struct{})
	go func() {
		defer close(begun)
		h, err = begin(path, stderr)
	}()
	select {
	case <-begun:
	case <-s.end.Done():
		if !closedWithin(begun, startGrace) {
			return fmt.Errorf("%w, before it had started", context.Cause(s.end))
		}
	}
	if err != nil {
		return err
	}
	if s.end.Err() == nil {
		h.log.Info("ready", "version", version, "config", configName(path), "hub", h.config.Hub.Name, "listeners", h.listenerNames(), "pid", os.Getpid())
	}
	go func() {
		for {
			select {
			case <-s.hangups:
				h.reload(s.end, path, h.log)
			case <-s.end.Done():
				return
			}
		}
	}()
	<-s.end.Done()
	return h.end(s)
}

// begin reads the config at path and starts its hub.
func begin(path string, stderr *asynclog.Writer) (startedHub, error) {
	c, err := load(path)
	if err != nil {
		return startedHub{}, err
	}
	log := newLog(stderr, c.Log)
	d, err := start(c, log, stderr.Lost)
	return startedHub{d, log}, err
}

// end ends the hub, which has been told to.
func (h startedHub) end(s *signals) error {
	h.log.Info("ending: what was taken is answered or handed on", "why", context.Cause(s.end))
	s.release() // a second signal ends it at once
	var err error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err = h.shutdown(h.log)
	}()
	if limit := h.drain() + endGrace; !closedWithin(ended, limit) {
		return fmt.Errorf("something did not end within %v and was cut off", limit)
	}
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
