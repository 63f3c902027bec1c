// Package throttle is a filter that limits the rate of messages. It passes one message
// per interval for each sender and type, or one record for each sender and SenML name,
// and drops the rest.
//
//	every = "1m"
//	by    = "name"
//
// The first message of each interval passes at once; nothing is delayed or buffered. By
// type the filter does not look into the data, which may be anything. By name it passes
// a smaller pack with only the records that are due. Data that is no SenML pack is then
// throttled by type, and counted.
package throttle

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/besterhub/bester/devices/senml"
	"github.com/besterhub/bester/handlers/internal/series"
	"github.com/besterhub/bester/hub"
)

// Options say how much passes. Every must be given.
type Options struct {
	// Every is the interval in which one passes. Intervals follow one another from
	// the first message on. They start anew after a pause longer than one interval,
	// and if the clock is set back by more than one. The time that counts is that of
	// the measurement (the message's, or by name the record's), not that of arrival.
	Every time.Duration `toml:"every" help:"interval in which one passes, by the times of the messages" default:"required"`
	// By is "type" or "name": what has its own interval, for each sender. If empty, "type".
	By string `toml:"by" help:"what is counted apart, beside the sender: type or name (SenML)" default:"type"`
	// Remember is how many of these are remembered. A new one evicts the least recently
	// used one. If zero, 4096.
	Remember int `toml:"remember" help:"how many are kept in mind; past it the one longest unheard of is not" default:"4096"`

	// Now tells the time of messages that have none. If nil, time.Now.
	Now func() time.Time `toml:"-"`
}

// A Filter is the hub.Handler. Its methods may be called from many goroutines.
type Filter struct {
	every  int64 // microseconds
	byName bool
	now    func() time.Time

	mu    sync.Mutex
	next  *series.LRU[int64] // when the next interval begins, in microseconds since 1970
	pool  series.ReaderPool
	stats Stats
}

// New returns a Filter.
func New(o Options) (*Filter, error) {
	if o.Every < time.Microsecond {
		return nil, fmt.Errorf(`throttle: every %v: want a duration such as "10s"`, o.Every)
	}
	f := &Filter{every: o.Every.Microseconds(), now: o.Now}
	switch o.By {
	case "name":
		f.byName = true
	case "type", "":
	default:
		return nil, fmt.Errorf(`throttle: by %q: want "type" or "name"`, o.By)
	}
	if o.Remember < 0 {
		return nil, errors.New("throttle: remember: want more than 0")
	}
	f.next = series.New[int64](o.Remember)
	if f.now == nil {
		f.now = time.Now
	}
	return f, nil
}

// Stats counts what a Filter has done.
type Stats struct {
	Passed    uint64 // messages passed on, also with fewer records
	Dropped   uint64 // messages of which nothing was due
	Records   uint64 // by name: records dropped, from messages passed on too
	Malformed uint64 // by name: messages that are no SenML pack, throttled by type
	Evicted   uint64 // senders' types or names evicted for others: see Options.Remember
}

// Stats returns the counters as they are now.
func (f *Filter) Stats() Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.stats
	s.Evicted = f.next.Evicted()
	return s
}

// Handle passes on the part of m that is due, or drops m.
func (f *Filter) Handle(m *hub.Message, a *hub.Answer) {
	now := m.Time
	if now.IsZero() {
		now = f.now()
	}
	if f.byName {
		f.handleNames(m, a, now)
		return
	}
	f.mu.Lock()
	due := f.messageDue(m, now)
	f.mu.Unlock()
	passOrDrop(a, m.Data, due)
}

func passOrDrop(a *hub.Answer, d hub.Data, pass bool) {
	if pass {
		a.Pass(d)
	} else {
		a.Drop()
	}
	a.Done(nil)
}

// messageDue reports whether m is due by its type, and counts it.
func (f *Filter) messageDue(m *hub.Message, now time.Time) bool {
	next, known := f.next.FindType(m.From, m.Type)
	due := f.due(next, known, now)
	if due {
		f.stats.Passed++
	} else {
		f.stats.Dropped++
	}
	return due
}

func (f *Filter) handleNames(m *hub.Message, a *hub.Answer, now time.Time) {
	f.mu.Lock()
	r := f.pool.Get()
	if !wellFormed(r, m.Data) { // checked before any state changes
		f.stats.Malformed++
		due := f.messageDue(m, now)
		f.pool.Put(r)
		f.mu.Unlock()
		passOrDrop(a, m.Data, due)
		return
	}
	records := 0
	for r.Reset(m.Data); r.Next(); records++ {
		rec := r.Record()
		next, known := f.next.Find(m.From, rec.Name)
		if f.due(next, known, rec.At(now)) {
			r.Keep()
		}
	}
	d, n := r.Kept()
	if r.Err() != nil { // no smaller pack is possible: all of it passes
		d, n = m.Data, records
	}
	f.stats.Records += uint64(records - n)
	if n > 0 {
		f.stats.Passed++
	} else {
		f.stats.Dropped++
	}
	f.mu.Unlock()

	if n > 0 {
		a.Pass(d)
	} else {
		a.Drop()
	}
	f.mu.Lock()
	f.pool.Put(r)
	f.mu.Unlock()
	a.Done(nil)
}

func wellFormed(r *senml.Reader, d hub.Data) bool {
	for r.Reset(d); r.Next(); {
	}
	return r.Err() == nil
}

// due reports whether a value measured at this time may pass. If so, it moves next to
// the beginning of the next interval.
func (f *Filter) due(next *int64, known bool, at time.Time) bool {
	now := at.UnixMicro()
	late := now - *next
	switch {
	case !known || late >= f.every || late < -2*f.every: // the first; after a pause; a clock set back
		*next = now + f.every
	case late >= 0:
		*next += f.every
	default:
		return false
	}
	return true
}
