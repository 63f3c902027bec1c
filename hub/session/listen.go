package session

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"strconv"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/socket"
)

// A Listener accepts connections for a Server.
type Listener struct {
	net.Listener
	network              string // as in the config: unix, tcp4, tcp6, tls
	trustPeerCredentials atomic.Bool
	path                 string // of a UNIX socket
}

// Listen opens a listener: network is "tcp4", "tcp6" (which takes IPv6 only),
// "tls" or "unix". Close it, or let Server.Shutdown do so.
//
// A UNIX socket that a running program serves is an error; a stale one is replaced.
func Listen(network, address string, o ListenOptions) (*Listener, error) {
	l := &Listener{network: network}
	l.trustPeerCredentials.Store(o.TrustPeerCredentials && network == "unix")
	var err error
	switch network {
	case "unix":
		l.path = address
		l.Listener, err = listenUnix(address, o)
	case "tls":
		if o.TLS == nil || len(o.TLS.Certificates) == 0 && o.TLS.GetCertificate == nil {
			return nil, fmt.Errorf("listen tls %s: no certificate", address)
		}
		var tcp net.Listener
		if tcp, err = net.Listen("tcp", address); err == nil {
			tcp = alertListener{tcp.(*net.TCPListener)}
			config := o.TLS.Clone()
			config.MinVersion = tls.VersionTLS13
			l.Listener = tls.NewListener(tcp, config)
		}
	case "tcp4", "tcp6":
		l.Listener, err = net.Listen(network, address)
	default:
		return nil, fmt.Errorf("listen: unknown network %q: want unix, tcp4, tcp6 or tls", network)
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		other := "port"
		if network == "unix" {
			other = "path"
		}
		return nil, hub.Reason(syscall.EADDRINUSE, "listen %s %s: in use by another program: stop it or choose another %s", network, address, other)
	}
	if err != nil {
		return nil, fmt.Errorf("listen %s %s: %w", network, address, err)
	}
	return l, nil
}

// ListenOptions say how a listener is opened. The zero value is a UNIX socket of
// mode 0660, or a TCP port.
type ListenOptions struct {
	Mode                 fs.FileMode // of a UNIX socket; if zero, 0660
	Group                string      // that owns a UNIX socket; if empty, the hub's own
	TrustPeerCredentials bool        // UNIX: peers with the hub's own uid, or root's, need no password
	TLS                  *tls.Config // for "tls": its certificates; TLS 1.3 is always the least
}

// String returns what the original prints of a listener: "tcp4://127.0.0.1:2223".
func (l *Listener) String() string {
	if l.path != "" {
		return l.network + "://" + l.path
	}
	return l.network + "://" + l.Addr().String()
}

func listenUnix(path string, o ListenOptions) (net.Listener, error) {
	if len(path) > socket.MaxPath {
		return nil, fmt.Errorf("a path of %d bytes: the system takes at most %d", len(path), socket.MaxPath)
	}
	if err := socket.RemoveStale(path); err != nil {
		return nil, err
	}
	// The socket must never be more accessible than its mode says, so it is created with
	// mode 0: bind gives the file the mode of the socket. A umask would affect all files
	// that the process creates at that moment.
	closed := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if e := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0) }); e != nil {
			return e
		}
		return err
	}}
	listener, err := closed.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	l, err := socket.Own(listener.(*net.UnixListener), path)
	if err != nil {
		return nil, err
	}
	if err := setAccess(path, o); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// setAccess sets the group and mode of a UNIX socket.
func setAccess(path string, o ListenOptions) error {
	if o.Group != "" {
		if err := chgrp(path, o.Group); err != nil {
			return err
		}
	} else if err := os.Chown(path, -1, os.Getegid()); err != nil {
		return err
	}
	mode := o.Mode
	if mode == 0 {
		mode = 0o660
	}
	return os.Chmod(path, mode)
}

// SetAccess changes the group, the mode and the trust of a UNIX socket. Open connections
// stay as they are. On other listeners it does nothing.
func (l *Listener) SetAccess(o ListenOptions) error {
	if l.network != "unix" {
		return nil
	}
	l.trustPeerCredentials.Store(o.TrustPeerCredentials)
	return setAccess(l.path, o)
}

func chgrp(path, name string) error {
	g, err := user.LookupGroup(name)
	if err != nil {
		return fmt.Errorf("group %q: %w: create it with groupadd, or leave group empty", name, err)
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil {
		return err
	}
	return os.Chown(path, -1, gid)
}

// hasPeerCredentials reports whether l trusts peer credentials and c comes from a UNIX peer
// with the hub's own uid or root's.
func (l *Listener) hasPeerCredentials(c net.Conn) bool {
	uc, ok := c.(*net.UnixConn)
	if !l.trustPeerCredentials.Load() || !ok {
		return false
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return false
	}
	var cred *unix.Ucred
	ctrlErr := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	return ctrlErr == nil && err == nil && (cred.Uid == 0 || int(cred.Uid) == os.Geteuid())
}
