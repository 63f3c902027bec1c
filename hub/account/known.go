package account

import (
	"hash/maphash"
	"net/netip"
	"sync"

	"github.com/besterhub/bester/hub"
)

// maxKnown is how many pairs knownAddresses remembers.
const maxKnown = 4096

// knownAddresses remembers from which address which account has logged in, up to maxKnown
// pairs; the oldest are forgotten. A pair is kept as a hash: two that collide only share
// their precedence.
type knownAddresses struct {
	seed  maphash.Seed
	mu    sync.Mutex
	pairs map[uint64]struct{}
	order []uint64 // a ring, once it is full
	at    int      // where the oldest is
}

type knownPair struct {
	name hub.UserName
	from netip.Prefix
}

func newKnownAddresses() *knownAddresses {
	return &knownAddresses{seed: maphash.MakeSeed(), pairs: make(map[uint64]struct{})}
}

func (k *knownAddresses) has(name hub.UserName, from netip.Prefix) bool {
	h := maphash.Comparable(k.seed, knownPair{name, from})
	k.mu.Lock()
	defer k.mu.Unlock()
	_, ok := k.pairs[h]
	return ok
}

func (k *knownAddresses) add(name hub.UserName, from netip.Prefix) {
	h := maphash.Comparable(k.seed, knownPair{name, from})
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.pairs[h]; ok {
		return
	}
	k.pairs[h] = struct{}{}
	if len(k.order) < maxKnown {
		k.order = append(k.order, h)
		return
	}
	delete(k.pairs, k.order[k.at])
	k.order[k.at] = h
	k.at = (k.at + 1) % maxKnown
}
