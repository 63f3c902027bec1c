package devices

import (
	"sync"
	"sync/atomic"

	"github.com/besterhub/bester/hub"
)

// PollerStats counts what a Poller has done since the start, and says how it is now.
type PollerStats struct {
	Reads    uint64 `json:"reads"`    // completed reads, with or without an error
	Failures uint64 `json:"failures"` // of these, those with an error
	Skipped  uint64 `json:"skipped"`  // ticks that came while the sensor was still being read
	Missing  uint64 `json:"missing"`  // times that a part could not be read while others could
	Invalid  uint64 `json:"invalid"`  // readings left out: their name or value cannot be written
	Sent     uint64 `json:"sent"`     // messages that the sink has accepted
	Refused  uint64 `json:"refused"`  // messages that the sink has refused; they are lost
	Failed   uint64 `json:"lost"`     // messages accepted, but then a handler or server failed
	Failing  bool   `json:"failing"`  // the last read failed, or is overdue
	State    State  `json:"state"`    // by the last read and the last message
	Error    string `json:"error"`    // why the last read failed, which parts of it did, or why nothing gets through; "" if all is well
}

// State says how a device is doing, by its last read and its last message.
type State string

// The states of a device, the worst first.
const (
	Fails       State = "fails"       // the last read yielded nothing, or is overdue
	Undelivered State = "undelivered" // it is read, but its last message did not get through
	Partial     State = "partial"     // some parts could not be read
	Unread      State = "unread"      // it has not been read yet
	Works       State = "works"
)

type pollerStats struct {
	reads, failures, skipped, missing, invalid, sent, refused atomic.Uint64

	last atomic.Pointer[lastRead]
	send atomic.Pointer[string] // why the sink refused the last message; nil: it did not
}

// A lastRead is the result of the last read.
type lastRead struct {
	failing bool // it yielded nothing
	text    string
}

// Stats returns the counters as they are now. It may be called from any goroutine.
func (p *Poller) Stats() PollerStats {
	s := &p.stats
	all := PollerStats{
		Reads: s.reads.Load(), Failures: s.failures.Load(), Skipped: s.skipped.Load(), Missing: s.missing.Load(), Invalid: s.invalid.Load(),
		Sent: s.sent.Load(), Refused: s.refused.Load(), Failed: p.receipt.lost.Load(), State: Works,
	}
	send := p.receipt.failure()
	if refused := s.send.Load(); refused != nil {
		send = *refused
	}
	last := s.last.Load()
	switch {
	case last != nil && last.failing:
		all.State, all.Failing, all.Error = Fails, true, last.text
	case send != "":
		all.State, all.Failing, all.Error = Undelivered, last != nil && last.text != "", send
	case last != nil && last.text != "":
		all.State, all.Failing, all.Error = Partial, true, last.text
	case all.Reads == 0:
		all.State = Unread
	}
	return all
}

// noteRead keeps the result of a read for Stats.
func (p *Poller) noteRead(failing bool, err error) {
	if err == nil {
		if p.stats.last.Load() != nil {
			p.stats.last.Store(nil)
		}
		return
	}
	p.stats.last.Store(&lastRead{failing, err.Error()})
}

// noteSend keeps the sink's answer to a message for Stats.
func (p *Poller) noteSend(err error) {
	if err == nil {
		if p.stats.send.Load() != nil {
			p.stats.send.Store(nil)
		}
		return
	}
	text := err.Error()
	p.stats.send.Store(&text)
}

// A receipt is the hub.Receipt of a Poller's messages.
type receipt struct {
	lost atomic.Uint64
	mu   sync.Mutex
	log  failureLog
}

// Done records the result of a message that the sink had accepted.
func (o *receipt) Done(_ *hub.Message, err error) {
	if err != nil {
		o.lost.Add(1)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.log.record(err)
}

// failure returns why the last message failed, or "".
func (o *receipt) failure() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.log.last
}
