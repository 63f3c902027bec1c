package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/besterhub/bester/hub"
)

// ServerStats are the counters and the state of a named server.
type ServerStats struct {
	Name    hub.ServerName `json:"name"`
	Address string         `json:"address"`
	Sent    uint64         `json:"sent"`           // messages that it has
	Failed  uint64         `json:"failed"`         // messages that failed: it could not be reached, or refused
	Waiting int            `json:"waiting"`        // messages now
	State   State          `json:"state"`          // by the last message
	Since   time.Time      `json:"since,omitzero"` // when the last message was tried; left out if never
	Error   string         `json:"error"`          // why the last message failed; "" if it did not
}

// State is the state of a server by the last message for it. There are no health checks.
type State string

// The states of a server.
const (
	Untried State = "untried" // there was no message for it yet
	Works   State = "works"   // it has the last message
	Fails   State = "fails"   // the last message failed: see Error
)

// A serverStatus holds the ServerStats of a named server. It is nil for a server without a name.
type serverStatus struct {
	mu sync.Mutex
	ServerStats
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
	if err != nil {
		r.Failed++
		r.State, r.Error = Fails, err.Error()
		return
	}
	r.Sent++
	r.State, r.Error = Works, ""
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

// explain turns a network error into one that says what the operator should check.
func explain(err error) error {
	var name *net.DNSError
	var timeout interface{ Timeout() bool }
	text := ""
	switch {
	case errors.As(err, &name) && name.IsNotFound:
		text = fmt.Sprintf("there is no host %q: does the hub's config have the right address?", name.Name)
	case errors.As(err, &name):
		text = fmt.Sprintf("the address of %q cannot be found out: is there a network, and a name server?", name.Name)
	case errors.Is(err, syscall.ECONNREFUSED):
		text = "connection refused: does its hub run, and listen on that address and port?"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		text = "there is no way to it: is it on, and in a network that this machine can reach?"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		text = "it reset the connection before it had read the message: is this hub's address in its peers.classic? Its log says why"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		text = "no answer in time: is it on, and does a firewall let this through?"
	default:
		return err
	}
	return hub.Reason(err, "%s", text)
}
