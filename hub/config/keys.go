package config

import (
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/besterhub/bester/hub"
)

// The schema of bester.toml, section by section.

func (c *Config) keys() []key {
	return []key{
		{"hub", fields(c.Hub.keys), ""},
		{"log", fields(c.Log.keys), ""},
		{"admin", fields(c.Admin.keys), ""},
		{"listen", tables[Listen]{&c.Listen, defaultListen, (*Listen).keys}, ""},
		{"session", fields(c.Session.keys), ""},
		{"accounts", fields(c.Accounts.keys), ""},
		{"informer", fields(c.Informer.keys), ""},
		{"peers", fields(c.Peers.keys), ""},
		{"servers", named[Server]{to: &c.Servers, name: func(s *Server) *string { return (*string)(&s.Name) },
			check: checkLevel, defaults: func() Server { return Server{} }, keys: (*Server).keys}, ""},
		{"handlers", named[Handler]{to: &c.Handlers, name: func(h *Handler) *string { return &h.Name },
			check: checkName, defaults: defaultHandler, keys: (*Handler).keys}, ""},
		{"filters", named[Filter]{to: &c.Filters, name: func(f *Filter) *string { return &f.Name },
			check: checkName, defaults: func() Filter { return Filter{} }, keys: (*Filter).keys,
			extra: func(f *Filter) *map[string]any { return &f.Options }}, ""},
		{"devices", named[Device]{to: &c.Devices, name: func(d *Device) *string { return &d.Name },
			check: checkLevel, defaults: defaultDevice, keys: (*Device).keys,
			extra: func(d *Device) *map[string]any { return &d.Options }}, ""},
		{"route", tables[Route]{&c.Routes, func() Route { return Route{} }, (*Route).keys}, ""},
	}
}

func (h *Hub) keys() []key {
	return []key{
		{"name", text(&h.Name, optional(checkLevel)), ""},
		{"max_hops", count(&h.MaxHops, 1, 255), ""},
		{"frame", size(&h.Frame, 4*KiB, 64*MiB), ""},
		{"drain", duration(&h.Drain, 0, time.Hour), ""},
		{"last_values", size(&h.LastValues, 0, 64*MiB), ""},
		{"dial", dialList{&h.Dial}, ""},
	}
}

func (l *Log) keys() []key {
	return []key{
		{"level", scalar[slog.Level]{&l.Level, parsed(parseLevel), appendLevel}, ""},
		{"format", enum(&l.Format, FormatText, FormatJSON), ""},
	}
}

func (a *Admin) keys() []key {
	return []key{{"info", anyValue(&a.Info), ""}}
}

func (l *Listen) keys() []key {
	unix := unless(l.Network == Unix || l.Network == "", `network = "unix"`)
	tls := unless(l.Network == TLS || l.Network == "", `network = "tls"`)
	return []key{
		{"network", enum(&l.Network, Unix, TCP4, TCP6, TLS), ""},
		{"address", text(&l.Address, nil), ""}, // checked when the network is known
		{"mode", scalar[fs.FileMode]{&l.Mode, parsed(parseMode), appendMode}, unix},
		{"group", text(&l.Group, nil), unix},
		{"trust", boolean(&l.Trust), unix},
		{"certificate", text(&l.Certificate, nil), tls},
		{"key", text(&l.Key, nil), tls},
	}
}

func (s *Session) keys() []key {
	return []key{
		{"login", duration(&s.Login, time.Millisecond, time.Hour), ""},
		{"connections", count(&s.Connections, 1, 1000000), ""},
		{"per_account", count(&s.PerAccount, 0, 1000000), ""},
		{"queue", size(&s.Queue, KiB, GiB), ""},
		{"full", enum(&s.Full, DropOldest, DropNewest, Close), ""},
		{"write", duration(&s.Write, time.Millisecond, time.Hour), ""},
		{"credits", count(&s.Credits, 1, 65535), ""},
		{"subscriptions", count(&s.Subscriptions, 1, 10000), ""},
		{"memory", optionalSize(&s.Memory, MiB, GiB), ""},
		{"failures", count(&s.Failures, 1, 1000000), ""},
		{"rate", count(&s.Rate, 0, 1000000), ""},
		{"rate_bytes", optionalSize(&s.RateBytes, KiB, GiB), ""},
		{"total_rate", count(&s.TotalRate, 0, 1000000), ""},
		{"total_rate_bytes", optionalSize(&s.TotalRateBytes, KiB, GiB), ""},
	}
}

func (a *Accounts) keys() []key {
	return []key{{"file", text(&a.File, nil), ""}}
}

func (i *Informer) keys() []key {
	return []key{{"socket", text(&i.Socket, optional(checkSocket)), ""}}
}

func (p *Peers) keys() []key {
	return []key{{"classic", classicPeers{p}, ""}, {"origins", peerOrigins{p}, ""}}
}

func (s *Server) keys() []key {
	return []key{{"address", text(&s.Address, checkHostPort), ""}}
}

func (h *Handler) keys() []key {
	classic := unless(h.Dialect != Native, `dialect = "classic": a native handler dials in`)
	start := classic
	if start == "" {
		start = unless(len(h.Command) > 0, "a command")
	}
	return []key{
		{"types", list[hub.Pattern]{&h.Types, parsed(hub.ParsePattern), appendName[hub.Pattern]}, ""},
		{"dialect", enum(&h.Dialect, Native, Classic), ""},
		{"socket", text(&h.Socket, checkSocket), classic},
		{"command", texts(&h.Command, nil), ""},
		{"start", enum(&h.Start, StartAlways, StartNeeded), start},
		{"timeout", duration(&h.Timeout, time.Millisecond, time.Hour), ""},
		{"queue", count(&h.Queue, 1, 1<<20), ""},
		{"connections", count(&h.Connections, 1, 1024), classic},
	}
}

func (f *Filter) keys() []key {
	return []key{{"kind", text(&f.Kind, nil), ""}}
}

func (d *Device) keys() []key {
	return []key{
		{"kind", text(&d.Kind, nil), ""},
		{"every", duration(&d.Every, time.Millisecond, 7*24*time.Hour), ""},
		{"type", scalar[hub.Type]{&d.Type, parsed(parseOptionalType), appendName[hub.Type]}, ""},
	}
}

func (r *Route) keys() []key {
	return []key{
		{"match", scalar[hub.Pattern]{&r.Match, parsed(hub.ParsePattern), appendName[hub.Pattern]}, ""},
		{"through", texts(&r.Through, nil), ""},
		{"to", list[hub.Address]{&r.To, parsed(parseAddress), func(dst []byte, a hub.Address) []byte {
			return appendString(dst, a.String())
		}}, ""},
	}
}

// unless returns the condition of a key, or "" if the condition holds.
func unless(holds bool, condition string) string {
	if holds {
		return ""
	}
	return condition
}

func parseLevel(s string) (slog.Level, error) {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	l, ok := levels[s]
	if !ok {
		return 0, fmt.Errorf("%q: want debug, info, warn or error", s)
	}
	return l, nil
}

func appendLevel(dst []byte, l slog.Level) []byte {
	switch {
	case l < slog.LevelInfo:
		return append(dst, `"debug"`...)
	case l < slog.LevelWarn:
		return append(dst, `"info"`...)
	case l < slog.LevelError:
		return append(dst, `"warn"`...)
	}
	return append(dst, `"error"`...)
}

func parseMode(s string) (fs.FileMode, error) {
	m, err := strconv.ParseUint(s, 8, 32)
	if err != nil || m > 0777 || s[0] != '0' {
		return 0, fmt.Errorf(`%q: want permissions in octal, "0600" to "0777"`, s)
	}
	return fs.FileMode(m), nil
}

func appendMode(dst []byte, m fs.FileMode) []byte { return fmt.Appendf(dst, `"%04o"`, m.Perm()) }

func appendName[T ~string](dst []byte, v T) []byte { return appendString(dst, string(v)) }

// classicPeers is the value of peers.classic.
type classicPeers struct{ to *Peers }

func (c classicPeers) read(r *reader, p path, n *node) {
	const want = `want a list of addresses and ranges such as ["127.0.0.1", "10.4.0.0/16"], or "open"`
	switch v := n.value.(type) {
	case []*node:
		list[netip.Prefix]{&c.to.Classic, parsed(parsePrefix), nil}.read(r, p, n)
	default:
		if v != "open" {
			r.problemAt(n.at, p, fmt.Sprintf("%v: %s", n, want))
		}
		c.to.Open = v == "open"
	}
}

func (c classicPeers) write(w *writer, p path) {
	if c.to.Open {
		w.line(p, []byte(`"open"`))
		return
	}
	list[netip.Prefix]{&c.to.Classic, nil, func(dst []byte, q netip.Prefix) []byte {
		return appendString(dst, printPrefix(q))
	}}.write(w, p)
}

// printPrefix writes an address or range as parsePrefix reads it.
func printPrefix(q netip.Prefix) string {
	if q.IsSingleIP() {
		return q.Addr().String()
	}
	return q.String()
}

// dialList is the value of hub.dial.
type dialList struct{ to *Dial }

func (d dialList) read(r *reader, p path, n *node) {
	const want = `want a list of host:port, addresses and ranges such as ["house.local:2223", "10.4.0.0/16"], or "open"`
	switch v := n.value.(type) {
	case []*node:
		for i, e := range v {
			s, err := str(e)
			if err == nil {
				err = d.add(s)
			}
			if err != nil {
				r.problemAt(e.at, p.index(i), err.Error())
			}
		}
	default:
		if v != "open" {
			r.problemAt(n.at, p, fmt.Sprintf("%v: %s", n, want))
		}
		d.to.Open = v == "open"
	}
}

// add takes one entry of the list: host:port, an address or a range.
func (d dialList) add(s string) error {
	if q, err := parsePrefix(s); err == nil {
		d.to.Ranges = append(d.to.Ranges, q)
		return nil
	} else if strings.Contains(s, "/") && !strings.Contains(s, "://") {
		return err // a range that is wrong
	}
	if err := checkHostPort(s); err != nil {
		return fmt.Errorf("%v; or an address or range such as 10.4.0.0/16", err)
	}
	d.to.Hosts = append(d.to.Hosts, s)
	return nil
}

func (d dialList) write(w *writer, p path) {
	if d.to.Open {
		w.line(p, []byte(`"open"`))
		return
	}
	all := slices.Clone(d.to.Hosts)
	for _, q := range d.to.Ranges {
		all = append(all, printPrefix(q))
	}
	list[string]{&all, nil, appendName[string]}.write(w, p)
}

// peerOrigins is the value of peers.origins: a table of lists of names, by account.
type peerOrigins struct{ to *Peers }

func (o peerOrigins) read(r *reader, p path, n *node) {
	t := asTable(r, p, n)
	if t == nil {
		return
	}
	for _, e := range t.entries {
		v, q := Origins{Account: e.key}, p.key(e.key)
		if err := checkName(e.key); err != nil {
			r.problemAt(e.at, q, err.Error())
		}
		list[string]{&v.Names, checked(checkLevel), nil}.read(r, q, e.node)
		o.to.Origins = append(o.to.Origins, v)
	}
}

func (o peerOrigins) write(w *writer, p path) {
	if len(o.to.Origins) == 0 {
		w.line(p, []byte("{}"))
		return
	}
	b := []byte("{ ")
	for i, v := range o.to.Origins {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(appendKey(b, v.Account), " = ["...)
		for j, name := range v.Names {
			if j > 0 {
				b = append(b, ", "...)
			}
			b = appendString(b, name)
		}
		b = append(b, ']')
	}
	w.line(p, append(b, " }"...))
}
