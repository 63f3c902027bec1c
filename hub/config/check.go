package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/socket"
)

// check validates what depends on several keys.
func (c *Config) check(r *reader) {
	c.checkListen(r)
	c.checkInformer(r)
	c.checkMemory(r)
	c.checkServers(r)
	names := c.checkNames(r)
	c.checkHandlers(r)
	c.checkDevices(r)
	c.checkRoutes(r, names)
}

func (c *Config) checkListen(r *reader) {
	for i := range c.Listen {
		l, p := &c.Listen[i], path{"listen"}.index(i)
		if !r.has(p) {
			return // the default
		}
		if !r.has(p.key("network")) {
			r.problem(p.key("network"), "missing: want unix, tcp4, tcp6 or tls")
		} else if !r.has(p.key("address")) {
			r.problem(p.key("address"), "missing: want %s", wantAddress[l.Network])
		} else if err := checkListenAddress(l.Network, l.Address); err != nil {
			r.problem(p.key("address"), "%v", err)
		}
		if l.Network == TLS && l.Certificate == "" {
			r.problem(p.key("certificate"), "missing: want the path of the certificate, a PEM file")
		}
		if l.Network == TLS && l.Key == "" {
			r.problem(p.key("key"), "missing: want the path of the certificate's private key, a PEM file")
		}
		for j := range c.Listen[:i] {
			if other := &c.Listen[j]; conflict(l, other) {
				r.problem(p.key("address"), "%q: the [[listen]] with network = %q and address = %q takes the same: remove one", l.Address, other.Network, other.Address)
				break
			}
		}
	}
}

// checkInformer checks that the informer's socket is no listener's.
func (c *Config) checkInformer(r *reader) {
	informer := Listen{Network: Unix, Address: c.Informer.Socket}
	for i := range c.Listen {
		if c.Informer.Socket != "" && conflict(&c.Listen[i], &informer) {
			r.problem(path{"informer", "socket"}, "%q: a [[listen]] takes the same: choose another path", c.Informer.Socket)
		}
	}
}

// conflict reports whether two listeners cannot both be opened: the same socket, or the same port
// on addresses of which one includes the other.
func conflict(a, b *Listen) bool {
	for _, l := range []*Listen{a, b} {
		if l.Network == "" || checkListenAddress(l.Network, l.Address) != nil {
			return false // already reported
		}
	}
	if a.Network == Unix || b.Network == Unix {
		return a.Network == b.Network && filepath.Clean(a.Address) == filepath.Clean(b.Address)
	}
	hostA, portA, errA := net.SplitHostPort(a.Address)
	hostB, portB, errB := net.SplitHostPort(b.Address)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	for _, x := range listenIPs(a.Network, hostA) {
		for _, y := range listenIPs(b.Network, hostB) {
			if x == y || x.BitLen() == y.BitLen() && (x.IsUnspecified() || y.IsUnspecified()) {
				return true
			}
		}
	}
	return false
}

// listenIPs returns what a listener listens on: an address, or all of IPv4, IPv6 or both.
func listenIPs(network, host string) []netip.Addr {
	ip, err := netip.ParseAddr(host)
	if err == nil && !ip.IsUnspecified() || err == nil && ip.Is4() {
		return []netip.Addr{ip.Unmap()}
	}
	switch network {
	case TCP4:
		return []netip.Addr{netip.IPv4Unspecified()}
	case TCP6:
		return []netip.Addr{netip.IPv6Unspecified()}
	}
	return []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
}

// checkMemory checks that session.memory is enough for the frames that sessions may send.
func (c *Config) checkMemory(r *reader) {
	p, least := path{"session", "memory"}, minFramesInMemory*c.Hub.Frame
	if m := c.Session.Memory; r.has(p) && m > 0 && m < least {
		r.problem(p, "%v: want at least %v, for some of the longest frames (hub.frame) at once; or leave it out", m, least)
	}
}

func (c *Config) checkServers(r *reader) {
	for _, s := range c.Servers {
		if p := (path{"servers", string(s.Name), "address"}); !r.has(p) {
			r.problem(p, "missing: want host:port")
		}
	}
}

// checkNames checks the names of handlers and filters, and returns them: a route may go
// through each of them.
func (c *Config) checkNames(r *reader) (names []string) {
	handlers := make(map[string]bool)
	for _, h := range c.Handlers {
		handlers[h.Name] = true
		names = append(names, h.Name)
	}
	for _, f := range c.Filters {
		p := path{"filters", f.Name}
		if handlers[f.Name] {
			r.problem(p, "there is a handler of that name, too, and routes name both: rename one")
		}
		if f.Kind == "" {
			r.problem(p.key("kind"), "missing: want the kind of filter")
		}
		names = append(names, f.Name)
	}
	return names
}

func (c *Config) checkHandlers(r *reader) {
	server := make(map[hub.Pattern]string)
	for _, h := range c.Handlers {
		p := path{"handlers", h.Name}
		for i, t := range h.Types {
			if other, taken := server[t]; taken && t != "" {
				r.problem(p.key("types").index(i), "%q: handler %s serves it already: remove it from one", t, printable(other))
			}
			server[t] = h.Name
		}
		if h.Dialect == Classic && h.Socket == "" {
			r.problem(p.key("socket"), "missing: want the path of the UNIX socket that a classic handler listens on")
		}
		if len(h.Command) > 0 && h.Command[0] == "" {
			r.problem(p.key("command"), "want the program first")
		}
		if len(h.Types) == 0 && !c.Routed(h.Name) {
			r.problem(p, "serves no types and is in no route: give it types, or name it in a route's through")
		}
	}
}

// Routed reports whether a route leads through the filter or handler of this name.
func (c *Config) Routed(name string) bool {
	for _, route := range c.Routes {
		for _, t := range route.Through {
			if t == name {
				return true
			}
		}
	}
	return false
}

func (c *Config) checkDevices(r *reader) {
	for _, d := range c.Devices {
		if p := (path{"devices", d.Name, "kind"}); d.Kind == "" {
			r.problem(p, "missing: want the kind of device")
		}
	}
}

func (c *Config) checkRoutes(r *reader, names []string) {
	seen := make(map[hub.Pattern]bool)
	known := make(map[string]bool)
	for _, n := range names {
		known[n] = true
	}
	for i, route := range c.Routes {
		p := path{"route"}.index(i)
		if !r.has(p.key("match")) {
			r.problem(p.key("match"), "missing: want a pattern such as \"reading/#\"")
		} else if seen[route.Match] && route.Match != "" {
			r.problem(p.key("match"), "%q: another route matches the same: put them into one", route.Match)
		}
		seen[route.Match] = true
		if len(route.Through) == 0 && len(route.To) == 0 {
			r.problem(p, "leads nowhere: want through, to, or both")
		}
		for j, t := range route.Through {
			if t == "" || known[t] {
				continue
			}
			text := fmt.Sprintf("%s: there is no filter or handler of that name", printable(t))
			if n := closest(t, names); n != "" {
				text += fmt.Sprintf("; did you mean %s?", printable(n))
			}
			r.problem(p.key("through").index(j), "%s", text)
		}
		for j, a := range route.To {
			if err := c.checkServer(a.Server); err != nil {
				r.problem(p.key("to").index(j), "%q: %v", a, err)
			}
		}
	}
}

// checkServer checks the server of an address: one of [servers], or host:port.
func (c *Config) checkServer(name hub.ServerName) error {
	if strings.Contains(string(name), ":") {
		return checkHostPort(string(name))
	}
	var names []string
	for _, s := range c.Servers {
		names = append(names, string(s.Name))
		if s.Name == name {
			return nil
		}
	}
	if name == "" {
		return nil
	}
	if n := closest(string(name), names); n != "" {
		return fmt.Errorf("there is no server %s; did you mean %s?", printable(string(name)), n)
	}
	return fmt.Errorf("there is no server %s: add [servers.%s], or write host:port", printable(string(name)), appendKey(nil, string(name)))
}

// maxLevel is the longest name that becomes a level of types, in bytes. It is well below
// hub.MaxType, to leave space for the other levels.
const maxLevel = 64

// checkLevel checks the name of a hub, server or device. It becomes a level of types and a
// part of the names of readings, for which SenML (RFC 8428, 4.5.1) allows only these
// characters.
func checkLevel(s string) error {
	ok := len(s) > 0 && len(s) <= maxLevel && !strings.ContainsRune("-._", rune(s[0]))
	for i := range len(s) {
		ok = ok && levelByte(rune(s[i]))
	}
	if !ok {
		return fmt.Errorf("name %s: want 1 to %d letters, digits, - . and _, a letter or digit first", printable(s), maxLevel)
	}
	return nil
}

func levelByte(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' || r == '_'
}

// checkName checks the name of a handler or filter.
func checkName(s string) error {
	if _, err := hub.ParseType(s); err != nil {
		return fmt.Errorf("name %s: want 1 to %d bytes of text without + and #", printable(s), hub.MaxType)
	}
	return nil
}

func optional(check func(string) error) func(string) error {
	return func(s string) error {
		if s == "" {
			return nil
		}
		return check(s)
	}
}

func parseOptionalType(s string) (hub.Type, error) {
	if s == "" {
		return "", nil
	}
	return hub.ParseType(s)
}

func parseAddress(s string) (hub.Address, error) {
	a, err := hub.ParseAddress(s)
	if err == nil && strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		err = fmt.Errorf("address %q: contains a control character", s)
	}
	return a, err
}

func checkSocket(s string) error {
	if s == "" || len(s) > socket.MaxPath || strings.Contains(s, "\x00") {
		return fmt.Errorf("%.120q: want the path of a UNIX socket, 1 to %d bytes", s, socket.MaxPath)
	}
	return nil
}

// checkHostPort checks the address of a server.
func checkHostPort(s string) error {
	if _, rest, scheme := strings.Cut(s, "://"); scheme {
		return fmt.Errorf("%.80q: want host:port alone, %.80q: a server is reached without TLS, at a port where it listens so", s, rest)
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return fmt.Errorf("%.80q: want host:port, an IPv6 address in brackets", s)
	}
	if checkPort(port) != nil || port == "0" {
		return fmt.Errorf("%.80q: want a port from 1 to 65535", s)
	}
	return nil
}

func checkPort(s string) error {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || strconv.FormatUint(n, 10) != s {
		return fmt.Errorf("%.20q: want a port from 0 to 65535", s)
	}
	return nil
}

var wantAddress = map[string]string{
	Unix: "the socket's path",
	TCP4: `an IPv4 address and port such as "127.0.0.1:2223"`,
	TCP6: `an IPv6 address and port such as "[::1]:2223"`,
	TLS:  `an address and port such as "[::]:2224"`,
	"":   "where to listen",
}

// checkListenAddress checks an address to listen on. Host names are not allowed, because
// the start would have to wait for their lookup.
func checkListenAddress(network, s string) error {
	if network == "" {
		return nil // already reported
	}
	if network == Unix {
		return checkSocket(s)
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("%.80q: want %s", s, wantAddress[network])
	}
	if err := checkIP(network, host); err != nil {
		return fmt.Errorf("%.80q: want %s", s, wantAddress[network])
	}
	return checkPort(port)
}

// checkIP checks the IP address of a listener, without its port. "" stands for all addresses.
func checkIP(network, host string) error {
	if host == "" {
		return nil
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case network == TCP4 && (err != nil || !ip.Is4()):
		return fmt.Errorf("%.60q: want an IPv4 address such as 127.0.0.1, or none for all", host)
	case network == TCP6 && (err != nil || !ip.Is6()):
		return fmt.Errorf("%.60q: want an IPv6 address such as ::1, or none for all", host)
	case err != nil:
		return fmt.Errorf("%.60q: want an IP address", host)
	}
	return nil
}

// parsePrefix reads an address or a CIDR range.
func parsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	q, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return q, fmt.Errorf("%.60q: want an address or a range such as 10.4.0.0/16", s)
	case q.Addr().Is4In6():
		return q, errors.New(strconv.Quote(s) + ": want the IPv4 range itself, such as 10.4.0.0/16")
	case q != q.Masked():
		return q, fmt.Errorf("%q: has bits set past the range's: want %v", s, q.Masked())
	}
	return q, nil
}
