package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/besterhub/bester/cmd/internal/setup"
	"github.com/besterhub/bester/hub/config"
	"github.com/besterhub/bester/hub/session"
)

// A listenAddress identifies a listener. The other settings of the listener can change
// while it stays open.
type listenAddress struct{ network, address string }

func listenAddressOf(c config.Listen) listenAddress { return listenAddress{c.Network, c.Address} }

// openedListeners are the listeners of a config that are new. They are not served yet.
type openedListeners struct {
	sessions map[listenAddress]*session.Listener
	daemon   *daemon
	informer net.Listener // nil: none, or open already
	// The certificates of all TLS listeners are read again, because a file may change
	// while its name stays.
	certificates map[listenAddress]*tls.Certificate
}

// close closes what was opened, for a config that is not put into force.
func (o *openedListeners) close() {
	defer o.daemon.removeMade()
	for _, l := range o.sessions {
		l.Close()
	}
	if o.informer != nil {
		o.informer.Close()
	}
}

// openListeners opens those listeners of a config that are not open yet.
func (d *daemon) openListeners(c *config.Config) (*openedListeners, error) {
	o := &openedListeners{daemon: d, sessions: make(map[listenAddress]*session.Listener), certificates: make(map[listenAddress]*tls.Certificate)}
	for _, want := range c.Listen {
		at := listenAddressOf(want)
		if want.Network == config.TLS {
			cert, err := setup.LoadCertificate(want)
			if err != nil {
				o.close()
				return nil, fmt.Errorf("listen tls %s: certificate: %w", want.Address, err)
			}
			for _, text := range setup.CertificateWarnings(want.Certificate, cert, time.Now()) {
				d.log.Warn("clients may not take the certificate", "listener", want.Address, "why", text)
			}
			o.certificates[at] = cert
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
	o := listenOptions(c)
	switch c.Network {
	case config.TLS:
		o.TLS = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return (*d.certificates.Load())[listenAddressOf(c)], nil
		}}
	case config.Unix:
		made, err := makeSocketDir(c)
		d.noteMade(made)
		if err != nil {
			return nil, fmt.Errorf("listen unix %s: %w", c.Address, err)
		}
	}
	l, err := session.Listen(c.Network, c.Address, o)
	if remedy := setup.PortRemedy(err); remedy != "" && c.Network != config.Unix {
		err = fmt.Errorf("listen %s %s: %s", c.Network, c.Address, remedy)
	}
	return l, err
}

func listenOptions(c config.Listen) session.ListenOptions {
	return session.ListenOptions{Mode: c.Mode, Group: c.Group, TrustPeerCredentials: c.Trust}
}

// makeSocketDir makes the folder of a socket. If the hub runs as root, or the socket's
// group or mode admits other users, they may pass through the folder but not write to
// it: the mode of the socket says who may connect. Otherwise the folder is for this user
// alone. An existing folder must belong to this user or to root, because its owner
// controls the name of the socket. makeSocketDir returns the folders that it has made, the
// inner ones first, also with an error.
func makeSocketDir(c config.Listen) (made []string, err error) {
	dir := filepath.Dir(c.Address)
	info, err := os.Stat(dir)
	if os.IsNotExist(err) {
		mode := fs.FileMode(0o700)
		if os.Geteuid() == 0 || c.Group != "" || c.Mode&0o007 != 0 {
			mode = 0o755
		}
		var missing []string // the outer ones last
		for parent := dir; os.IsNotExist(err); _, err = os.Stat(parent) {
			missing = append(missing, parent)
			parent = filepath.Dir(parent)
		}
		for _, folder := range slices.Backward(missing) {
			switch err := os.Mkdir(folder, mode); {
			case err == nil:
				made = slices.Insert(made, 0, folder)
				if err := os.Chmod(folder, mode); err != nil { // whatever the umask
					return made, err
				}
			case !os.IsExist(err): // another may make it, too
				return made, fmt.Errorf("the socket's folder cannot be made: choose another path, or make it first: %w", err)
			}
		}
		return made, nil
	}
	if err != nil {
		return nil, err
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok && s.Uid != 0 && int(s.Uid) != os.Geteuid() {
		return nil, fmt.Errorf("folder %s belongs to user %d: remove it or choose another path", dir, s.Uid)
	}
	return nil, nil
}

// noteMade logs folders that were made for a socket, and has shutdown remove them. More than
// one is hardly what was meant.
func (d *daemon) noteMade(folders []string) {
	if len(folders) == 0 {
		return
	}
	d.mu.Lock()
	d.madeFolders = append(folders, d.madeFolders...)
	d.mu.Unlock()
	level := slog.LevelInfo
	if len(folders) > 1 {
		level = slog.LevelWarn
	}
	d.log.Log(context.Background(), level, "folder made for a socket", "folder", folders[0], "made", len(folders))
}

// removeMade removes the folders that were made for sockets and are empty.
func (d *daemon) removeMade() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, folder := range d.madeFolders {
		os.Remove(folder) // fails if there is anything in it
	}
}

// setListeners serves what was opened and closes what the config no longer names.
// Sessions that came over a closed listener stay.
func (d *daemon) setListeners(c *config.Config, o *openedListeners) {
	d.certificates.Store(&o.certificates)
	for at, l := range d.listeners {
		i := slices.IndexFunc(c.Listen, func(want config.Listen) bool { return listenAddressOf(want) == at })
		if i < 0 {
			l.Close()
			delete(d.listeners, at)
			continue
		}
		if err := l.SetAccess(listenOptions(c.Listen[i])); err != nil {
			d.log.Error("socket keeps its old group or mode", "listener", l.String(), "err", err)
		}
	}
	for at, l := range o.sessions {
		d.listeners[at] = l
		d.goBackground(func() { d.sessions.Serve(l) })
	}
	if c.Informer.Socket != d.config.Informer.Socket && d.informerListener != nil {
		d.informerListener.Close()
		d.informerListener = nil
	}
	if l := o.informer; l != nil {
		d.informerListener = l
		d.goBackground(func() { d.informer.Serve(l) })
	}
}

// listenerNames lists the listeners as "tcp4://127.0.0.1:2223".
func (d *daemon) listenerNames() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []string
	for _, l := range d.listeners {
		all = append(all, l.String())
	}
	slices.Sort(all)
	return all
}

// peerCredentialsSocket returns the socket on which the hub's own handler processes connect: the
// first UNIX socket that trusts the hub's own user, or "" if there is none.
func peerCredentialsSocket(c *config.Config) string {
	for _, l := range c.Listen {
		if l.Network == config.Unix && l.Trust {
			return l.Address
		}
	}
	return ""
}
