package alarm

import (
	"errors"
	"fmt"
	"time"

	"github.com/besterhub/bester/devices/senml"
	"github.com/besterhub/bester/handlers/internal/series"
	"github.com/besterhub/bester/hub"
)

// A state is the state of one series: a sender and a SenML name.
type state struct {
	watched     bool  // the filter's name matches it
	beyond      bool  // the value is beyond the limit, since beyondSince
	raised      bool  // the alarm holds; it was raised or repeated at lastSent
	beyondSince int64 // microseconds since 1970
	lastSent    int64
}

// watch compares the values of m with the limit and makes a pack for each alarm.
func (f *Filter) watch(m *hub.Message, w *scratch) {
	now := m.Time
	if now.IsZero() {
		now = f.o.Now()
	}
	f.stats.Messages++
	r := &w.reader
	for r.Reset(m.Data); r.Next(); {
		rec := r.Record()
		s, known := f.states.Find(m.From, rec.Name)
		if !known {
			s.watched = series.Matches(f.o.Name, string(rec.Name))
		}
		if !s.watched || rec.Kind != senml.Number && rec.Kind != senml.Bool {
			continue
		}
		at := rec.At(now)
		if send := f.advance(s, rec.Number, at.UnixMicro()); send {
			f.addAlarm(w, m.Data.Encoding, rec, at, s.raised)
		}
	}
	if err := r.Err(); err != nil {
		f.stats.Malformed++
		w.err = fmt.Errorf("alarm: %q cannot be watched: %w", f.o.Name, err)
	}
}

// advance moves a state on by one value and reports whether to send an alarm.
func (f *Filter) advance(s *state, v float64, at int64) (send bool) {
	if s.raised {
		switch {
		case f.sign*v <= f.sign*f.clear:
			*s = state{watched: true}
			f.stats.Cleared++
			return true
		case f.o.Repeat > 0 && passed(at, s.lastSent, f.o.Repeat):
			s.lastSent = at
			f.stats.Repeated++
			return true
		}
		return false
	}
	if f.sign*v <= f.sign*f.limit {
		s.beyond = false
		return false
	}
	if !s.beyond || at < s.beyondSince { // it begins now, or the clock was set back
		s.beyond, s.beyondSince = true, at
	}
	if f.o.For > 0 && !passed(at, s.beyondSince, f.o.For) {
		return false
	}
	s.raised, s.lastSent = true, at
	f.stats.Raised++
	return true
}

// passed reports whether d has passed between two times. It returns true if the clock
// was set back, so that nothing waits longer because of that.
func passed(at, since int64, d time.Duration) bool {
	return at-since >= d.Microseconds() || at < since
}

// addAlarm makes a pack of the alarm.
func (f *Filter) addAlarm(w *scratch, e hub.Encoding, rec *senml.Record, at time.Time, raised bool) {
	if w.used == len(w.packs) {
		w.packs = append(w.packs, new(senml.Pack))
	}
	p := w.packs[w.used]
	w.used++
	unit := string(rec.Unit)
	p.Reset(e, string(rec.Name), at)
	var value error
	if rec.Kind == senml.Bool {
		value = p.Bool("", rec.Number != 0, time.Time{})
	} else {
		value = p.Number("", unit, rec.Number, time.Time{})
	}
	err := errors.Join(value, p.Bool("/alarm", raised, time.Time{}), p.Number(f.limitName, unit, f.limit, time.Time{}))
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("alarm: %w", err)
	}
}
