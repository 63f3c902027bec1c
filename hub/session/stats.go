package session

import "sync/atomic"

type stats struct {
	accepted, logins, denied, tooMany, ofAccount, noDescriptors, tooLong, tooSlow, malformed, slowReaders, panics, noMemory, stalled, loginsThrottled, sendsDenied, originsDenied, sendsSlowed, loginsEvicted, subscriptionsRefused atomic.Uint64
}

// Stats counts what came over the listeners since the start.
type Stats struct {
	Sessions             int    `json:"sessions"`              // logged in now
	Open                 int    `json:"connections"`           // connections now
	Subscriptions        int    `json:"subscriptions"`         // of all sessions now
	SubscriptionsRefused uint64 `json:"subscriptions_refused"` // malformed, not allowed, or too many
	Accepted             uint64 `json:"accepted"`              // connections
	Logins               uint64 `json:"logins"`                // sessions begun
	Denied               uint64 `json:"denied"`                // logins refused
	TooMany              uint64 `json:"too_many"`              // connections and sessions over Limits.MaxConnections
	LoginsEvicted        uint64 `json:"logins_evicted"`        // connections that had not logged in, closed for others
	OfAccount            uint64 `json:"too_many_of_account"`   // sessions over Limits.MaxPerAccount
	NoDescriptors        uint64 `json:"no_descriptors"`        // connections closed since no descriptors were left
	TooLong              uint64 `json:"frames_too_long"`       // connections closed for a frame over the limit
	TooSlow              uint64 `json:"logins_too_slow"`       // connections closed for not logging in in time
	SendsDenied          uint64 `json:"sends_denied"`          // messages of a type that the account may not send
	OriginsDenied        uint64 `json:"origins_denied"`        // messages of a peer account that named an origin it may not speak for
	Malformed            uint64 `json:"malformed"`             // connections closed for what they sent
	SlowReaders          uint64 `json:"slow_readers_closed"`   // sessions closed for not reading
	Dropped              uint64 `json:"dropped"`               // deliveries that sessions have taken, and lost since
	Panics               uint64 `json:"panics"`                // sessions ended by a bug in the hub
	SendsSlowed          uint64 `json:"sends_slowed"`          // messages that had to wait for a rate limit
	LoginsThrottled      uint64 `json:"logins_held_off"`       // logins not checked, since their address was throttled
	Stalled              uint64 `json:"stopped_in_a_frame"`    // sessions closed for that
	NoMemory             uint64 `json:"frames_no_memory"`      // connections closed for a long frame when Limits.Memory was used up
	MemoryRefused        uint64 `json:"memory_refused"`        // how often there was too little memory left, for frames and queues
	Memory               int    `json:"memory"`                // bytes taken of Limits.Memory now
}

// Stats returns the counters as they are now.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	sessions, open, subscriptions := s.sessions, len(s.open), s.subscriptions.number
	s.mu.Unlock()
	d := s.Deliveries()
	dropped := d.Losses.Total()
	c := &s.stats
	return Stats{
		Sessions: sessions, Open: open, Subscriptions: subscriptions, SubscriptionsRefused: c.subscriptionsRefused.Load(),
		Accepted: c.accepted.Load(), Logins: c.logins.Load(), Denied: c.denied.Load(),
		TooMany: c.tooMany.Load(), LoginsEvicted: c.loginsEvicted.Load(), OfAccount: c.ofAccount.Load(), NoDescriptors: c.noDescriptors.Load(), TooLong: c.tooLong.Load(), TooSlow: c.tooSlow.Load(),
		SendsDenied: c.sendsDenied.Load(), OriginsDenied: c.originsDenied.Load(), Malformed: c.malformed.Load(), SlowReaders: c.slowReaders.Load(), Dropped: dropped, Panics: c.panics.Load(),
		SendsSlowed: c.sendsSlowed.Load(), LoginsThrottled: c.loginsThrottled.Load(), Stalled: c.stalled.Load(), NoMemory: c.noMemory.Load(),
		MemoryRefused: s.memory.Refused(), Memory: s.memory.Used(),
	}
}
