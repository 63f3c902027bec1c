package upstream

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/lograte"
)

// ServerStats are the counters and the state of a named server.
type ServerStats struct {
	Name        hub.ServerName `json:"name"`
	Address     string         `json:"address"`
	Sent        uint64         `json:"sent"`           // messages that it has confirmed
	Unconfirmed uint64         `json:"unconfirmed"`    // messages that it took without a word
	Failed      uint64         `json:"failed"`         // messages that failed: it could not be reached, or refused
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
	mu sync.Mutex
	ServerStats
	often *lograte.Limiter // of all lines on it
}

// hasAnswered reports whether the server has ever confirmed a message.
func (r *serverStatus) hasAnswered() bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.Sent > 0
}

func (r *serverStatus) queued() {
	if r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.Waiting++
	}
}

func (r *serverStatus) done(err error) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Waiting--
	r.Since = time.Now()
	r.State, r.Error = stateAfter(err), ""
	switch r.State {
	case Works:
		r.Sent++
	case Unconfirmed:
		r.Unconfirmed++
	default:
		r.Failed++
		r.Error = err.Error()
	}
}

// stateAfter is the state of a server after a message with that outcome.
func stateAfter(err error) State {
	switch err {
	case nil:
		return Works
	case errUnconfirmed:
		return Unconfirmed
	}
	return Fails
}

// log logs the outcome of a message: each change of a named server's state, and at a
// bounded rate what fails. It is called before serverStatus.done.
func (d *Direct) log(s *destination, j *job, err error) {
	state := stateAfter(err)
	if j.status == nil {
		if state == Fails {
			d.often.Log(d.o.Log, slog.LevelWarn, "message not handed over", slog.String("server", s.address),
				slog.String("type", string(j.message.Type)), slog.Any("err", err))
		}
		return
	}
	j.status.mu.Lock()
	changed := j.status.State != state
	j.status.mu.Unlock()
	name := slog.String("server", string(j.status.Name))
	at := slog.String("address", s.address)
	switch {
	case state == Fails: // another cause, or another message
		j.status.often.Log(d.o.Log, slog.LevelWarn, "message not handed over", name,
			slog.String("type", string(j.message.Type)), slog.Any("err", err))
	case changed && state == Works:
		j.status.often.Log(d.o.Log, slog.LevelInfo, "server works", name, at)
	case changed:
		j.status.often.Log(d.o.Log, slog.LevelWarn, "server took a message and did not confirm it, as an original Bester does", name, at,
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
func (d *Direct) Servers() []ServerStats {
	all := make([]ServerStats, 0, len(d.named))
	for _, r := range d.named {
		r.mu.Lock()
		all = append(all, r.ServerStats)
		r.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b ServerStats) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return all
}
