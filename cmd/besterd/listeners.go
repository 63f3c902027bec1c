package main

import (
	"crypto/tls"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/besterhub/bester/hub/config"
	"github.com/besterhub/bester/hub/session"
)

// A place is where a listener listens. What else the config says of it can change
// while it stays open.
type place struct{ network, address string }

func placeOf(c config.Listen) place { return place{c.Network, c.Address} }

// opened are the listeners of a config that were not open before, still unserved.
type opened struct {
	sessions map[place]*session.Listener
	informer net.Listener // nil: none, or open already
	// The certificates of all TLS listeners, read anew: they change on disk while
	// their names stay.
	certificates map[place]*tls.Certificate
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
	o := &opened{sessions: make(map[place]*session.Listener), certificates: make(map[place]*tls.Certificate)}
	for _, want := range c.Listen {
		at := placeOf(want)
		if want.Network == config.TLS {
			cert, err := tls.LoadX509KeyPair(want.Certificate, want.Key)
			if err != nil {
				o.close()
				return nil, fmt.Errorf("listen tls %s: certificate: %w", want.Address, err)
			}
			o.certificates[at] = &cert
		}
		if d.listeners[at] != nil {
			continue
		}
		l, err := d.listen(want)
		if err != nil {
			o.close()
			return nil, err
		}
		o.sessions[at] = l
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

func (d *daemon) listen(c config.Listen) (*session.Listener, error) {
	o := options(c)
	switch c.Network {
	case config.TLS:
		o.TLS = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return (*d.certificates.Load())[placeOf(c)], nil
		}}
	case config.Unix:
		if err := makeFolder(c); err != nil {
			return nil, fmt.Errorf("listen unix %s: %w", c.Address, err)
		}
	}
	return session.Listen(c.Network, c.Address, o)
}

func options(c config.Listen) session.ListenOptions {
	return session.ListenOptions{Mode: c.Mode, Group: c.Group, Trust: c.Trust}
}

// makeFolder makes the folder of a socket. Others may go through it, but not write in
// it, where the hub is root's or the socket's group or mode lets them in: the socket
// itself says who may connect. Else it is for this user alone. One that is there must
// belong to this user or to root: who owns the folder owns the socket's name.
func makeFolder(c config.Listen) error {
	dir := filepath.Dir(c.Address)
	info, err := os.Stat(dir)
	if os.IsNotExist(err) {
		mode := fs.FileMode(0o700)
		if os.Geteuid() == 0 || c.Group != "" || c.Mode&0o007 != 0 {
			mode = 0o755
		}
		if err := os.MkdirAll(dir, mode); err != nil {
			return err
		}
		return os.Chmod(dir, mode) // whatever the umask
	}
	if err != nil {
		return err
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok && s.Uid != 0 && int(s.Uid) != os.Geteuid() {
		return fmt.Errorf("folder %s belongs to user %d: remove it or choose another path", dir, s.Uid)
	}
	return nil
}

// setListeners serves what was opened and closes what the config no longer names.
// Sessions that came over a closed listener stay.
func (d *daemon) setListeners(c *config.Config, o *opened) {
	d.certificates.Store(&o.certificates)
	for at, l := range d.listeners {
		i := slices.IndexFunc(c.Listen, func(want config.Listen) bool { return placeOf(want) == at })
		if i < 0 {
			l.Close()
			delete(d.listeners, at)
			continue
		}
		if err := l.SetAccess(options(c.Listen[i])); err != nil {
			d.log.Error("socket keeps its old group or mode", "listener", l.String(), "err", err)
		}
	}
	for at, l := range o.sessions {
		d.listeners[at] = l
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
