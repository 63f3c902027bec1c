// Package dial connects to hubs on other machines over TCP.
//
// It finds names that end in ".local" on the link itself, by multicast DNS (RFC 6762),
// where a static program's own resolver asks name servers alone. It sets the timeouts
// that have the kernel end a connection whose peer has gone (socket.SetTimeouts).
package dial

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/besterhub/bester/hub/socket"
)

// A Dialer connects to addresses. The zero value works. Its method may be called from
// many goroutines.
type Dialer struct {
	// Check is asked about each address before it is connected to, after its name has
	// been looked up: so no answer of a name server leads to where the program may not
	// go. Its error is the outcome for that address. If nil, every address is fine.
	Check func(netip.AddrPort) error
	// Write is how long bytes that were written may stay without an acknowledgement
	// (see socket.SetTimeouts). If zero, 30 s.
	Write time.Duration
	// Local looks up the names that end in ".local". If nil, Lookup asks the link.
	Local func(ctx context.Context, name string) ([]netip.Addr, error)

	// resolve is the program's own resolver. If nil, net.DefaultResolver.
	resolve func(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// DialContext connects to address. network is "tcp", "tcp4" or "tcp6", or "unix", which
// is connected to as it is. It ends with ctx. Where a name has several addresses, they
// are tried one after the other, and share the time that ctx leaves; the first error is
// returned if none works.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{KeepAlive: -1} // SetTimeouts sets it
	if !strings.HasPrefix(network, "tcp") {
		return dialer.DialContext(ctx, network, address)
	}
	if d.Check != nil {
		dialer.Control = func(_, address string, _ syscall.RawConn) error {
			at, err := netip.ParseAddrPort(address)
			if err != nil {
				return err
			}
			return d.Check(at)
		}
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || !isLocal(host) {
		return d.guarded(dialer.DialContext(ctx, network, address))
	}
	addrs, err := d.lookupLocal(ctx, network, host)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	var first error
	for i, a := range addrs {
		one, cancel := share(ctx, len(addrs)-i)
		conn, err := d.guarded(dialer.DialContext(one, network, net.JoinHostPort(a.String(), port)))
		cancel()
		if err == nil {
			return conn, nil
		}
		first = cmp.Or(first, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, first
}

// share is ctx with the n-th part of the time that is left.
func share(ctx context.Context, n int) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, time.Until(deadline)/time.Duration(n))
}

func (d *Dialer) guarded(conn net.Conn, err error) (net.Conn, error) {
	if err == nil {
		socket.SetTimeouts(conn, cmp.Or(d.Write, 30*time.Second))
	}
	return conn, err
}

// lookupLocal asks the link and the program's own resolver, which knows /etc/hosts and
// the name servers, both at once. The first answer counts. If there is none, the link's
// error is returned.
func (d *Dialer) lookupLocal(ctx context.Context, network, host string) ([]netip.Addr, error) {
	lookup := d.Local
	if lookup == nil {
		lookup = Lookup
	}
	resolve := d.resolve
	if resolve == nil {
		resolve = net.DefaultResolver.LookupNetIP
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		addrs []netip.Addr
		link  bool
		err   error
	}
	answers := make(chan answer, 2)
	go func() {
		addrs, err := lookup(ctx, host)
		answers <- answer{addrs, true, err}
	}()
	go func() {
		addrs, err := resolve(ctx, "ip", host)
		answers <- answer{addrs, false, err}
	}()
	var failed error
	for range 2 {
		a := <-answers
		if a.err == nil {
			if addrs := ofNetwork(network, a.addrs); len(addrs) > 0 {
				return addrs, nil
			}
			a.err = &net.DNSError{Err: "no address for " + network, Name: host, IsNotFound: true}
		}
		if a.link || failed == nil {
			failed = a.err
		}
	}
	return nil, failed
}

// ofNetwork returns the addresses that network can reach, IPv4 first: an IPv6 address of
// the link alone is the last to be tried.
func ofNetwork(network string, addrs []netip.Addr) (out []netip.Addr) {
	for _, wanted := range []func(netip.Addr) bool{
		func(a netip.Addr) bool { return a.Is4() && network != "tcp6" },
		func(a netip.Addr) bool { return a.Is6() && !a.IsLinkLocalUnicast() && network != "tcp4" },
		func(a netip.Addr) bool { return a.Is6() && a.IsLinkLocalUnicast() && network != "tcp4" },
	} {
		for _, a := range addrs {
			if a = a.Unmap(); wanted(a) {
				out = append(out, a)
			}
		}
	}
	return out
}

// isLocal reports whether a host is to be looked for on the link (RFC 6762, 3).
func isLocal(host string) bool {
	return strings.HasSuffix(strings.ToLower(strings.TrimSuffix(host, ".")), ".local")
}

// ErrNoAnswer is wrapped by what Lookup returns where nobody on the link has the name.
var ErrNoAnswer = errors.New("nobody on this network answers to it")
