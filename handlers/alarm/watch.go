package alarm

import (
	"errors"
	"fmt"
	"time"

	"github.com/besterhub/bester/devices/senml"
	"github.com/besterhub/bester/handlers/internal/series"
	"github.com/besterhub/bester/hub"
)

// A state is what is known of one sender's name.
type state struct {
	watched bool  // the filter's name stands for it
	beyond  bool  // the value is beyond the limit, since then
	raised  bool  // and the alarm was raised or repeated, then
	since   int64 // microseconds since 1970
	told    int64
}

// watch looks at the values of m and makes a pack of each alarm that they bring.
func (f *Filter) watch(m *hub.Message, w *work) {
	now := m.Time
	if now.IsZero() {
		now = f.o.Now()
	}
	f.stats.Messages++
	r := &w.reader
	for r.Reset(m.Data); r.Next(); {
		rec := r.Record()
		s, known := f.watched.Find(m.From, rec.Name)
		if !known {
			s.watched = series.Matches(f.o.Name, string(rec.Name))
		}
		if !s.watched || rec.Kind != senml.Number && rec.Kind != senml.Bool {
			continue
		}
		at := rec.At(now)
		if told := f.step(s, rec.Number, at.UnixMicro()); told {
			f.tell(w, m.Data.Encoding, rec, at, s.raised)
		}
	}
	if err := r.Err(); err != nil {
		f.stats.Unread++
		w.err = fmt.Errorf("alarm: %q cannot be watched: %w", f.o.Name, err)
	}
}

// step moves a state on by one value and reports whether that is to be told.
func (f *Filter) step(s *state, v float64, at int64) (tell bool) {
	if s.raised {
		switch {
		case f.sign*v <= f.sign*f.clear:
			*s = state{watched: true}
			f.stats.Cleared++
			return true
		case f.o.Repeat > 0 && passed(at, s.told, f.o.Repeat):
			s.told = at
			f.stats.Repeated++
			return true
		}
		return false
	}
	if f.sign*v <= f.sign*f.limit {
		s.beyond = false
		return false
	}
	if !s.beyond || at < s.since { // now; or the clock was set back
		s.beyond, s.since = true, at
	}
	if f.o.For > 0 && !passed(at, s.since, f.o.For) {
		return false
	}
	s.raised, s.told = true, at
	f.stats.Raised++
	return true
}

// passed reports whether d has passed between two times. A clock that was set back
// is no reason to wait longer.
func passed(at, since int64, d time.Duration) bool {
	return at-since >= d.Microseconds() || at < since
}

// tell makes a pack of the alarm.
func (f *Filter) tell(w *work, e hub.Encoding, rec *senml.Record, at time.Time, raised bool) {
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
	err := errors.Join(value, p.Bool("/alarm", raised, time.Time{}), p.Number(f.side, unit, f.limit, time.Time{}))
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("alarm: %w", err)
	}
}
