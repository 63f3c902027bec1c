package account

import "github.com/besterhub/bester/hub"

// Cached returns the account of a login that a full check admitted within Options.CacheTTL,
// given the same password, or nil. It costs one fast hash.
func (s *Store) Cached(name hub.UserName, password string) *Account {
	r := s.lookupCached(name, password)
	if r == nil {
		return nil
	}
	s.stats.good.Add(1)
	return r.account
}
