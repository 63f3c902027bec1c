package alarm

import (
	"errors"
	"fmt"
	"time"

	"github.com/besterhub/bester/devices/senml"
	"github.com/besterhub/bester/handlers/internal/series"
	"github.com/besterhub/bester/hub"
)

// A state is the state of one series: a sender, a message type and a SenML name.
type state struct {
	beyond      bool          // the value is beyond the limit, since beyondSince
	raised      bool          // the alarm holds; it was raised or repeated at lastSent
	beyondSince time.Duration // see Filter.elapsed
	lastSent    time.Duration
}

// watch compares the values of m with the limit and makes a pack for each alarm.
func (f *Filter) watch(m *hub.Message, w *scratch) {
	now := m.Time
	if now.IsZero() {
		now = f.o.Now()
	}
	var elapsed time.Duration
	if f.o.For > 0 || f.o.Repeat > 0 {
		elapsed = f.elapsed()
	}
	f.stats.Messages++
	r := &w.reader
	for r.Reset(m.Data); r.NextOrInvalid(); {
		rec := r.Record()
		if rec.Err != nil {
			f.stats.Invalid++
			if w.err == nil && (rec.Name == nil || series.Matches(f.o.Name, rec.Name)) {
				w.err = fmt.Errorf("alarm: %q cannot be watched: %w", f.o.Name, rec.Err)
			}
			continue
		}
		if rec.Kind != senml.Number && rec.Kind != senml.Bool || !series.Matches(f.o.Name, rec.Name) {
			continue
		}
		e, _ := f.states.Find(m, rec.Name)
		if e == nil {
			continue // counted by the table
		}
		s := &e.Value
		if send := f.advance(s, rec.Number, elapsed); send {
			f.states.Pin(e, s.raised) // an alarm that holds is not forgotten, or it would be raised anew
			f.addAlarm(w, m.Data.Encoding, rec, rec.At(now), s.raised)
		}
	}
	if err := r.Err(); err != nil {
		f.stats.Malformed++
		w.err = fmt.Errorf("alarm: %q cannot be watched: %w", f.o.Name, err)
	}
}

// advance moves a state on by one value and reports whether to send an alarm.
func (f *Filter) advance(s *state, v float64, at time.Duration) (send bool) {
	if s.raised {
		switch {
		case f.sign*v <= f.sign*f.clear:
			*s = state{}
			f.stats.Cleared++
			return true
		case f.o.Repeat > 0 && at-s.lastSent >= f.o.Repeat:
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
	if !s.beyond {
		s.beyond, s.beyondSince = true, at
	}
	if at-s.beyondSince < f.o.For {
		return false
	}
	s.raised, s.lastSent = true, at
	f.stats.Raised++
	return true
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
