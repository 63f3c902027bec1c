package session

import (
	"errors"
	"log/slog"
	"time"
)

// A frame that has begun must get on: of each 64 KiB, or of a frame that is shorter, a
// peer may take Limits.Write. Without that it could have the hub hold the part that came
// for ever. Between frames a session may be quiet for as long as it likes.
//
// No clock is read and no timer set for that where messages are: the reader of a
// connection notes how far its frame is, and look compares that now and then.

var errStalled = errors.New("a frame has begun and did not get on in time")

// A frameProgress is how far a connection's frame was when look saw it, and since when. It is
// under Server.mu.
type frameProgress struct {
	value uint64        // bformat.Reader.Part
	since time.Duration // from Server.began on
}

// watch has look look at the connections, now that there is one. Under Server.mu.
func (s *Server) scheduleStallCheck() {
	if s.stallCheckScheduled {
		return
	}
	s.stallCheckScheduled = true
	time.AfterFunc(s.stallCheckInterval(), s.checkStalled)
}

// glance is the time from one look to the next.
func (s *Server) stallCheckInterval() time.Duration {
	return min(s.limits.Load().Write, 30*time.Second)/4 + 1
}

// look ends the sessions that have stopped inside a frame.
func (s *Server) checkStalled() {
	for _, n := range s.findStalled(time.Since(s.started)) {
		s.stats.stalled.Add(1)
		n.warn(&s.logLimiters.stalled, "session closed: it stopped inside a frame; session.write says how long it may", slog.String("user", string(n.name)), slog.Duration("limit", n.limits.Write))
		n.terminate(errStalled)
	}
}

func (s *Server) findStalled(now time.Duration) (all []*session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stallCheckScheduled = len(s.open) > 0 && !s.shuttingDown; s.stallCheckScheduled {
		time.AfterFunc(s.stallCheckInterval(), s.checkStalled)
	}
	for c, n := range s.open {
		if n == nil { // the time to log in bounds it
			continue
		}
		p := &c.frameProgress
		part := c.in.Progress()
		switch {
		case part == 0 || part != p.value:
			*p = frameProgress{part, now}
		case now-p.since >= c.limits.Write && n.endReason.Load() == nil:
			all = append(all, n)
		}
	}
	return all
}
