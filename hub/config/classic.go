package config

import (
	"errors"
	"fmt"
	"net"

	"github.com/besterhub/bester/hub"
)

// A classic is the content of the original's server.conf.
type classic struct {
	types            []string // the networks to listen on
	unix, tcp4, tcp6 endpoint
	peers            Peers
	available        []hub.Type
	handlers         []classicHandler
	database, file   string
	redis            any // a leftover section in a file whose type is now "file"; ignored
	info             any
}

type endpoint struct {
	address, port string
}

type classicHandler struct {
	name, binary, socket string
}

func (c *classic) keys() []key {
	return []key{
		{"network", fields(c.networkKeys), ""},
		{"handlers", fields(c.handlersKeys), ""},
		{"database", fields(c.databaseKeys), ""},
		{"admin", fields(func() []key { return []key{{"info", anyValue(&c.info), ""}} }), ""},
	}
}

func (c *classic) networkKeys() []key {
	return []key{
		{"types", texts(&c.types, oneOf([]string{Unix, TCP4, TCP6})), ""},
		{"unix", fields(func() []key { return []key{{"address", text(&c.unix.address, checkSocket), ""}} }), ""},
		{"tcp4", fields(func() []key { return c.tcp4.keys(TCP4) }), ""},
		{"tcp6", fields(func() []key { return c.tcp6.keys(TCP6) }), ""},
		{"peers", classicPeers{&c.peers}, ""},
	}
}

func (e *endpoint) keys(network string) []key {
	return []key{
		{"address", text(&e.address, func(s string) error { return checkIP(network, s) }), ""},
		{"port", scalar[string]{&e.port, portString, nil}, ""},
	}
}

func portString(n *node) (string, error) {
	if i, ok := n.value.(int64); ok {
		return "", fmt.Errorf("%d: want a string: \"%d\"", i, i)
	}
	return checked(checkPort)(n)
}

func (c *classic) handlersKeys() []key {
	return []key{
		{"availableTypes", list[hub.Type]{&c.available, parsed(hub.ParseType), nil}, ""},
		{"typeMap", named[classicHandler]{to: &c.handlers, check: checkName,
			name:     func(h *classicHandler) *string { return &h.name },
			defaults: func() classicHandler { return classicHandler{} },
			keys: func(h *classicHandler) []key {
				return []key{
					{"handlerBinary", text(&h.binary, nil), ""},
					{"unixDomainSocketPath", text(&h.socket, checkSocket), ""},
				}
			}}, ""},
	}
}

func (c *classic) databaseKeys() []key {
	return []key{
		{"type", text(&c.database, checkDatabase), ""},
		{"file", fields(func() []key { return []key{{"path", text(&c.file, nil), ""}} }), ""},
		{"redis", anyValue(&c.redis), ""},
	}
}

func checkDatabase(s string) error {
	const instead = `use {"type":"file","file":{"path":"accounts"}}, the accounts file that "bester account" keeps`
	switch s {
	case "file":
		return nil
	case "redis":
		return errors.New(`"redis": accounts are not kept in Redis; ` + instead)
	}
	return fmt.Errorf("%q: want \"file\"; %s", s, instead)
}

// ParseClassic parses the content of the original's server.conf: its listeners,
// handlers, accounts and informer (bInformer in the working directory). Errors use
// name as the file's name; the error is an *Error.
//
// The hub may dial every server, as the original does: hub.dial is "open".
//
// Every block may be missing. A handler's handlerBinary becomes a
// command with StartNeeded. Paths stay relative to the working directory.
func ParseClassic(name string, data []byte, checks ...Check) (*Config, error) {
	r, root := parseWith(parseJSON, name, data)
	if root == nil {
		return nil, r.err()
	}
	from := new(classic)
	readKeys(r, nil, root, from.keys, nil)
	c := newDefaults()
	from.buildListeners(r, c)
	from.buildHandlers(r, c)
	if r.has(path{"database"}) && !r.has(path{"database", "type"}) {
		r.problem(path{"database", "type"}, `missing: want "file"`)
	}
	c.Accounts.File = from.file
	c.Informer.Socket = "bInformer"
	c.Peers = from.peers
	c.classic = true
	c.Hub.Dial.Open = true // sendServers knows servers by host:port alone
	if from.info != nil {
		c.Admin.Info = from.info
	}
	c.complete()
	return c.finish(r, checks)
}

// buildListeners makes the listeners of the networks in network.types. If the file has no
// network at all, the default listeners stay.
func (c *classic) buildListeners(r *reader, to *Config) {
	p := path{"network", "types"}
	if !r.has(p) {
		for _, network := range []string{Unix, TCP4, TCP6} {
			if r.has(path{"network", network}) {
				r.problem(p, "missing: want the list of those to open: [%q]", network)
				return
			}
		}
		return
	}
	if len(c.types) == 0 {
		r.problem(p, "want at least one of unix, tcp4 and tcp6")
	}
	seen := make(map[string]bool)
	for i, network := range c.types {
		if seen[network] && network != "" {
			r.problem(p.index(i), "%q is there twice", network)
		}
		seen[network] = true
		l, block := defaultListen(), path{"network", network}
		l.Network = network
		switch network {
		case Unix:
			l.Address = c.unix.address
		case TCP4:
			l.Address = net.JoinHostPort(c.tcp4.address, c.tcp4.port)
		case TCP6:
			l.Address = net.JoinHostPort(c.tcp6.address, c.tcp6.port)
		default:
			continue // already reported
		}
		for _, k := range []string{"address", "port"} {
			if !r.has(block.key(k)) && (k != "port" || network != Unix) {
				r.problem(block.key(k), "missing, though network.types has %q", network)
			}
		}
		to.Listen = append(to.Listen, l)
	}
}

// buildHandlers makes the handlers of handlers.availableTypes.
func (c *classic) buildHandlers(r *reader, to *Config) {
	p := path{"handlers", "availableTypes"}
	if r.has(path{"handlers"}) && !r.has(p) {
		r.problem(p, "missing: want the list of types that have a handler; it may be empty")
	}
	byName := make(map[string]classicHandler)
	for _, h := range c.handlers {
		byName[h.name] = h
	}
	seen := make(map[hub.Type]bool)
	for i, t := range c.available {
		if t == "" {
			continue // already reported
		}
		entry := path{"handlers", "typeMap", string(t)}
		from, ok := byName[string(t)]
		switch {
		case seen[t]:
			r.problem(p.index(i), "%q is there twice", t)
			continue
		case !ok:
			r.problem(p.index(i), `%q: add its handler to handlers.typeMap: %s: {"unixDomainSocketPath": …}`, t, appendString(nil, string(t)))
		case !r.has(entry.key("unixDomainSocketPath")):
			r.problem(entry.key("unixDomainSocketPath"), "missing: want the path of the UNIX socket that the handler listens on")
		}
		seen[t] = true
		h := defaultHandler()
		h.Name, h.Types, h.Dialect, h.Socket = string(t), []hub.Pattern{hub.Pattern(t)}, Classic, from.socket
		if from.binary != "" {
			h.Command, h.Start = []string{from.binary}, StartNeeded
		}
		r.offsets[path{"handlers", string(t)}.id()] = r.offset(entry)
		to.Handlers = append(to.Handlers, h)
	}
}
