// Package deadband is a filter that passes on only changes. Of each SenML pack it passes
// the records whose value differs from the last one that passed by more than a band.
//
//	band    = 0.2
//	max_age = "5m"
//	names   = {humidity = {percent = 2}}
//
// It remembers the last value of each sender, message type and SenML name, in memory only:
// after a restart the first value of each passes. A pack without any changed record is
// dropped. A pack with some becomes smaller; the bytes of its records stay the same.
// max_age counts the time that passes between arrivals: of readings that arrive late and
// all at once, only those pass that have changed.
//
// Each record is judged by itself: one that is invalid (null, NaN, a text for a number)
// passes and is counted, and costs no other. Data that is no SenML pack passes unchanged
// and is counted: see Stats.
package deadband

import (
	"fmt"
	"hash/maphash"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/besterhub/bester/devices/senml"
	"github.com/besterhub/bester/handlers/internal/series"
	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/options"
)

// Options say what counts as a change. The zero value passes any change.
type Options struct {
	// Band is the width of the deadband on either side of the last number passed on,
	// in the record's own unit. A number farther away passes. If Band and Percent are
	// zero, any change passes.
	Band float64 `toml:"band" help:"how far a number must be from the last one passed on" default:"0: any change passes"`
	// Percent is the same in percent of the last number passed on. If both are set,
	// a number that exceeds either passes. If zero, only Band counts.
	Percent float64 `toml:"percent" help:"the same in percent of it; with both, either is enough" default:"0: band alone counts"`
	// MaxAge is how long ago the last value may have been passed on: after that a value
	// passes even if it has not changed. The time that passes here counts, not the times
	// of measurement. If zero, there is no limit.
	MaxAge time.Duration `toml:"max_age" help:"after this long a value passes though it has not changed" default:"never"`
	// Names are bands for particular names. A key is a SenML name, or its last levels.
	// The longest match counts.
	Names map[string]Band `toml:"names" help:"SenML names, or their last levels, with band, percent and max_age of their own" default:"none"`
	// Memory bounds what is remembered, in bytes. When it is full, a new name
	// evicts the least recently used one, whose next value then passes. If zero, 1 MiB.
	Memory options.Bytes `toml:"memory" help:"bytes of memory for what is remembered; past it the one longest unheard of is forgotten" default:"1 MiB"`

	// Now tells the time. Intervals count the time that passes on it, by its monotonic
	// reading if it has one. If nil, time.Now.
	Now func() time.Time `toml:"-"`
	// Log is told, once an hour at most, that the memory is too small. If nil, nobody is.
	Log *slog.Logger `toml:"-"`
}

// A Band says what counts as a change of one name. It replaces Band and Percent of the
// Options.
type Band struct {
	Band    float64 `toml:"band"`    // as Band of the Options
	Percent float64 `toml:"percent"` // as Percent of the Options
	// If zero, MaxAge of the Options.
	MaxAge time.Duration `toml:"max_age"`
}

func (b Band) check() error {
	switch {
	case !(b.Band >= 0) || math.IsInf(b.Band, 0):
		return fmt.Errorf("band %v: want 0 or more", b.Band)
	case !(b.Percent >= 0) || math.IsInf(b.Percent, 0):
		return fmt.Errorf("percent %v: want 0 or more", b.Percent)
	case b.MaxAge < 0:
		return fmt.Errorf("max_age %v: want 0 or more", b.MaxAge)
	}
	return nil
}

// A Filter is the hub.Handler. Its methods may be called from many goroutines.
type Filter struct {
	band  Band
	names map[string]Band
	ages  bool // some band has a MaxAge
	now   func() time.Time
	start time.Time // elapsed times count from it
	log   *slog.Logger
	seed  maphash.Seed

	mu    sync.Mutex
	last  *series.LRU[value]
	pool  series.ReaderPool
	stats Stats
}

// A value is the last value passed on of one series.
type value struct {
	band   Band
	kind   senml.Kind
	number float64       // the sum of a record that has nothing else
	text   uint64        // hash of a text
	passed time.Duration // when it was passed on: see Filter.elapsed
}

// New returns a Filter.
func New(o Options) (*Filter, error) {
	f := &Filter{band: Band{o.Band, o.Percent, o.MaxAge}, names: make(map[string]Band), now: o.Now, log: o.Log, seed: maphash.MakeSeed()}
	if err := f.band.check(); err != nil {
		return nil, fmt.Errorf("deadband: %w", err)
	}
	for name, b := range o.Names {
		if err := series.CheckName(name); err != nil {
			return nil, fmt.Errorf("deadband: names: %w", err)
		}
		if err := b.check(); err != nil {
			return nil, fmt.Errorf("deadband: names.%s: %w", name, err)
		}
		if b.MaxAge == 0 {
			b.MaxAge = o.MaxAge
		}
		f.names[name] = b
		f.ages = f.ages || b.MaxAge > 0
	}
	f.ages = f.ages || o.MaxAge > 0
	if err := series.CheckMemory(o.Memory); err != nil {
		return nil, fmt.Errorf("deadband: %w", err)
	}
	f.last = series.New[value](int(o.Memory))
	if f.now == nil {
		f.now = time.Now
	}
	f.start = f.now()
	return f, nil
}

// Stats counts what a Filter has done.
type Stats struct {
	Passed    uint64 `json:"passed"`    // messages passed on, also with fewer records
	Dropped   uint64 `json:"dropped"`   // messages without any changed record
	Records   uint64 `json:"records"`   // records dropped, from messages passed on too
	Malformed uint64 `json:"malformed"` // messages passed on unchanged because they are no SenML pack
	Invalid   uint64 `json:"invalid"`   // records passed on because they cannot be judged
	Evicted   uint64 `json:"evicted"`   // names forgotten for others: see Options.Memory
}

// Stats returns the counters as they are now.
func (f *Filter) Stats() Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.stats
	s.Evicted = f.last.Evicted()
	return s
}

// Report returns Stats: see catalog.Filter.
func (f *Filter) Report() any { return f.Stats() }

// elapsed returns the time that has passed since the filter was made.
func (f *Filter) elapsed() time.Duration { return f.now().Sub(f.start) }

// filterLocked filters m. Unless some records are left, the reader is not needed any more.
func (f *Filter) filterLocked(m *hub.Message) (r *senml.Reader, d hub.Data, left int, shortage series.Shortage) {
	f.mu.Lock()
	defer f.mu.Unlock() // also if there is a bug
	r = f.pool.Get()
	d, left = f.filter(m, r)
	if left != some {
		f.pool.Put(r)
	}
	return r, d, left, f.last.Shortage(f.elapsed)
}

// Handle passes on the records of m that have changed, or drops m.
func (f *Filter) Handle(m *hub.Message, a *hub.Answer) {
	r, d, left, shortage := f.filterLocked(m)
	shortage.Log(f.log)

	switch left {
	case none:
		a.Drop()
	case all:
		a.Pass(m.Data)
	case some: // d is in r's memory
		a.Pass(d)
		f.mu.Lock()
		f.pool.Put(r)
		f.mu.Unlock()
	}
	a.Done(nil)
}

// How much of a message is left.
const (
	none = iota
	some
	all
)

// filter reports how much of m is left. If that is some, d is the smaller pack.
func (f *Filter) filter(m *hub.Message, r *senml.Reader) (d hub.Data, left int) {
	var now time.Duration
	if f.ages {
		now = f.elapsed()
	}
	records := 0
	for r.Reset(m.Data); r.NextOrInvalid(); records++ {
		if f.changed(m, r.Record(), now) {
			r.Keep()
		}
	}
	d, n := r.Kept()
	if r.Err() != nil {
		f.stats.Malformed++
		return d, all
	}
	f.stats.Records += uint64(records - n)
	if n == 0 {
		f.stats.Dropped++
		return d, none
	}
	f.stats.Passed++
	if n == records {
		return d, all
	}
	return d, some
}

// changed reports whether the record passes, and if so remembers its value.
func (f *Filter) changed(m *hub.Message, rec *senml.Record, now time.Duration) bool {
	if rec.Err != nil {
		f.stats.Invalid++
		return true
	}
	e, known := f.last.Find(m, rec.Name)
	if e == nil { // no memory for even one
		return true
	}
	last := &e.Value
	if !known {
		last.band = f.bandFor(string(rec.Name))
	}
	v := value{band: last.band, kind: rec.Kind, number: rec.Number, passed: now}
	switch rec.Kind {
	case senml.Text, senml.Blob:
		v.text = maphash.Bytes(f.seed, rec.Text)
	case senml.None:
		v.number = rec.Sum
	}
	if known && !v.differs(last) {
		return false
	}
	*last = v
	return true
}

func (v *value) differs(last *value) bool {
	if v.kind != last.kind || v.text != last.text {
		return true
	}
	if v.band.MaxAge > 0 && v.passed-last.passed >= v.band.MaxAge {
		return true
	}
	d := math.Abs(v.number - last.number)
	if v.kind == senml.Bool || v.band.Band == 0 && v.band.Percent == 0 {
		return d != 0
	}
	return v.band.Band > 0 && d > v.band.Band ||
		v.band.Percent > 0 && d > math.Abs(last.number)*v.band.Percent/100
}

// bandFor returns the band of a name. It is called once for each series.
func (f *Filter) bandFor(name string) Band {
	band, longest := f.band, 0
	for want, b := range f.names {
		if len(want) > longest && series.Matches(want, name) {
			band, longest = b, len(want)
		}
	}
	return band
}
