package account

// Cached returns the account of a login whose token is good, or whose password a full check
// has found right within Options.CacheTTL, or nil. It costs one or two fast hashes.
func (s *Store) Cached(req LoginRequest) *Account {
	r := s.lookupCached(req.Name, req.Password)
	if r == nil {
		var expired bool
		if r, expired = s.checkToken(req.Name, req.Token); r == nil || expired {
			return nil
		}
		s.stats.resumed.Add(1)
	}
	s.stats.good.Add(1)
	return r.account
}
