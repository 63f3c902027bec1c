// Package alarm is a filter that watches one value and compares it with a limit. It
// makes a message of another type when the value goes beyond the limit, and another one
// when the value has come back. The messages that it watches pass unchanged.
//
//	name  = "temperature"
//	above = 30
//	clear = 28
//	for   = "1m"
//
// The limits above and clear give the alarm a hysteresis; for is its on-delay. Delays
// count the time that passes between the arrivals of readings, not the times in them: a
// clock that is set raises and clears nothing. Readings that arrive late and all at once
// therefore raise an alarm with an on-delay only if more of them follow.
//
// An alarm of a value from type reading/greenhouse/bme280 is a message of type
// alarm/greenhouse/bme280. It goes to the handler or route of that type (sendHandler),
// in the encoding of the reading:
//
//	[{"bn":"greenhouse/bme280/temperature","bt":1732288000,"u":"Cel","v":31.2},
//	 {"n":"/alarm","vb":true},
//	 {"n":"/above","u":"Cel","v":30}]
//
// The first record is the value, the second says whether there is an alarm now,
// the third is the limit that was set. Boolean values are watched as 1 and 0.
//
// Each sender, message type and SenML name that the filter's name matches is watched by
// itself. The state is in memory only: after a restart an alarm that still holds is raised
// again. There is no timer: only a reading can raise an alarm, so none is raised
// after readings stop.
//
// Each record is judged by itself: one that is invalid (null, NaN, a text for a number)
// passes and is counted, and costs no other. Where it may have been the value that is
// watched, and where the data is no SenML pack at all, the message counts as failed, and
// its sender gets the reason.
package alarm

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/besterhub/bester/devices/senml"
	"github.com/besterhub/bester/handlers/internal/series"
	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/options"
)

// Options say what is watched. Name and one of Above and Below must be given.
type Options struct {
	// Name is the SenML name that is watched, or its last levels.
	Name string `toml:"name" help:"SenML name that is watched, or its last levels" default:"required"`
	// Above is the limit, in the record's unit: a value above it raises the alarm.
	Above *float64 `toml:"above" help:"a value above this raises the alarm, in its own unit" default:"this or below is required"`
	// Below is the limit for a value below it. To watch both ends, use two filters.
	Below *float64 `toml:"below" help:"a value below this raises it; to watch both ends, use two filters" default:"this or above is required"`
	// Clear is the value at which the alarm ends (hysteresis). If nil, the limit itself.
	Clear *float64 `toml:"clear" help:"the alarm ends where a value has come back to this" default:"the limit itself"`
	// For is how long the value must stay beyond the limit before the alarm is
	// raised, from the arrival of the first reading beyond it to that of a later one.
	// The times in the readings do not count. If zero, the first one raises it.
	For time.Duration `toml:"for" help:"how long values must stay beyond the limit first" default:"0s"`
	// Repeat is after how long an alarm that holds is raised again. If zero, never.
	Repeat time.Duration `toml:"repeat" help:"after how long an alarm that holds is raised again" default:"never"`
	// Type is the type of the messages made. If empty, that of the reading with
	// "alarm" as its first level.
	Type hub.Type `toml:"type" help:"type of the messages made" default:"that of the reading, with alarm as its first level"`
	// Memory bounds what is remembered, in bytes. When it is full, a new name
	// evicts the least recently used one without an alarm; if all have one, it is not
	// watched. If zero, 1 MiB.
	Memory options.Bytes `toml:"memory" help:"bytes of memory for what is remembered; past it the one longest unheard of that has no alarm is forgotten" default:"1 MiB"`

	// Now tells the time. Intervals count the time that passes on it, by its monotonic
	// reading if it has one. If nil, time.Now.
	Now func() time.Time `toml:"-"`
	// Log is told, once an hour at most, that the memory is too small. If nil, nobody is.
	Log *slog.Logger `toml:"-"`
}

// A Filter is the hub.Handler. Its methods may be called from many goroutines.
type Filter struct {
	o         Options
	limit     float64
	clear     float64
	sign      float64 // 1: above, -1: below
	limitName string  // "/above" or "/below"

	mu     sync.Mutex
	start  time.Time // elapsed times count from it
	states *series.LRU[state]
	free   []*scratch
	stats  Stats
}

// New returns a Filter.
func New(o Options) (*Filter, error) {
	f := &Filter{o: o}
	if err := f.complete(); err != nil {
		return nil, fmt.Errorf("alarm: %w", err)
	}
	f.states = series.New[state](int(o.Memory))
	if f.o.Now == nil {
		f.o.Now = time.Now
	}
	f.start = f.o.Now()
	return f, nil
}

func (f *Filter) complete() error {
	o := &f.o
	if o.Name == "" {
		return errors.New(`no name: want the name to watch, for example "temperature"`)
	}
	if err := series.CheckName(o.Name); err != nil {
		return err
	}
	switch {
	case (o.Above == nil) == (o.Below == nil):
		return errors.New("want one limit, above or below; for both, use two filters")
	case o.Above != nil:
		f.limit, f.sign, f.limitName = *o.Above, 1, "/above"
	default:
		f.limit, f.sign, f.limitName = *o.Below, -1, "/below"
	}
	f.clear = f.limit
	if o.Clear != nil {
		f.clear = *o.Clear
	}
	switch {
	case math.IsNaN(f.limit) || math.IsInf(f.limit, 0) || math.IsNaN(f.clear) || math.IsInf(f.clear, 0):
		return errors.New("a limit is no finite number")
	case f.sign*f.clear > f.sign*f.limit:
		return fmt.Errorf("clear %v is beyond the limit %v: the alarm would end before it begins", f.clear, f.limit)
	case o.For < 0 || o.Repeat < 0:
		return errors.New("for and repeat: want 0 or more")
	}
	if err := series.CheckMemory(o.Memory); err != nil {
		return err
	}
	if o.Type != "" {
		if _, err := hub.ParseType(string(o.Type)); err != nil {
			return err
		}
	}
	return nil
}

// Stats counts what a Filter has done.
type Stats struct {
	Messages  uint64 `json:"messages"`  // seen; all are passed on
	Malformed uint64 `json:"malformed"` // of these, those that are no SenML pack
	Invalid   uint64 `json:"invalid"`   // records that cannot be judged
	Raised    uint64 `json:"raised"`    // alarms begun
	Repeated  uint64 `json:"repeated"`  // alarms raised again because they held
	Cleared   uint64 `json:"cleared"`   // alarms ended
	Evicted   uint64 `json:"evicted"`   // names forgotten for others: see Options.Memory
	Unwatched uint64 `json:"unwatched"` // values not judged, since all memory was taken by names with an alarm
}

// Stats returns the counters as they are now.
func (f *Filter) Stats() Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.stats
	s.Evicted, s.Unwatched = f.states.Evicted(), f.states.Refused()
	return s
}

// Report returns Stats: see catalog.Filter.
func (f *Filter) Report() any { return f.Stats() }

// elapsed returns the time that has passed since the filter was made.
func (f *Filter) elapsed() time.Duration { return f.o.Now().Sub(f.start) }

// A scratch is the memory that handling one message takes. It is reused.
type scratch struct {
	reader senml.Reader
	packs  []*senml.Pack // one for each alarm that the message brings
	used   int
	err    error
}

// Handle passes m on, and then sends the alarms that it raises or clears to the handler
// of their type.
func (f *Filter) Handle(m *hub.Message, a *hub.Answer) {
	w, alarms, shortage, err := f.watchLocked(m)
	shortage.Log(f.o.Log)

	a.Pass(m.Data)
	if alarms > 0 {
		if e := f.send(m, a, w); err == nil {
			err = e
		}
		f.putScratch(w)
	}
	a.Done(err)
}

// watchLocked watches m and returns how many alarms it brings. With none, w is not needed
// any more.
func (f *Filter) watchLocked(m *hub.Message) (w *scratch, alarms int, shortage series.Shortage, err error) {
	f.mu.Lock()
	defer f.mu.Unlock() // also if there is a bug
	w = f.getScratch()
	f.watch(m, w)
	if w.used == 0 {
		f.free = append(f.free, w)
	}
	return w, w.used, f.states.Shortage(f.elapsed), w.err
}

// putScratch returns w, which has made alarms, to the free list.
func (f *Filter) putScratch(w *scratch) {
	if len(w.packs) > 16 { // frees the memory that one message with many alarms took
		w.packs = nil
	}
	f.mu.Lock()
	f.free = append(f.free, w)
	f.mu.Unlock()
}

func (f *Filter) getScratch() *scratch {
	n := len(f.free)
	if n == 0 {
		return new(scratch)
	}
	w := f.free[n-1]
	f.free = f.free[:n-1]
	w.used, w.err = 0, nil
	return w
}

// send sends the packs to the handler of the alarm's type.
func (f *Filter) send(m *hub.Message, a *hub.Answer, w *scratch) error {
	t := f.o.Type
	if t == "" {
		_, rest, levels := strings.Cut(string(m.Type), "/")
		if t = "alarm"; levels {
			t += hub.Type("/" + rest)
		}
		if len(t) > hub.MaxType {
			return fmt.Errorf("alarm: type %q: %d bytes, at most %d are allowed: give the alarm a type", t, len(t), hub.MaxType)
		}
	}
	for _, p := range w.packs[:w.used] {
		d, err := p.Data()
		if err != nil {
			return fmt.Errorf("alarm: %w", err)
		}
		a.SendHandler(d, t)
	}
	return nil
}
