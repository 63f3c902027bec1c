package session

import (
	"cmp"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sort"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
)

// When Limits.Memory is used up and a frame needs more, others give way, so that peers who
// begin frames and do not go on cannot keep everybody else from sending:
//
//   - frames that have stopped: no byte has come for reclaimAfter, and
//   - slow frames, less than 64 KiB in reclaimAfter, of an account that has several and
//     holds more than the one that needs memory.
//
// Of these the first are of the account that holds most, then of the address that holds
// most, then the oldest. If too few give way, the frame that needs memory is refused. Frames
// that get on are not cut off for others, or none would get through.

// reclaimAfter is how long a frame must have stopped until it gives way.
const reclaimAfter = time.Second

// reclaimInterval is how long after a search that found too little the next one may come.
const reclaimInterval = 20 * time.Millisecond

var errReclaimed = errors.New("a frame has begun and did not get on, and others need its memory (session.memory)")

// A memoryHolder is a connection inside a frame that holds memory.
type memoryHolder struct {
	c       *connection
	n       *session // nil: not logged in
	user    hub.UserName
	address netip.Prefix
	bytes   int
}

// reclaim has others give way to a Reader that needs n bytes more. It reports whether they
// will release as much.
func (s *Server) reclaim(r *bformat.Reader, n int) bool {
	victims := s.findVictims(r, n, time.Since(s.started))
	for _, v := range victims {
		s.stats.noMemory.Add(1)
		v.c.warn(&s.logLimiters.memory, "session closed: it stopped inside a frame, and others need the memory", slog.String("user", string(v.user)),
			slog.Int("held", v.bytes), slog.Int("memory", s.memory.Limit()), slog.String("remedy", remedyMemory))
		if v.n == nil {
			v.c.abort()
		} else {
			v.n.terminate(errReclaimed)
		}
	}
	return len(victims) > 0
}

// findVictims returns connections that hold at least n bytes and must give way to r, or none.
func (s *Server) findVictims(r *bformat.Reader, n int, now time.Duration) (victims []memoryHolder) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reclaimFailed != 0 && now-s.reclaimFailed < reclaimInterval {
		return nil
	}
	s.noteProgress(now)
	var all []memoryHolder
	self := memoryHolder{bytes: n} // what r will hold
	accounts, addresses, frames := make(map[hub.UserName]int), make(map[netip.Prefix]int), make(map[hub.UserName]int)
	for c, session := range s.open {
		h := memoryHolder{c: c, n: session, address: c.address, bytes: c.in.Held()}
		if session != nil {
			h.user = session.name
		}
		if c.in == r {
			self.user, self.address, h.bytes = h.user, h.address, h.bytes+n
		}
		if h.bytes == 0 || c.reclaimed {
			continue
		}
		accounts[h.user] += h.bytes
		addresses[h.address] += h.bytes
		frames[h.user]++
		if c.in != r && c.in.Progress() != 0 {
			all = append(all, h)
		}
	}
	all = slices.DeleteFunc(all, func(h memoryHolder) bool {
		p := &h.c.frameProgress
		stopped := now-p.activeSince >= reclaimAfter
		slow := now-p.since >= reclaimAfter && h.user != self.user && frames[h.user] > 1 && accounts[h.user] > accounts[self.user]
		return !stopped && !slow
	})
	sort.SliceStable(all, func(i, j int) bool {
		a, b := &all[i], &all[j]
		return cmp.Or(cmp.Compare(accounts[b.user], accounts[a.user]), cmp.Compare(addresses[b.address], addresses[a.address]),
			cmp.Compare(a.c.since, b.c.since)) < 0
	})
	for i, h := range all {
		if n -= h.bytes; n <= 0 {
			for _, v := range all[:i+1] {
				v.c.reclaimed = true
			}
			s.reclaimFailed = 0
			return all[:i+1]
		}
	}
	s.reclaimFailed = max(now, 1)
	return nil
}
