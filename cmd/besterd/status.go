package main

import (
	"encoding/json"
	"maps"
	"os"
	"runtime"
	"slices"
	"sort"
	"time"

	"github.com/besterhub/bester/devices"
	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/account"
	"github.com/besterhub/bester/hub/link"
	"github.com/besterhub/bester/hub/session"
	"github.com/besterhub/bester/hub/upstream"
)

// A report is what the builtin command status answers with, and "bester status" shows.
type report struct {
	Hub       string              `json:"hub"`
	Version   string              `json:"version"`
	PID       int                 `json:"pid"`
	Uptime    float64             `json:"uptime"`   // seconds
	Memory    uint64              `json:"memory"`   // bytes taken from the system by the Go runtime
	LogLost   uint64              `json:"log_lost"` // lines of log, since standard error was not read or could not be written
	Limits    limitsReport        `json:"limits"`
	Listeners []string            `json:"listeners"`
	Users     []hub.UserName      `json:"users"` // one for each client's session, that of who asks too
	Router    hub.RouterStats     `json:"router"`
	Receivers []session.UserStats `json:"receivers"` // the deliveries to each user
	Sessions  session.Stats       `json:"sessions"`

	Connected []session.SessionStats `json:"connected"` // the sessions that are open, that of who asks too
	Accounts  account.Stats          `json:"accounts"`
	Servers   upstream.Stats         `json:"servers"` // all together
	Handlers  []link.Stats           `json:"handlers"`
	Devices   []deviceReport         `json:"devices"`

	Upstreams []upstream.ServerStats `json:"upstreams"` // the servers of the config
	Filters   []filterReport         `json:"filters"`
	Routes    []routeReport          `json:"routes"` // in the order of the config

	HandlersRefused uint64 `json:"handlers_refused"` // processes
}

type filterReport struct {
	Name   string `json:"name"`
	Kind   string `json:"kind"`
	Counts any    `json:"counts"` // its kind's Stats
}

type routeReport struct {
	Match   string   `json:"match"`
	Through []string `json:"through"`
	To      []string `json:"to"`
}

type deviceReport struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
	devices.PollerStats
}

// routerStats returns the router's counters with what sessions have done with the
// deliveries that they took.
func (d *daemon) routerStats() hub.RouterStats {
	s := d.router.Stats()
	s.AddSink(d.sessions.Deliveries())
	return s
}

// status makes the report, as JSON.
func (d *daemon) status() []byte {
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	r := report{
		Version: version, PID: os.Getpid(), Uptime: time.Since(d.startedAt).Seconds(),
		Memory: memory.Sys - memory.HeapReleased, LogLost: d.logLost(), Listeners: d.listenerNames(),
		Users: []hub.UserName{}, Router: d.routerStats(), Sessions: d.sessions.Stats(), Receivers: d.sessions.Users(), Connected: d.sessions.Sessions(),
		Handlers: d.groups.Stats(), HandlersRefused: d.groups.Refused(), Devices: []deviceReport{},
		Upstreams: []upstream.ServerStats{}, Filters: []filterReport{}, Routes: []routeReport{},
	}
	for _, u := range r.Receivers {
		for range u.Sessions {
			r.Users = append(r.Users, u.User)
		}
	}
	if s := d.accounts.current(); s != nil {
		r.Accounts = s.Stats()
	}
	d.mu.Lock()
	r.Hub, r.Limits = d.config.Hub.Name, d.limits
	if d.servers != nil {
		r.Servers, r.Upstreams = d.servers.Stats(), d.servers.Servers()
	}
	for _, name := range slices.Sorted(maps.Keys(d.filters)) {
		f := d.filters[name]
		r.Filters = append(r.Filters, filterReport{name, f.config.Kind, f.Report()})
	}
	for _, v := range d.config.Routes {
		route := routeReport{string(v.Match), append([]string{}, v.Through...), []string{}}
		for _, to := range v.To {
			route.To = append(route.To, to.String())
		}
		r.Routes = append(r.Routes, route)
	}
	for _, h := range d.handlers {
		if h.retire == nil {
			continue
		}
		if s := h.stats(); !s.Native { // the others are in groups
			r.Handlers = append(r.Handlers, s)
		}
	}
	for i := range r.Handlers {
		s := &r.Handlers[i]
		if h := d.handlers[s.Name]; h != nil && len(h.config.Types) > 0 {
			s.Types = nil
			for _, p := range h.config.Types {
				s.Types = append(s.Types, string(p))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.devices)) {
		v := d.devices[name]
		r.Devices = append(r.Devices, deviceReport{name, v.config.Kind, v.poller.Stats()})
	}
	d.mu.Unlock()
	if r.Handlers == nil {
		r.Handlers = []link.Stats{} // [] and not null, like the other lists
	}
	sort.SliceStable(r.Handlers, func(i, j int) bool { return r.Handlers[i].Name < r.Handlers[j].Name })
	b, err := json.Marshal(r)
	if err != nil {
		d.log.Error("status", "err", err)
		return []byte("null")
	}
	return b
}
