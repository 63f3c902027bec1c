package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"unicode"

	"github.com/besterhub/bester/hub/socket"
)

// The ports of a hub where an address names none: those of the example config.
const (
	defaultPort    = "2223"
	defaultTLSPort = "2224"
)

// parseEndpoint parses the address of a hub as --hub takes it: the path of a UNIX socket,
// host:port, or tls://host:port. A port that is left out is the default one. A word that
// may be a host or a socket is a socket if it ends in .sock or there is one of that name.
func parseEndpoint(text string) (p endpoint, err error) {
	p.explicit, p.network = true, "tcp"
	if i := strings.IndexFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }); i >= 0 && !strings.Contains(text, "/") {
		return p, fmt.Errorf("no address has %q in it: %s", text[i:i+1], addressForms)
	}
	rest, port := text, defaultPort
	if scheme, after, ok := strings.Cut(text, "://"); ok {
		rest = after
		switch scheme {
		case "unix":
			return socketEndpoint(rest)
		case "tcp":
		case "tls":
			p.secure, port = true, defaultTLSPort
		default:
			return p, fmt.Errorf("there is no scheme %q: %s", scheme, addressForms)
		}
	} else if strings.Contains(text, "/") || strings.HasPrefix(text, "@") || strings.HasSuffix(text, ".sock") || isSocket(text) {
		return socketEndpoint(text)
	}
	host, given, err := splitHostPort(rest)
	if err != nil {
		return p, err
	}
	port = cmp.Or(given, port)
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return p, fmt.Errorf("%q is no port: want a number from 1 to 65535", port)
	}
	if err := checkHost(host); err != nil {
		return p, err
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	p.address = host + ":" + port
	return p, nil
}

// addressForms says which addresses there are.
const addressForms = "want the path of a socket, host:port or tls://host:port"

func socketEndpoint(path string) (endpoint, error) {
	p := endpoint{network: "unix", address: path, explicit: true}
	switch {
	case path == "":
		return p, fmt.Errorf("no path: want unix:///run/bester/bester.sock, or the path alone")
	case len(path) > socket.MaxPath:
		return p, fmt.Errorf("the path has %d bytes: that of a socket has at most %d", len(path), socket.MaxPath)
	case strings.Contains(path, "\x00"):
		return p, fmt.Errorf("the path has a zero byte in it")
	}
	return p, nil
}

// isSocket reports whether there is a UNIX socket at path.
func isSocket(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&os.ModeSocket != 0
}

// splitHostPort splits host:port, host, [IPv6]:port or [IPv6]. The host comes without
// brackets, and port is empty if there is none.
func splitHostPort(text string) (host, port string, err error) {
	if after, ok := strings.CutPrefix(text, "["); ok {
		host, rest, ok := strings.Cut(after, "]")
		if a, err := netip.ParseAddr(host); !ok || err != nil || !a.Is6() {
			return "", "", fmt.Errorf("brackets hold an IPv6 address, such as [::1]:%s", defaultPort)
		}
		port, ok := strings.CutPrefix(rest, ":")
		if rest != "" && (!ok || port == "") {
			return "", "", fmt.Errorf("%q after the address: want a port, such as [%s]:%s", rest, host, defaultPort)
		}
		return host, port, nil
	}
	host, port, ok := strings.Cut(text, ":")
	switch {
	case strings.Contains(port, ":"):
		return "", "", bracketsError(text)
	case ok && port == "":
		return "", "", fmt.Errorf("no port after the colon: want %s:%s", cmp.Or(host, "localhost"), defaultPort)
	case ok && host == "":
		host = "localhost"
	}
	return host, port, nil
}

// bracketsError says how an IPv6 address is written. What follows the last colon may be
// meant as a port.
func bracketsError(text string) error {
	if i := strings.LastIndexByte(text, ':'); i > 0 {
		_, badHost := netip.ParseAddr(text[:i])
		n, badPort := strconv.ParseUint(text[i+1:], 10, 16)
		if badHost == nil && badPort == nil && n > 0 {
			return fmt.Errorf("an IPv6 address stands in brackets: [%s]:%d", text[:i], n)
		}
	}
	if _, err := netip.ParseAddr(text); err == nil {
		return fmt.Errorf("an IPv6 address stands in brackets: [%s]:%s", text, defaultPort)
	}
	return fmt.Errorf("too many colons: %s, and an IPv6 address in brackets, such as [::1]:%s", addressForms, defaultPort)
}

// checkHost checks the form of a host's name or IP address.
func checkHost(host string) error {
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	switch {
	case host == "":
		return fmt.Errorf("no host: %s", addressForms)
	case strings.Contains(host, "@"):
		return fmt.Errorf("%q has a user in it: name the user with --user", host)
	case len(host) > 253:
		return fmt.Errorf("the host has %d bytes: a name has at most 253", len(host))
	case strings.Trim(host, "0123456789.") == "":
		return fmt.Errorf("%q is no IP address", host)
	}
	for _, r := range host {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) && !strings.ContainsRune("-._", r) {
			return fmt.Errorf("%q is no host: %q cannot be in a name", host, r)
		}
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(host, "."), ".") {
		if label == "" {
			return fmt.Errorf("%q is no host: there is nothing between two dots", host)
		}
	}
	return nil
}
