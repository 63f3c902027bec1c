package spool

import (
	"math"
	"time"
)

// WriteStats is what was written to the card since Open; Day and Total include earlier
// runs. Bytes written are whole pages of 4096, as the card writes them. They include
// zeros written ahead and headers, but not the file system's journal and not writes
// that failed.
type WriteStats struct {
	Payload uint64 // bytes of data accepted
	Stored  uint64 // of which written
	Written uint64 // bytes
	Syncs   uint64 // how often it was synced
	// LongestSync is the longest write with its sync.
	LongestSync time.Duration
	// Day is what was written in the last 24 hours, this one included, by the spool's
	// clock; Budget is Options.DayBudget.
	Day, Budget uint64
	Total       Wear // since the log began
}

// Amplification is the write amplification: bytes written for each byte accepted.
func (c WriteStats) Amplification() float64 { return amplification(c.Written, c.Payload) }

// Wear is what was written to the card since the log began. The log itself keeps the
// figures. They are written in the header of each segment; with the next write, when
// the newest figures on the card are an hour old or 256 KiB were written since; and
// at Close. After a power cut, kill -9 or damage, counting goes on from the newest
// figures that can be read, so what came after those is missing. If no segment is
// left, counting begins at zero.
type Wear struct {
	Since, Until uint64 // when the log began and the time of the figures, in ms of the spool's clock; 0 if nothing was ever written
	Payload      uint64 // bytes of data accepted
	Written      uint64 // bytes, as in WriteStats
	Day          uint64 // bytes of those that were written in the 24 hours up to Until
}

// Amplification is the write amplification: bytes written for each byte accepted.
func (w Wear) Amplification() float64 { return amplification(w.Written, w.Payload) }

// Average is the bytes written a day; in the first day, the bytes so far.
func (w Wear) Average() uint64 {
	const day = 24 * float64(hourMS)
	return uint64(float64(w.Written) * day / max(day, float64(w.Until)-float64(w.Since)))
}

func amplification(written, payload uint64) float64 {
	return float64(written) / float64(max(payload, 1))
}

const (
	hourMS    = 3_600_000
	wearEvery = 256 << 10 // bytes written after which the figures are written again
)

// wearCounters are the figures of the wear that headers and checkpoints hold.
type wearCounters struct {
	since, at        uint64 // ms of the spool's clock
	payload, written uint64
	hours            [24]uint64 // written in each hour: the n-th since 1970 is at n % 24
}

// add counts bytes that were accepted and written.
func (l *wearCounters) add(payload, written, at uint64) {
	l.advanceTo(at)
	l.payload += payload
	l.written += written
	l.hours[l.at/hourMS%24] += written
}

// advanceTo moves to a later time: the hours since then begin at zero.
func (l *wearCounters) advanceTo(at uint64) {
	if at <= l.at {
		return
	}
	hour := at / hourMS
	for n := max(l.at/hourMS+1, hour-min(hour, 23)); n <= hour; n++ {
		l.hours[n%24] = 0
	}
	l.at = at
}

func (l *wearCounters) day() (sum uint64) {
	for _, h := range l.hours {
		sum += h
	}
	return sum
}

func (l *wearCounters) summary() Wear {
	if l.since == 0 {
		return Wear{}
	}
	return Wear{l.since, l.at, l.payload, l.written, l.day()}
}

// wearDue tells whether the figures on the card are so old that the next write
// includes newer ones. Called under mu.
func (s *Spool) wearDue() bool {
	l := &s.count.wear
	l.advanceTo(s.clock())
	return l.at >= s.saved.at+hourMS || l.written >= s.saved.written+wearEvery
}

// wearWith is the figures as of when b is on the card, for which so many bytes are
// written.
func (s *Spool) wearWith(b *batch, written uint64) (payload, all uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &s.count.wear
	if payload = l.payload; s.opt.Class == Durable {
		payload += b.payload
	}
	return payload, l.written + written
}

// warnBudget logs, at most once a day, that the day's writes exceed the budget.
func (w *writer) warnBudget() {
	s := w.s
	if s.opt.DayBudget == 0 || s.opt.Log == nil {
		return
	}
	s.mu.Lock()
	now := s.clock()
	s.count.wear.advanceTo(now)
	wear := s.count.wear.summary()
	s.mu.Unlock()
	if wear.Day <= s.opt.DayBudget || now < w.budgetWarnAt {
		return
	}
	w.budgetWarnAt = now + 24*hourMS
	s.opt.Log.Warn("spool: more was written to the card in 24 hours than the budget allows: append more records at a time, or use the class Telemetry, or a larger FlushEvery or CommitEvery",
		"day", wear.Day, "budget", s.opt.DayBudget, "amplification", hundredths(wear.Amplification()))
}

// hundredths rounds a number for the log.
func hundredths(v float64) float64 { return math.Round(v*100) / 100 }

// logWear logs at Close what was written to the card.
func (s *Spool) logWear() {
	if s.opt.Log == nil {
		return
	}
	c := s.Stats().Writes
	s.opt.Log.Info("spool: closed", "written", c.Written, "payload", c.Payload, "amplification", hundredths(c.Amplification()),
		"day", c.Day, "total_written", c.Total.Written, "total_payload", c.Total.Payload)
}
