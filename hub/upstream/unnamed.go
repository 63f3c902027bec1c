package upstream

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Unnamed says which servers without a name, host:port, messages may be sent to. The zero
// value allows none.
//
// Loopback and link-local addresses and this machine's own are never allowed by a name or
// a wider range: each must be listed itself, or a range that lies within loopback or
// link-local. The address that counts is the one that is connected to, whatever a name
// server says before or after.
type Unnamed struct {
	// All allows every server, this machine's own ports too.
	All bool
	// Routed are the servers, as host:port, that the operator's own routes name: they are
	// allowed wherever the name leads.
	Routed []string
	// Hosts are servers as host:port: a name, or an IP address (IPv6 in brackets).
	Hosts []string
	// Ranges are addresses that are allowed on any port.
	Ranges []netip.Prefix
}

// errNotAllowed is the outcome of a connection to an address that Unnamed does not allow.
var errNotAllowed = errors.New("the hub's config does not allow that address: hub.dial lists those that it does")

// allowsName reports whether host:port may be looked up: the address is checked after that.
func (u *Unnamed) allowsName(address string) bool {
	if u.All || contains(u.Routed, address) || contains(u.Hosts, address) {
		return true
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return u.allows(net.JoinHostPort(host, port), a)
	}
	return len(u.Ranges) > 0
}

// allows reports whether a connection for host:port may go to the address a.
func (u *Unnamed) allows(address string, a netip.Addr) bool {
	if u.All || contains(u.Routed, address) {
		return true
	}
	a = a.Unmap()
	private := isLoopbackOrLink(a) || isOwn(a)
	if contains(u.Hosts, address) {
		host, _, _ := net.SplitHostPort(address)
		literal, err := netip.ParseAddr(host)
		return !private || err == nil && literal.Unmap() == a || strings.EqualFold(host, "localhost") && a.IsLoopback()
	}
	return slices.ContainsFunc(u.Ranges, func(p netip.Prefix) bool {
		return p.Contains(a.WithZone("")) && (!private || p.IsSingleIP() || p.Addr().IsLoopback() || p.Addr().IsLinkLocalUnicast())
	})
}

func contains(hosts []string, address string) bool {
	return slices.ContainsFunc(hosts, func(h string) bool { return strings.EqualFold(h, address) })
}

// isLoopbackOrLink reports whether a leads no further than this machine or its link, or
// is the address of no machine.
func isLoopbackOrLink(a netip.Addr) bool {
	return a.IsLoopback() || a.IsUnspecified() || a.IsLinkLocalUnicast() || a.IsMulticast()
}

// isOwn reports whether an interface of this machine has the address now.
func isOwn(a netip.Addr) bool {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return true // nothing is known: better refused
	}
	return slices.ContainsFunc(all, func(i net.Addr) bool {
		p, err := netip.ParsePrefix(i.String())
		return err == nil && p.Addr().Unmap().WithZone("") == a.WithZone("")
	})
}
