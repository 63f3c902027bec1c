package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"slices"

	"github.com/besterhub/bester/hub/config"
	"github.com/besterhub/bester/hub/session"
)

// opened are the listeners of a config that were not open before, still unserved.
type opened struct {
	sessions map[config.Listen]*session.Listener
	informer net.Listener // nil: none, or open already
}

func (o *opened) close() {
	for _, l := range o.sessions {
		l.Close()
	}
	if o.informer != nil {
		o.informer.Close()
	}
}

// open opens those listeners of a config that are not open yet.
func (d *daemon) open(c *config.Config) (*opened, error) {
	o := &opened{sessions: make(map[config.Listen]*session.Listener)}
	for _, want := range c.Listen {
		if d.listeners[want] != nil {
			continue
		}
		l, err := listen(want)
		if err != nil {
			o.close()
			return nil, err
		}
		o.sessions[want] = l
	}
	if path := c.Informer.Socket; path != "" && path != d.config.Informer.Socket {
		l, err := session.Listen(config.Unix, path, session.ListenOptions{})
		if err != nil {
			o.close()
			return nil, fmt.Errorf("informer: %w", err)
		}
		o.informer = l
	}
	return o, nil
}

func listen(c config.Listen) (*session.Listener, error) {
	o := session.ListenOptions{Mode: c.Mode, Group: c.Group, Trust: c.Trust}
	switch c.Network {
	case config.TLS:
		cert, err := tls.LoadX509KeyPair(c.Certificate, c.Key)
		if err != nil {
			return nil, fmt.Errorf("listen tls %s: certificate: %w", c.Address, err)
		}
		o.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	case config.Unix:
		if err := makeFolder(c.Address); err != nil {
			return nil, fmt.Errorf("listen unix %s: %w", c.Address, err)
		}
	}
	return session.Listen(c.Network, c.Address, o)
}

// setListeners serves what was opened and closes what the config no longer names.
// Sessions that came over a closed listener stay.
func (d *daemon) setListeners(c *config.Config, o *opened) {
	for want, l := range d.listeners {
		if !slices.Contains(c.Listen, want) {
			l.Close()
			delete(d.listeners, want)
		}
	}
	for want, l := range o.sessions {
		d.listeners[want] = l
		d.run(func() { d.sessions.Serve(l) })
	}
	if c.Informer.Socket != d.config.Informer.Socket && d.informerListener != nil {
		d.informerListener.Close()
		d.informerListener = nil
	}
	if l := o.informer; l != nil {
		d.informerListener = l
		d.run(func() { d.informer.Serve(l) })
	}
}

// listening lists the listeners as "tcp4://127.0.0.1:2223".
func (d *daemon) listening() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []string
	for _, l := range d.listeners {
		all = append(all, l.String())
	}
	slices.Sort(all)
	return all
}

// socket is where the hub's own handler processes find it: its first UNIX socket
// that trusts the hub's own user. "" if there is none.
func socket(c *config.Config) string {
	for _, l := range c.Listen {
		if l.Network == config.Unix && l.Trust {
			return l.Address
		}
	}
	return ""
}
