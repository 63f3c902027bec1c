// Package setup reads the config for the daemon and the tool alike: it knows both what
// the file may say and which kinds of filters and devices there are.
package setup

import (
	"fmt"
	"net"
	"strings"
	"time"

	devices "github.com/besterhub/bester/devices/catalog"
	handlers "github.com/besterhub/bester/handlers/catalog"
	"github.com/besterhub/bester/hub/config"
)

// Load reads a config and checks all of it, the options of filters and devices too.
// The error names each problem with file, line, column and remedy.
func Load(path string) (*config.Config, error) { return config.Load(path, checkKinds) }

// Parse is Load of what has been read already; name is for the errors.
func Parse(name string, data []byte) (*config.Config, error) {
	return config.Parse(name, data, checkKinds)
}

// checkKinds makes each filter and device once, to check its options.
func checkKinds(c *config.Config) (problems []config.Problem) {
	for _, f := range c.Filters {
		if _, err := handlers.New(f.Kind, f.Options, nil); err != nil {
			problems = append(problems, problem(c, err, f.Options, "filters", f.Name))
		}
	}
	for _, d := range c.Devices {
		if _, err := devices.Open(d.Kind, d.Options); err != nil {
			problems = append(problems, problem(c, err, d.Options, "devices", d.Name))
		}
	}
	return append(problems, checkHandlerSockets(c)...)
}

// checkHandlerSockets checks that the handlers that the hub starts can connect to it.
func checkHandlerSockets(c *config.Config) (problems []config.Problem) {
	peerCredentials := false
	for _, l := range c.Listen {
		peerCredentials = peerCredentials || l.Network == config.Unix && l.Trust
	}
	for _, h := range c.Handlers {
		if !peerCredentials && h.Dialect == config.Native && len(h.Command) > 0 {
			problems = append(problems, c.Problem(`no way for its process into the hub: add a listener with network = "unix" and trust = true`, "handlers", h.Name, "command"))
		}
	}
	return problems
}

// LimitConflicts returns the limits that contradict each other. They are no error, because
// a hub may never come near them.
func LimitConflicts(c *config.Config) (problems []config.Problem) {
	const longestStatus = 128 // bytes, of most
	if need := config.Bytes(c.Session.Credits * longestStatus); 2*c.Session.Queue < need {
		problems = append(problems, c.Problem(fmt.Sprintf("%v: too little for the answers to %d messages in flight (session.credits): a session that reads slowly may be closed; want %v or more, or fewer credits",
			c.Session.Queue, c.Session.Credits, (need/2+config.KiB-1)/config.KiB*config.KiB), "session", "queue"))
	}
	const longest = 60 // seconds
	for _, l := range []struct {
		key  string
		rate config.Bytes
	}{{"rate_bytes", c.Session.RateBytes}, {"total_rate_bytes", c.Session.TotalRateBytes}} {
		if l.rate > 0 && c.Hub.Frame/l.rate > longest {
			problems = append(problems, c.Problem(fmt.Sprintf("%v: a message as long as hub.frame allows, %v, then keeps its sender from being read for %v; want %v or more, or a shorter hub.frame",
				l.rate, c.Hub.Frame, time.Duration(c.Hub.Frame/l.rate)*time.Second, (c.Hub.Frame/longest+config.KiB-1)/config.KiB*config.KiB), "session", l.key))
		}
	}
	return problems
}

// ServersAtTLS returns the servers whose port is one where this config itself listens with
// TLS alone: hubs of one owner are mostly set up alike, and a server is reached without
// TLS. They are no error, because another hub may use its ports otherwise.
func ServersAtTLS(c *config.Config) (problems []config.Problem) {
	tls, plain := make(map[string]bool), make(map[string]bool)
	for _, l := range c.Listen {
		_, port, err := net.SplitHostPort(l.Address)
		switch {
		case err != nil || port == "0" || l.Network == config.Unix:
		case l.Network == config.TLS:
			tls[port] = true
		default:
			plain[port] = true
		}
	}
	for _, s := range c.Servers {
		if _, port, err := net.SplitHostPort(s.Address); err == nil && tls[port] && !plain[port] {
			problems = append(problems, c.Problem(fmt.Sprintf("%q: a server is reached without TLS, and on port %s this config listens with TLS: does that hub not?", s.Address, port),
				"servers", string(s.Name), "address"))
		}
	}
	return problems
}

// UnusedFilters returns the filters that are in no route. They are no error, because a
// filter may be prepared before its route, but they are worth a warning.
func UnusedFilters(c *config.Config) (problems []config.Problem) {
	for _, f := range c.Filters {
		if !c.Routed(f.Name) {
			problems = append(problems, c.Problem("is in no route: name it in a route's through, or remove it", "filters", f.Name))
		}
	}
	return problems
}

// NoHandlers returns that no handlers are configured, if the config is a server.conf, which
// configures little else. It is no error, because the original starts with it, too.
func NoHandlers(c *config.Config) (problems []config.Problem) {
	if c.Classic() && len(c.Handlers) == 0 {
		problems = append(problems, c.Problem("no handlers are configured, so messages of every type are refused: add them to handlers.typeMap, and their types to handlers.availableTypes", "handlers"))
	}
	return problems
}

// problem points at the option that the error names, or at the kind.
func problem(c *config.Config, err error, options map[string]any, path ...string) config.Problem {
	at := "kind"
	for key := range options {
		text := err.Error()
		if strings.Contains(text, `"`+key+`"`) || strings.Contains(text, " "+key+":") || strings.Contains(text, ": "+key+" ") {
			at = key
		}
	}
	return c.Problem(err.Error(), append(path, at)...)
}
