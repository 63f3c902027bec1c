package hub

import (
	"encoding/json"
	"errors"
	"hash/maphash"
	"sync/atomic"
)

// A Loss is the reason why a delivery did not reach its receiver. It is a superset of
// bformat.Loss: the reasons of a send queue come first, in the same order.
type Loss uint8

const (
	LossFull         Loss = iota // the receiver's queue was full: it does not read fast enough
	LossMemory                   // the queue was full because the memory for all queues was used up
	LossDisconnected             // the receiver's session ended before it was written
	LossTooLong                  // it is longer than the receiver takes
	LossEncoding                 // its data cannot be converted to the receiver's encoding
	LossDenied                   // the receiver's account may not receive the type
	LossServer                   // a server refused it, did not confirm it, or is not known
	LossReach                    // the sender may not reach the receiver
	LossBug                      // the receiver's part of the hub panicked
	LossServerFull               // too much waited for the server already: it is slow, or cannot be reached
	NumLosses                    // how many reasons there are
)

var losses = [NumLosses]struct{ key, text string }{
	LossFull:         {"queue_full", "queue full"},
	LossMemory:       {"out_of_memory", "out of memory"},
	LossDisconnected: {"disconnected", "disconnected"},
	LossTooLong:      {"too_long", "too long"},
	LossEncoding:     {"encoding", "cannot be converted"},
	LossDenied:       {"not_allowed", "may not receive the type"},
	LossServer:       {"server_failed", "refused by a server"},
	LossReach:        {"out_of_reach", "the sender may not reach it"},
	LossBug:          {"bug", "a bug of the hub"},
	LossServerFull:   {"server_queue_full", "server's queue full"},
}

// String returns the reason in words.
func (l Loss) String() string { return losses[l].text }

// Losses counts deliveries that were lost, by reason.
type Losses [NumLosses]uint64

// Total returns the sum of all reasons.
func (l Losses) Total() (n uint64) {
	for _, v := range l {
		n += v
	}
	return n
}

// Add adds the counters of m.
func (l *Losses) Add(m Losses) {
	for i, v := range m {
		l[i] += v
	}
}

// MarshalJSON writes an object of the reasons that are not 0, such as {"queue_full":3}.
func (l Losses) MarshalJSON() ([]byte, error) {
	m := make(map[string]uint64)
	for i, v := range l {
		if v > 0 {
			m[losses[i].key] = v
		}
	}
	return json.Marshal(m)
}

// UnmarshalJSON reads what MarshalJSON writes. It skips reasons that it does not know.
func (l *Losses) UnmarshalJSON(b []byte) error {
	var m map[string]uint64
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	for i := range l {
		l[i] = m[losses[i].key]
	}
	return nil
}

// LossOf returns the reason behind the error of a receiver's Put.
func LossOf(err error) Loss {
	switch {
	case errors.Is(err, ErrClosed):
		return LossDisconnected
	case errors.Is(err, ErrDenied):
		return LossDenied
	case errors.Is(err, ErrTooLong):
		return LossTooLong
	case errors.Is(err, ErrEncoding):
		return LossEncoding
	case errors.Is(err, ErrMemory):
		return LossMemory
	}
	if _, ok := errors.AsType[*sinkPanic](err); ok {
		return LossBug
	}
	return LossFull
}

// lossOfServer returns the reason behind the error of a server's Put.
func lossOfServer(err error) Loss {
	switch {
	case LossOf(err) == LossBug:
		return LossBug
	case errors.Is(err, ErrFull):
		return LossServerFull
	}
	return LossServer
}

// DeliveryStats counts deliveries that a sink has taken: with Put returning nil. At any
// time, Accepted = Delivered + Queued + Losses.Total().
type DeliveryStats struct {
	Accepted  uint64 `json:"-"`         // taken by the sink
	Delivered uint64 `json:"delivered"` // written to the receiver's socket; a server: confirmed
	Queued    uint64 `json:"queued"`    // in a queue, or in flight to a server
	Losses    Losses `json:"losses"`    // taken, and lost since
}

// Add adds the counters of other deliveries.
func (d *DeliveryStats) Add(o DeliveryStats) {
	d.Accepted += o.Accepted
	d.Delivered += o.Delivered
	d.Queued += o.Queued
	d.Losses.Add(o.Losses)
}

// RouterStats counts what became of messages since the start, and of their deliveries, in two
// sets of counters, each of which adds up whenever no burst is being read:
//
//	messages:    Taken  = Succeeded + Failed + Dropped + Absent + InFlight
//	deliveries:  Handed = Delivered + Unconfirmed + Queued + Lost
//
// A message that the hub takes ends in exactly one counter. It makes any number of
// deliveries, one for each session or server that it is handed to, and each of these ends in
// exactly one counter, too. A session that takes a delivery and loses it later counts that
// by its reason: see DeliveryStats.
type RouterStats struct {
	Taken     uint64            `json:"taken"`     // messages put into the hub
	Refused   uint64            `json:"refused"`   // put, but not taken: nobody serves their type, or they exceeded the hop limit
	Succeeded uint64            `json:"succeeded"` // taken, and a receiver or server took it, or a handler kept it
	Failed    uint64            `json:"failed"`    // taken, but a handler or one of its commands failed
	Failures  map[string]uint64 `json:"failures"`  // these by the reason
	Dropped   uint64            `json:"dropped"`   // taken, and dropped by a handler, and nobody else had it
	Absent    uint64            `json:"absent"`    // taken, but nobody who was to get it is here and can take it
	InFlight  uint64            `json:"in_flight"` // taken, and not ended
	Panics    uint64            `json:"panics"`    // bugs in handlers and receivers of this process

	LastValues        int    `json:"last_values"`         // types whose last message is kept now: see Router.SetLastValues
	LastValuesEvicted uint64 `json:"last_values_evicted"` // types whose last message gave way to others

	Handed      uint64 `json:"handed"`      // deliveries: messages handed to a session or server, once for each
	Unconfirmed uint64 `json:"unconfirmed"` // of these, taken by servers that did not say what became of them
	Lost        uint64 `json:"lost"`        // the sum of Losses
	DeliveryStats
}

// AddSink adds the deliveries of sinks that count what becomes of them, which the Router
// counts as delivered otherwise.
func (s *RouterStats) AddSink(d DeliveryStats) {
	s.Delivered -= min(s.Delivered, d.Accepted)
	d.Accepted = 0
	s.DeliveryStats.Add(d)
	s.Lost = s.Losses.Total()
}

// A count is one of the counters that a Batch counts without atomics.
type count uint8

const (
	countTaken count = iota
	countSucceeded
	countFailed
	countDropped
	countAbsent
	countHanded        // deliveries tried
	countToServers     // deliveries taken by servers
	countConfirmed     // of these
	countUnconfirmed   // of these
	countServersFailed // of these
	numCounts
)

type routerStats struct {
	counts          [numCounts]atomic.Uint64
	refused, panics atomic.Uint64
	losses          [NumLosses]atomic.Uint64 // deliveries that were not taken, and those that servers failed
	failures        [len(failures)]atomic.Uint64
}

// failures are the reasons of failed messages; the last is for all others.
var failures = [...]struct {
	err error
	key string
}{
	{ErrNoHandler, "no_handler"}, {ErrHops, "too_many_hops"}, {ErrFull, "full"}, {ErrTooLong, "too_long"}, {ErrDenied, "not_allowed"},
	{ErrUnknownServer, "unknown_server"}, {ErrTimeout, "no_answer"}, {ErrClosed, "closed"}, {ErrEncoding, "encoding"}, {ErrHandler, "handler"},
}

func (r *Router) countLost(l Loss) { r.stats.losses[l].Add(1) }

func (r *Router) countFailed(err error) {
	for i, f := range failures {
		if i == len(failures)-1 || errors.Is(err, f.err) {
			r.stats.failures[i].Add(1)
			return
		}
	}
}

// inFlight returns how many messages are taken and not ended. Batches add their counts when
// their input runs dry, so it is right only when nothing waits in one.
func (s *routerStats) inFlight() uint64 {
	n := s.counts[countTaken].Load()
	for c := countSucceeded; c <= countAbsent; c++ {
		n -= s.counts[c].Load()
	}
	return n
}

// Stats returns the counters as they are now. Messages of a burst that is being read are not
// counted yet.
func (r *Router) Stats() RouterStats {
	s := &r.stats
	n := func(c count) uint64 { return s.counts[c].Load() }
	ended := n(countSucceeded) + n(countFailed) + n(countDropped) + n(countAbsent)
	stats := RouterStats{
		Succeeded: n(countSucceeded), Failed: n(countFailed), Failures: make(map[string]uint64),
		Dropped: n(countDropped), Absent: n(countAbsent), Refused: s.refused.Load(), Panics: s.panics.Load(),
	}
	for i, f := range failures {
		if v := s.failures[i].Load(); v > 0 {
			stats.Failures[f.key] = v
		}
	}
	stats.LastValues, stats.LastValuesEvicted = r.lastValues.count()
	stats.Taken = max(n(countTaken), ended) // a burst that ended elsewhere may be counted before it was taken
	stats.InFlight = stats.Taken - ended
	for i := range s.losses {
		stats.Losses[i] = s.losses[i].Load()
	}
	stats.Lost = stats.Losses.Total()
	stats.Delivered = n(countConfirmed)
	stats.Unconfirmed = n(countUnconfirmed)
	stats.Queued = n(countToServers) - min(n(countToServers), stats.Delivered+stats.Unconfirmed+n(countServersFailed))
	stats.Handed = max(n(countHanded), stats.Delivered+stats.Unconfirmed+stats.Queued+stats.Lost)
	stats.Delivered = stats.Handed - stats.Unconfirmed - stats.Queued - stats.Lost
	return stats
}

var senderSeed = maphash.MakeSeed()

// SenderHash returns a hash of who sent the message, by which queues share their room
// fairly. All users of another server are one sender: that server. Other starts of the
// program have other hashes.
func (m *Message) SenderHash() uint32 {
	if b := m.Batch; b != nil {
		if b.lastFrom != m.From {
			b.lastFrom, b.lastHash = m.From, m.From.hash()
		}
		return b.lastHash
	}
	return m.From.hash()
}

func (a Address) hash() uint32 {
	if a.Server != "" {
		return uint32(maphash.String(senderSeed, string(a.Server)))
	}
	return uint32(maphash.String(senderSeed, string(a.User)))
}
