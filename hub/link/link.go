// Package link speaks to message handlers that are processes of their own, over
// UNIX domain sockets, in either dialect.
//
// A [Group] is a native handler: one or more processes that dial in to the hub and
// name the types they serve. Each process keeps one lasting connection. Messages are
// pipelined over it under tags; the process's credits limit how many are in flight.
// [Groups] holds all groups and takes their connections from the listener. A [Classic]
// is a handler of the original kind: the hub dials it once for each message. A [Command]
// starts the program of either kind and restarts it when it exits. A [Slot] queues the
// messages for a handler while a successor replaces it.
//
// Group, Classic and Slot are each a hub.Handler. A slow handler process blocks nobody:
// Handle copies the message, queues it and returns. The queues are bounded in messages
// and bytes, and a message that is not answered in time fails alone. Messages of one
// sender, ordering key and type are answered in order, even if the processes answer out
// of order.
package link

import (
	"log/slog"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/lograte"
)

// Limits and defaults.
const (
	DefaultTimeout        = 10 * time.Second
	DefaultQueueMessages  = 1024
	DefaultQueueBytes     = 4 << 20
	DefaultMaxConnections = 16
	DefaultCredits        = 64   // of a process whose hello names none
	MaxCredits            = 4096 // of any process, whatever its hello names
)

// Options are what every kind of handler has. The zero value works.
type Options struct {
	// Timeout is how long a message may wait to be sent, and then again how long it may
	// wait for its answer. After that it fails with hub.ErrTimeout. If zero, 10 s.
	Timeout time.Duration
	// QueueMessages is how many messages may wait: to be sent, or, if they were answered out of
	// order, for those before them. More are refused with hub.ErrFull, except that senders
	// who hold little of the queue have room for a quarter more. If zero, 1024.
	QueueMessages int
	// QueueBytes is how much memory, in bytes, the messages that wait or are in flight may
	// take. More are refused with hub.ErrFull, as with QueueMessages. If zero, 4 MiB.
	QueueBytes int
	// MaxFrame is the longest frame, in bytes, that a handler may send. If zero, 1 MiB.
	MaxFrame int
	// Log gets what the operator should know. If nil, nothing is logged.
	Log *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.QueueMessages <= 0 {
		o.QueueMessages = DefaultQueueMessages
	}
	if o.QueueBytes <= 0 {
		o.QueueBytes = DefaultQueueBytes
	}
	o.QueueBytes = min(o.QueueBytes, bformat.MaxPayload/16)
	if o.MaxFrame <= 0 {
		o.MaxFrame = bformat.DefaultLimit
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Stats says how a handler is doing: counts since the start, and what is now.
type Stats struct {
	Name      string   `json:"name"`      // from the config or the handler's hello
	Types     []string `json:"types"`     // the patterns it serves
	Native    bool     `json:"native"`    // a Group; else a Classic
	Processes int      `json:"processes"` // connected now; of a Classic: exchanges in flight
	Waiting   int      `json:"waiting"`   // messages that wait to be sent, or for the answers before theirs
	InFlight  int      `json:"in_flight"` // messages sent and not answered

	Sent       uint64 `json:"sent"`        // messages sent
	Answered   uint64 `json:"answered"`    // answers that came in time
	Failed     uint64 `json:"failed"`      // messages that failed, for whatever reason, Timeouts included
	Timeouts   uint64 `json:"timeouts"`    // messages not sent or not answered in time
	Late       uint64 `json:"late"`        // answers that came after their time
	Unmatched  uint64 `json:"unmatched"`   // answers dropped: no message in flight had their tag
	Refused    uint64 `json:"refused"`     // messages not taken: too many waited, or the hub was closing
	Malformed  uint64 `json:"malformed"`   // connections closed, or answers refused, because they made no sense
	Panics     uint64 `json:"panics"`      // bugs of the hub met where answers went; each failed at most one message
	Restarts   uint64 `json:"restarts"`    // times its program was started again; not where that failed
	ExitReason string `json:"exit_reason"` // why its program does not run, while it waits to be started again; else ""
}

// newLimiter returns a limiter for the lines about one handler, or for those about all
// handlers that the config does not name.
func newLimiter() *lograte.Limiter { return &lograte.Limiter{Every: 10 * time.Second, Burst: 10} }

// fullError is why a message is refused: too many wait, or too many bytes.
func fullError(name string, o *Options, waiting int) error {
	if waiting >= o.QueueMessages {
		return hub.Reason(hub.ErrFull, "handler %q: %d messages wait for it already", name, waiting)
	}
	return hub.Reason(hub.ErrFull, "handler %q: messages of %d bytes wait for it already", name, o.QueueBytes)
}
