package session

import (
	"errors"
	"log/slog"
	"runtime"
	"time"
)

// A peer must not stall inside a frame: it has Limits.WriteTimeout for each 64 KiB of a frame, or
// for a whole shorter frame. Otherwise it could have the hub hold the incomplete frame
// forever. Between frames a session may be idle without limit.
//
// The data path reads no clock and sets no timer for this: the reader of a connection
// records the progress of its frame, and checkStalled compares that periodically.

var errStalled = errors.New("a frame has begun and did not get on in time")

// A frameProgress is the progress of a connection's frame that was seen last, and the time
// since which it has not changed. It is under Server.mu.
type frameProgress struct {
	value       uint64        // bformat.Reader.Progress; changes with each 64 KiB
	since       time.Duration // from Server.started on
	activity    uint64        // bformat.Reader.Activity; changes with each byte
	activeSince time.Duration
	reclaimed   bool // it must give way to others; see reclaim.go
}

// scheduleStallCheck starts the periodic check, unless it runs. It is called under
// Server.mu when a connection is admitted.
func (s *Server) scheduleStallCheck() {
	if s.stallCheckScheduled {
		return
	}
	s.stallCheckScheduled = true
	s.sampleCores()
	time.AfterFunc(s.stallCheckInterval(), s.checkStalled)
}

// stallCheckInterval is the time between two calls of checkStalled. It is short, so that it is
// known which frames have stopped when memory runs out: see reclaim.go.
func (s *Server) stallCheckInterval() time.Duration {
	return min(s.limits.Load().WriteTimeout/4, reclaimAfter) + 1
}

// checkStalled ends the sessions that have stalled inside a frame.
func (s *Server) checkStalled() { s.endStalled(time.Since(s.started)) }

func (s *Server) endStalled(now time.Duration) {
	for _, n := range s.findStalled(now) {
		s.stats.stalled.Add(1)
		n.warn(&s.logLimiters.stalled, "session closed: it stopped inside a frame; session.write says how long it may", slog.String("user", string(n.name)), slog.Duration("limit", n.limits.WriteTimeout))
		n.terminate(errStalled)
	}
}

func (s *Server) findStalled(now time.Duration) (all []*session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stallCheckScheduled = len(s.open) > 0 && !s.shuttingDown; s.stallCheckScheduled {
		time.AfterFunc(s.stallCheckInterval(), s.checkStalled)
	}
	s.sampleCores()
	s.noteProgress(now)
	for c, n := range s.open {
		if n == nil { // the login timeout applies
			continue
		}
		if c.value != 0 && now-c.since >= c.limits.WriteTimeout && n.endReason.Load() == nil {
			all = append(all, n)
		}
	}
	return all
}

// sampleCores notes whether Go code runs on one core alone. That may change: the runtime
// follows the CPU limit of the control group. To ask it takes a lock of the scheduler, too much
// for each burst of messages.
func (s *Server) sampleCores() { s.oneCore.Store(runtime.GOMAXPROCS(0) == 1) }

// noteProgress notes how far the frames of all connections have got. It is called under
// Server.mu.
func (s *Server) noteProgress(now time.Duration) {
	for c := range s.open {
		p := &c.frameProgress
		if v := c.in.Progress(); v == 0 || v != p.value {
			p.value, p.since = v, now
		}
		if v := c.in.Activity(); p.value == 0 || v != p.activity {
			p.activity, p.activeSince = v, now
		}
	}
}
