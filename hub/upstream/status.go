package upstream

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/lograte"
)

// ServerStats are the counters and the state of a named server.
type ServerStats struct {
	Name        hub.ServerName `json:"name"`           // from the config
	Address     string         `json:"address"`        // host:port
	Confirmed   uint64         `json:"sent"`           // messages that it has confirmed
	Unconfirmed uint64         `json:"unconfirmed"`    // messages that it took without an answer
	Failed      uint64         `json:"failed"`         // messages that failed: it could not be reached, or refused, or too much waited for it
	Waiting     int            `json:"waiting"`        // messages now
	State       State          `json:"state"`          // by the last message
	Since       time.Time      `json:"since,omitzero"` // when the last message was tried; left out if never
	Error       string         `json:"error"`          // why the last message failed; "" if it did not
}

// State is the state of a server by the last message for it. There are no health checks.
type State string

// The states of a server.
const (
	Untried     State = "untried"     // there was no message for it yet
	Works       State = "works"       // it has confirmed the last message
	Unconfirmed State = "unconfirmed" // it took the last message and said nothing, as the original does
	Fails       State = "fails"       // the last message failed: see Error
)

// A serverStatus holds the ServerStats of a named server. It is nil for a server without a name.
type serverStatus struct {
	logLimiter *lograte.Limiter // of all lines on it

	mu sync.Mutex
	ServerStats
	hasConfirmed bool // a message, since it has this address
}

// setAddress gives the server an address, at which it is Untried.
func (r *serverStatus) setAddress(address string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.Address != address || r.State == "" {
		r.Address, r.State, r.Since, r.Error, r.hasConfirmed = address, Untried, time.Time{}, "", false
	}
}

// confirms reports whether the server has ever confirmed a message at the address.
func (r *serverStatus) confirms(address string) bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hasConfirmed && r.Address == address
}

func (r *serverStatus) queued() {
	if r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.Waiting++
	}
}

// done counts a message that was queued. It reports whether the server's state has changed.
func (r *serverStatus) done(address string, state State, err error) (changed bool) {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Waiting--
	switch state {
	case Works:
		r.Confirmed++
	case Unconfirmed:
		r.Unconfirmed++
	default:
		r.Failed++
	}
	return r.setState(address, state, err)
}

// refused counts a message that was not queued.
func (r *serverStatus) refused(address string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Failed++
	r.setState(address, Fails, err)
}

// setState sets the state after a message. One for an address that the server no longer
// has says nothing of it. The caller holds mu.
func (r *serverStatus) setState(address string, state State, err error) (changed bool) {
	if r.Address != address {
		return false
	}
	changed = r.State != state
	r.State, r.Since, r.Error = state, time.Now(), ""
	switch state {
	case Works:
		r.hasConfirmed = true
	case Fails:
		r.Error = err.Error()
	}
	return changed
}

// log logs the outcome of a message: each change of a named server's state, and at a
// bounded rate what fails.
func (f *ClassicForwarder) log(s *destination, j *job, state State, changed bool, err error) {
	if j.status == nil {
		if state == Fails {
			f.logLimiter.Log(f.o.Log, slog.LevelWarn, "message not handed over", slog.String("server", s.address),
				slog.String("type", string(j.message.Type)), slog.Any("err", err))
		}
		return
	}
	limiter := j.status.logLimiter
	name := slog.String("server", string(j.status.Name))
	at := slog.String("address", s.address)
	switch {
	case state == Fails: // another cause, or another message
		limiter.Log(f.o.Log, slog.LevelWarn, "message not handed over", name,
			slog.String("type", string(j.message.Type)), slog.Any("err", err))
	case changed && state == Works:
		limiter.Log(f.o.Log, slog.LevelInfo, "server works", name, at)
	case changed && j.status.confirms(s.address):
		limiter.Log(f.o.Log, slog.LevelWarn, "server took a message and did not confirm it in time", name, at,
			slog.String("limit", f.o.AnswerTimeout.String()), slog.String("remedy", "see what keeps that hub or its handlers busy"))
	case changed:
		limiter.Log(f.o.Log, slog.LevelWarn, "server took a message and did not confirm it, as an original Bester does", name, at,
			slog.String("remedy", "if it is a hub of this kind, the address must be a port where it listens without TLS"))
	}
}

// label names a server in an error: its name, if it has one, and its address.
func (r *serverStatus) label(address string) string {
	if r == nil {
		return address
	}
	return fmt.Sprintf("%s (%s)", r.Name, address)
}

// Servers returns the ServerStats of the named servers, sorted by name. Waiting includes the
// message that is being sent.
func (f *ClassicForwarder) Servers() []ServerStats {
	named := f.known.Load().named
	all := make([]ServerStats, 0, len(named))
	for _, name := range slices.Sorted(maps.Keys(named)) {
		r := named[name]
		r.mu.Lock()
		all = append(all, r.ServerStats)
		r.mu.Unlock()
	}
	return all
}
