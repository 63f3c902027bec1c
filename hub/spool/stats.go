package spool

import "time"

// Stats is what a spool knows of itself, all at one moment. At every moment
//
//	Accepted = Delivered + Queued + Expired + Dropped.Oldest + Dropped.Thinned + Dropped.Damaged + Dropped.Memory
type Stats struct {
	// Accepted counts records since Open, with those found by Open that were not
	// delivered: Found.
	Accepted, Found uint64
	// Delivered were confirmed by all readers.
	Delivered uint64
	// Expired were older than Options.MaxAge.
	Expired uint64
	Dropped Dropped
	// Refused were not accepted; their callers were told.
	Refused Refused
	// Queued are kept: not confirmed by all readers, nor dropped. QueuedBytes is
	// what they take on the card, without data that is yet to be written.
	Queued, QueuedBytes uint64
	// InMemory waits to be written: Durable records not yet accepted, or Telemetry
	// ones that are Queued.
	InMemory uint64
	// Segments is the number of files of the log.
	Segments int
	Readers  []ReaderStats
	Damage   Damage
	Card     Card
	// Failing is the error for which the card takes nothing, nil if it does;
	// Failures counts how often that began.
	Failing  error
	Failures uint64
	// Clock is the spool's clock in milliseconds.
	Clock uint64
}

// Dropped counts accepted records that are no longer kept, by the reason.
type Dropped struct {
	Oldest  uint64 // for newer ones, when full
	Thinned uint64 // by ThinOut
	Damaged uint64 // found unreadable on the card
	Memory  uint64 // because memory was full and the card failed
}

// Refused counts records that were not accepted, by the reason.
type Refused struct {
	Full     uint64 // no room: DropNewest, or it would have had to wait
	Failed   uint64 // the card fails
	TooLarge uint64
}

// ReaderStats is where a reader is.
type ReaderStats struct {
	Name     string
	Position uint64 // confirmed up to here
	Queued   uint64 // records after that
	InFlight int    // handed out and not yet within the position
}

// Damage is what was found wrong on the card since Open, by Open itself and by
// readers when they came to it.
type Damage struct {
	Found    uint64 // places, without Torn and PowerCut, which are no damage
	SetAside uint64 // files renamed to .damaged
	// Losses are the latest of them, at most 16.
	Losses []Loss
}

// A Cause says how records came to be missing.
type Cause string

// The causes of a Loss.
const (
	Damaged  Cause = "damaged"   // what is there is not what was written
	Missing  Cause = "missing"   // a file, or its end, is not there
	Foreign  Cause = "foreign"   // a file that does not belong there
	Torn     Cause = "torn"      // the last write before a power cut; nobody was told that it was safe
	PowerCut Cause = "power cut" // telemetry that was only in memory; Records is not known
)

// A Loss is something that was found wrong.
type Loss struct {
	Gap     Gap    // the sequences that may be missing, zero or empty (To < From) if none
	Records uint64 // how many records of those; at most, where the log does not tell
	Cause   Cause
	File    string // where; empty if that is not known
}

// Card is what was asked of the card since Open.
type Card struct {
	Payload uint64 // bytes of data accepted
	Stored  uint64 // of which written
	Written uint64 // bytes in whole pages of 4096, as the card writes them, with zeros ahead and headers, without the file system's journal
	Syncs   uint64
	// LongestSync is the longest write with its sync.
	LongestSync time.Duration
	// Day is what was Written in the last 24 hours; Budget is Options.DayBudget.
	Day, Budget uint64
}

// Amplification is how many bytes were written for each that was accepted.
func (c Card) Amplification() float64 { return float64(c.Written) / float64(max(c.Payload, 1)) }

type counters struct {
	accepted, found, delivered, expired uint64
	dropped                             Dropped
	refused                             Refused
	damage                              Damage
	failures                            uint64

	payload, stored, written, syncs uint64
	longest                         time.Duration
	hours                           [24]uint64 // written in each of the last 24 hours
	hour                            int64      // the one that is counted now
}

// card counts one write.
func (c *counters) card(written, syncs uint64, took time.Duration, now time.Time) {
	c.written += written
	c.syncs += syncs
	c.longest = max(c.longest, took)
	c.turnHours(now)
	c.hours[c.hour%24] += written
}

// turnHours clears the hours that nothing was counted in.
func (c *counters) turnHours(now time.Time) {
	hour := max(0, now.Unix()/3600)
	if c.hour == 0 || hour < c.hour {
		c.hour = hour // the clock was set back: go on in this hour's place
	}
	for n := 0; c.hour < hour; n++ {
		if n > 24 {
			c.hour = hour
			break
		}
		c.hour++
		c.hours[c.hour%24] = 0
	}
}

const lossesKept = 16

// noteGap enters a loss, once. Called under mu, or before there is anyone else.
func (s *Spool) noteGap(l Loss) {
	d := &s.count.damage
	for _, have := range d.Losses {
		if have.File == l.File && have.Gap == l.Gap && have.Cause == l.Cause {
			return
		}
	}
	if l.Cause != Torn && l.Cause != PowerCut {
		d.Found++
	}
	if len(d.Losses) == lossesKept {
		d.Losses = append(d.Losses[:0], d.Losses[1:]...)
	}
	d.Losses = append(d.Losses, l)
	if s.opt.Log != nil {
		s.opt.Log.Warn("spool: something is wrong on the card", "cause", string(l.Cause), "file", l.File, "from", l.Gap.From, "to", l.Gap.To, "records", l.Records)
	}
}

// Stats returns the spool's figures, also after Close.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.count
	c.turnHours(time.Now())
	st := Stats{
		Accepted: c.accepted, Found: c.found, Delivered: c.delivered, Expired: c.expired,
		Dropped: c.dropped, Refused: c.refused,
		Queued: s.total.n - s.passed.n, QueuedBytes: s.total.bytes - s.passed.bytes,
		InMemory: s.mem.size.n, Segments: len(s.segs), Damage: c.damage,
		Failing: s.failing, Failures: c.failures, Clock: s.clock(),
		Card: Card{Payload: c.payload, Stored: c.stored, Written: c.written, Syncs: c.syncs,
			LongestSync: c.longest, Budget: s.opt.DayBudget},
	}
	st.Damage.Losses = append([]Loss(nil), c.damage.Losses...)
	for _, h := range c.hours {
		st.Card.Day += h
	}
	for _, r := range s.list {
		st.Readers = append(st.Readers, ReaderStats{
			Name: r.name, Position: r.committed, Queued: s.total.n - r.passed.n, InFlight: r.window.n,
		})
	}
	return st
}
