package spool

import "time"

// Stats is what a spool knows of itself, all at one moment. At every moment
//
//	Accepted = Delivered + Queued + Expired + Dropped.Oldest + Dropped.Downsampled + Dropped.Damaged + Dropped.Memory
type Stats struct {
	// Accepted counts the records accepted since Open, and those undelivered that Open
	// found. Found counts only the latter.
	Accepted, Found uint64
	// Delivered were confirmed by all readers.
	Delivered uint64
	// Expired were older than Options.MaxAge.
	Expired uint64
	Dropped Dropped // accepted, and no longer kept
	// Refused were not accepted; their callers were told.
	Refused Refused
	// Queued are kept: neither confirmed by all readers nor dropped. QueuedBytes is
	// what they take on the card, without data that is yet to be written.
	Queued, QueuedBytes uint64
	// InMemory counts records that wait to be written: Durable records not yet accepted,
	// or Telemetry records that are Queued.
	InMemory uint64
	// Segments is the number of files of the log.
	Segments int
	Readers  []ReaderStats // how far each has read
	Damage   Damage        // found since Open
	Writes   WriteStats    // what was written
	// Failing is the error with which the card fails, nil if it does not; Failures counts
	// how often it began to fail.
	Failing  error  // nil: it works
	Failures uint64 // since Open
	// Clock is the spool's clock in milliseconds.
	Clock uint64
}

// Dropped counts accepted records that are no longer kept, by the reason.
type Dropped struct {
	Oldest      uint64 // dropped for newer ones, when full
	Downsampled uint64 // by the policy Downsample
	Damaged     uint64 // found unreadable on the card
	Memory      uint64 // because memory was full and the card failed
}

// Refused counts records that were not accepted, by the reason.
type Refused struct {
	Full     uint64 // the spool was full: DropNewest, or AppendAsync would have had to wait
	Failed   uint64 // the card fails
	TooLarge uint64 // over Options.MaxRecord
}

// ReaderStats is where a reader is.
type ReaderStats struct {
	Name     string // given to Spool.Reader
	Position uint64 // confirmed up to here
	Queued   uint64 // records after that
	InFlight int    // handed out and beyond the position
}

// Damage is the damage found on the card since Open, by Open itself and by readers
// that met it.
type Damage struct {
	Found       uint64 // places, not counting Torn and PowerCut, which are not damage
	Quarantined uint64 // files renamed to .damaged
	// Findings are the latest of them, at most 16.
	Findings []Finding
}

// A Cause says how records came to be missing.
type Cause string

// The causes of a Finding.
const (
	Damaged  Cause = "damaged"   // what is there is not what was written
	Missing  Cause = "missing"   // a file, or its end, is not there
	Foreign  Cause = "foreign"   // a file that does not belong there
	Torn     Cause = "torn"      // the last write before a power cut; nobody was told that it was safe
	PowerCut Cause = "power cut" // telemetry that was only in memory; Records is not known
)

// A Finding is one instance of damage or of missing records.
type Finding struct {
	Gap     Gap    // the sequences that may be missing, zero or empty (To < From) if none
	Records uint64 // how many records of those; at most, where the log does not tell
	Cause   Cause  // how they came to be missing
	File    string // where; empty if that is not known
}

type counters struct {
	accepted, found, delivered, expired uint64
	dropped                             Dropped
	refused                             Refused
	damage                              Damage
	failures                            uint64

	payload, stored, written, syncs uint64
	longest                         time.Duration
	wear                            wearCounters
}

// countWrite counts one write.
func (c *counters) countWrite(written, syncs uint64, took time.Duration, at uint64) {
	c.written += written
	c.syncs += syncs
	c.longest = max(c.longest, took)
	c.wear.add(0, written, at)
}

// accept counts data that was accepted.
func (c *counters) accept(payload uint64) {
	c.payload += payload
	c.wear.payload += payload
}

const maxFindings = 16

// noteFinding records a finding, once. Called under mu, or before any other goroutine runs.
func (s *Spool) noteFinding(l Finding) {
	d := &s.count.damage
	for _, have := range d.Findings {
		if have.File == l.File && have.Gap == l.Gap && have.Cause == l.Cause {
			return
		}
	}
	if l.Cause != Torn && l.Cause != PowerCut {
		d.Found++
	}
	if len(d.Findings) == maxFindings {
		d.Findings = append(d.Findings[:0], d.Findings[1:]...)
	}
	d.Findings = append(d.Findings, l)
	if s.opt.Log != nil {
		s.opt.Log.Warn("spool: something is wrong on the card", "cause", string(l.Cause), "file", l.File, "from", l.Gap.From, "to", l.Gap.To, "records", l.Records)
	}
}

// Stats returns the spool's figures, also after Close.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.count
	c.wear.advanceTo(s.clock())
	st := Stats{
		Accepted: c.accepted, Found: c.found, Delivered: c.delivered, Expired: c.expired,
		Dropped: c.dropped, Refused: c.refused,
		Queued: s.total.n - s.passed.n, QueuedBytes: s.total.bytes - s.passed.bytes,
		InMemory: s.mem.size.n, Segments: len(s.segs), Damage: c.damage,
		Failing: s.failing, Failures: c.failures, Clock: s.clock(),
		Writes: WriteStats{Payload: c.payload, Stored: c.stored, Written: c.written, Syncs: c.syncs,
			LongestSync: c.longest, Day: c.wear.day(), Budget: s.opt.DayBudget, Total: c.wear.summary()},
	}
	st.Damage.Findings = append([]Finding(nil), c.damage.Findings...)
	for _, r := range s.list {
		st.Readers = append(st.Readers, ReaderStats{
			Name: r.name, Position: r.committed, Queued: s.total.n - r.passed.n, InFlight: r.window.n,
		})
	}
	return st
}
