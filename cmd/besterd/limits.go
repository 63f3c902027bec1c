package main

import (
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/besterhub/bester/handlers/catalog"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/config"
	"github.com/besterhub/bester/hub/resource"
	"github.com/besterhub/bester/hub/session"
)

// programMemory is what the hub takes for itself: its code, the runtime, routes and devices.
const programMemory = 12 << 20

// resources is what the system lets this process have.
type resources struct {
	memory      resource.Memory
	descriptors int // zero: not known
}

func findResources() resources {
	return resources{resource.FindMemory(), resource.Descriptors()}
}

// A limitsReport is what the hub may use, and what it made of that.
type limitsReport struct {
	Memory      int64  `json:"memory"` // bytes that the hub may use; 0: not known
	From        string `json:"from"`   // "machine", or the control group's file that sets the limit
	Session     int    `json:"session_memory"`
	Connections int    `json:"connections"`
	PerAccount  int    `json:"per_account"`
	Descriptors int    `json:"descriptors"` // that the hub may have open; 0: not known
}

// limits returns what the config says of sessions, lowered to what the system allows.
func limits(c *config.Config, has resources) session.Limits {
	overflow := map[string]bformat.OverflowPolicy{config.DropOldest: bformat.DropOldest, config.DropNewest: bformat.DropNewest, config.Close: bformat.Close}
	l := session.Limits{
		LoginTimeout: c.Session.Login, MaxConnections: c.Session.Connections, MaxPerAccount: c.Session.PerAccount, MaxFrame: int(c.Hub.Frame),
		QueueBytes: int(c.Session.Queue), Overflow: overflow[c.Session.Full], WriteTimeout: c.Session.Write,
		Credits: c.Session.Credits, MaxSubscriptions: c.Session.Subscriptions, MayPeer: c.Peers.Allow, MayUseOrigin: c.Peers.MayUseOrigin, Memory: int(c.SessionMemory(has.memory.Limit)), LoginFailures: c.Session.Failures,
		Rate:      session.Rate{Messages: c.Session.Rate, Bytes: int(c.Session.RateBytes)},
		TotalRate: session.Rate{Messages: c.Session.TotalRate, Bytes: int(c.Session.TotalRateBytes)},
	}
	if has.memory.Limit > 0 {
		cost := session.Cost
		for _, v := range c.Listen {
			if v.Network == config.TLS {
				cost = session.CostTLS
			}
		}
		sockets := has.memory.Limit / 8
		rest := has.memory.Limit - programMemory - int64(l.Memory) - filterMemory(c) - int64(c.Hub.LastValues) - sockets
		l.MaxConnections = int(min(int64(l.MaxConnections), max(rest/int64(cost), minConnections)))
		// The system takes twice as much, and 4 KiB at least.
		if each := int(sockets) / 2 / l.MaxConnections; each < systemSocketBuffer {
			l.SocketBuffer = max(each, 2<<10)
		}
	}
	if has.descriptors > 0 {
		l.MaxConnections = min(l.MaxConnections, max(has.descriptors-min(reservedDescriptors, has.descriptors/2), 1))
	}
	return l.WithDefaults()
}

// filterMemory returns how many bytes the filters in the hub may take.
func filterMemory(c *config.Config) (n int64) {
	for _, f := range c.Filters {
		n += catalog.Memory(f.Options)
	}
	return n
}

// systemSocketBuffer is what the system has by default: net.core.wmem_default.
const systemSocketBuffer = 208 << 10

// minConnections is how many connections are always allowed, however little memory there is.
const minConnections = 16

// reservedDescriptors are the descriptors that peers do not get: they are for the sockets of
// handlers and of the hub's own user, devices, files and spools.
const reservedDescriptors = 64

// reportLimits makes the report of limits.
func reportLimits(l session.Limits, has resources) limitsReport {
	return limitsReport{
		Memory: has.memory.Limit, From: has.memory.From, Session: l.Memory,
		Connections: l.MaxConnections, PerAccount: l.MaxPerAccount, Descriptors: has.descriptors,
	}
}

// logLimits says what was found, and warns of settings that do not fit in.
func logLimits(log *slog.Logger, c *config.Config, l session.Limits, has resources) {
	log.Info("limits", "memory", has.memory.String(), "session_memory", resource.Size(uint64(l.Memory)),
		"connections", l.MaxConnections, "descriptors", has.descriptors)
	if l.MaxConnections < c.Session.Connections {
		log.Warn("session.connections is lowered to what the memory and the descriptors allow", "from", c.Session.Connections, "to", l.MaxConnections,
			"remedy", "raise the limit of the control group (MemoryMax=, docker -m) or of descriptors (LimitNOFILE=, ulimit -n), or lower session.connections")
	}
	if set := c.Session.Memory; set > config.Bytes(l.Memory) {
		log.Warn("session.memory is lowered to half of the memory that the hub may use", "from", resource.Size(uint64(set)), "to", resource.Size(uint64(l.Memory)),
			"remedy", "raise the limit of the control group (MemoryMax=, docker -m), or lower session.memory")
	}
	if n := filterMemory(c); has.memory.Limit > 0 && n > has.memory.Limit/4 {
		log.Warn("filters may remember more than a quarter of the memory that the hub may use", "filters", resource.Size(uint64(n)), "memory", has.memory.String(),
			"remedy", "lower the option memory of filters, or raise the limit of the control group (MemoryMax=, docker -m)")
	}
	if n, limited := resource.AddressSpace(); limited && n < resource.AddressSpaceNeeded {
		log.Warn("the address space is limited to less than the hub may need: it would end with a stack trace", "limit", resource.Size(n),
			"remedy", "remove the limit (ulimit -v, LimitAS=): it does not limit memory. MemoryMax= does")
	}
}

// tuneGC keeps the memory of the hub small. The collector runs a little more often than by
// default. It runs still more often, and returns memory to the system, when the hub reaches
// a quarter of the machine's memory, or three quarters of what its control group allows.
// GOGC and GOMEMLIMIT in the environment take precedence.
func tuneGC(m resource.Memory) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(75)
	}
	if os.Getenv("GOMEMLIMIT") == "" && m.Limit > 0 {
		debug.SetMemoryLimit(gcLimit(m))
	}
}

// gcLimit returns the limit in bytes that the collector works to.
func gcLimit(m resource.Memory) int64 { return min(max(m.Machine/4, 64<<20), m.Limit/4*3) }
