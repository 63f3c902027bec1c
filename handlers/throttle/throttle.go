// Package throttle is a filter that limits the rate of messages. It passes one message
// per interval for each sender and type, or one record for each sender, type and SenML
// name, and drops the rest.
//
//	every = "1m"
//	by    = "name"
//
// The first message of each interval passes at once; nothing is delayed or buffered.
// Intervals count the time that passes here, not the times in messages: a clock that is
// set does not matter, and of readings that arrive late and all at once only the first
// passes. By type the filter does not look into the data, which may be anything. By name
// it passes a smaller pack with only the records that are due. A record whose value is
// invalid is throttled by its name like others, and counted; those of a pack without a
// valid name count as one. Data that is no SenML pack is then throttled by type, and
// counted.
package throttle

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/besterhub/bester/devices/senml"
	"github.com/besterhub/bester/handlers/internal/series"
	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/options"
)

// Options say how much passes. Every must be given.
type Options struct {
	// Every is the interval in which one passes. Intervals follow one another from
	// the first message on, and start anew after a pause longer than one interval. The
	// time that passes here counts, not the times of measurement.
	Every time.Duration `toml:"every" help:"interval in which one passes" default:"required"`
	// By is "type" or "name": what has its own interval, for each sender. If empty, "type".
	By string `toml:"by" help:"what is counted apart, beside the sender: type or name (SenML)" default:"type"`
	// Memory bounds what is remembered, in bytes. When it is full, a new sender, type or
	// name evicts the least recently used one, whose next value then passes. If zero, 1 MiB.
	Memory options.Bytes `toml:"memory" help:"bytes of memory for what is remembered; past it the one longest unheard of is forgotten" default:"1 MiB"`

	// Now tells the time. Intervals count the time that passes on it, by its monotonic
	// reading if it has one. If nil, time.Now.
	Now func() time.Time `toml:"-"`
	// Log is told, once an hour at most, that the memory is too small. If nil, nobody is.
	Log *slog.Logger `toml:"-"`
}

// A Filter is the hub.Handler. Its methods may be called from many goroutines.
type Filter struct {
	every  time.Duration
	byName bool
	now    func() time.Time
	start  time.Time // elapsed times count from it
	log    *slog.Logger

	mu    sync.Mutex
	next  *series.LRU[time.Duration] // when the next interval begins: see Filter.elapsed
	pool  series.ReaderPool
	stats Stats
}

// New returns a Filter.
func New(o Options) (*Filter, error) {
	if o.Every < time.Microsecond {
		return nil, fmt.Errorf(`throttle: every %v: want a duration such as "10s"`, o.Every)
	}
	f := &Filter{every: o.Every, now: o.Now, log: o.Log}
	switch o.By {
	case "name":
		f.byName = true
	case "type", "":
	default:
		return nil, fmt.Errorf(`throttle: by %q: want "type" or "name"`, o.By)
	}
	if err := series.CheckMemory(o.Memory); err != nil {
		return nil, fmt.Errorf("throttle: %w", err)
	}
	f.next = series.New[time.Duration](int(o.Memory))
	if f.now == nil {
		f.now = time.Now
	}
	f.start = f.now()
	return f, nil
}

// Stats counts what a Filter has done.
type Stats struct {
	Passed    uint64 `json:"passed"`    // messages passed on, also with fewer records
	Dropped   uint64 `json:"dropped"`   // messages of which nothing was due
	Records   uint64 `json:"records"`   // by name: records dropped, from messages passed on too
	Malformed uint64 `json:"malformed"` // by name: messages that are no SenML pack, throttled by type
	Invalid   uint64 `json:"invalid"`   // by name: invalid records, throttled like others
	Evicted   uint64 `json:"evicted"`   // senders' types or names forgotten for others: see Options.Memory
}

// Stats returns the counters as they are now.
func (f *Filter) Stats() Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.stats
	s.Evicted = f.next.Evicted()
	return s
}

// Report returns Stats: see catalog.Filter.
func (f *Filter) Report() any { return f.Stats() }

// elapsed returns the time that has passed since the filter was made.
func (f *Filter) elapsed() time.Duration { return f.now().Sub(f.start) }

// Handle passes on the part of m that is due, or drops m.
func (f *Filter) Handle(m *hub.Message, a *hub.Answer) {
	now := f.elapsed()
	if f.byName {
		f.handleNames(m, a, now)
		return
	}
	due, shortage := f.filterMessage(m, now)
	shortage.Log(f.log)
	passOrDrop(a, m.Data, due)
}

// filterMessage reports whether m is due by its type.
func (f *Filter) filterMessage(m *hub.Message, now time.Duration) (due bool, shortage series.Shortage) {
	f.mu.Lock()
	defer f.mu.Unlock() // also if there is a bug
	return f.messageDue(m, now), f.next.Shortage(f.elapsed)
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
func (f *Filter) messageDue(m *hub.Message, now time.Duration) bool {
	e, known := f.next.Find(m, nil)
	due := f.due(e, known, now)
	if due {
		f.stats.Passed++
	} else {
		f.stats.Dropped++
	}
	return due
}

func (f *Filter) handleNames(m *hub.Message, a *hub.Answer, now time.Duration) {
	r, d, due, shortage := f.filterNames(m, now)
	shortage.Log(f.log)
	if due {
		a.Pass(d)
	} else {
		a.Drop()
	}
	f.mu.Lock()
	f.pool.Put(r)
	f.mu.Unlock()
	a.Done(nil)
}

// filterNames reports whether anything of m is due, and returns that part, in r's memory.
func (f *Filter) filterNames(m *hub.Message, now time.Duration) (r *senml.Reader, d hub.Data, due bool, shortage series.Shortage) {
	f.mu.Lock()
	defer f.mu.Unlock() // also if there is a bug
	r = f.pool.Get()
	if !wellFormed(r, m.Data) { // checked before any state changes
		f.stats.Malformed++
		return r, m.Data, f.messageDue(m, now), f.next.Shortage(f.elapsed)
	}
	records := 0
	for r.Reset(m.Data); r.NextOrInvalid(); records++ {
		rec := r.Record()
		if rec.Err != nil {
			f.stats.Invalid++
		}
		e, known := f.next.Find(m, rec.Name)
		if f.due(e, known, now) {
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
	return r, d, n > 0, f.next.Shortage(f.elapsed)
}

func wellFormed(r *senml.Reader, d hub.Data) bool {
	for r.Reset(d); r.NextOrInvalid(); {
	}
	return r.Err() == nil
}

// due reports whether a value that comes now may pass. If so, it moves the beginning of
// the next interval. e is nil where there is no memory for it.
func (f *Filter) due(e *series.Entry[time.Duration], known bool, now time.Duration) bool {
	if e == nil {
		return true
	}
	next := &e.Value
	late := now - *next
	switch {
	case !known || late >= f.every: // the first; after a pause
		*next = now + f.every
	case late >= 0:
		*next += f.every
	default:
		return false
	}
	return true
}
