package hub

import (
	"slices"
	"sync"
)

// Subscriptions are what sessions have asked to see, beside what routes send them.

// A subscriber is a sink that has subscribed to a pattern.
type subscriber struct {
	user UserName
	sink Sink
}

// subscriptions holds the subscribers of all patterns.
type subscriptions struct {
	mu       sync.RWMutex
	patterns trie[*subscribers]
}

// subscribers are those of one pattern, in the order in which they came.
type subscribers struct {
	list   []subscriber
	shared bool // pipelines use list: what is in it must not change
}

// Subscribe has s get each message whose type p matches and that no recipient is named for,
// as the handlers of its route pass it on, until Unsubscribe. s is of that user; where the
// route itself leads to the user, s is not given the message again, nor is it by a second
// pattern. A message that s does not take is lost for s alone: its sender is told nothing of
// it. Subscribe returns false, and does nothing, if s has subscribed to p already.
func (r *Router) Subscribe(p Pattern, user UserName, s Sink) bool {
	r.subscriptions.mu.Lock()
	defer r.subscriptions.mu.Unlock()
	at := r.subscriptions.patterns.at(p)
	if *at == nil {
		*at = new(subscribers)
	}
	if (*at).index(s) >= 0 {
		return false
	}
	(*at).list = append((*at).list, subscriber{user, s}) // whoever shares the list does not see beyond its end
	r.forgetLookups()
	return true
}

// Unsubscribe undoes Subscribe. It returns false if s has not subscribed to p. Messages that
// are on their way may still reach s.
func (r *Router) Unsubscribe(p Pattern, s Sink) bool {
	r.subscriptions.mu.Lock()
	defer r.subscriptions.mu.Unlock()
	of := r.subscriptions.patterns.get(p)
	if of == nil {
		return false
	}
	i := of.index(s)
	if i < 0 {
		return false
	}
	if len(of.list) == 1 {
		r.subscriptions.patterns.remove(p)
	} else {
		if of.shared {
			of.list, of.shared = slices.Clone(of.list), false
		}
		of.list = slices.Delete(of.list, i, i+1)
	}
	r.forgetLookups()
	return true
}

func (s *subscribers) index(sink Sink) int {
	return slices.IndexFunc(s.list, func(have subscriber) bool { return have.sink == sink })
}

// A subscriberSet says which subscribers a list is made of: those of some patterns, without
// those of the users of a route.
type subscriberSet struct {
	patterns [4]*subscribers
	route    *pipeline
}

// of returns the subscribers of a type, each once, without those of the users that its route
// leads to, if any. The caller must not change the slice. Types with the same patterns and
// route share one, which lists keeps; it is under the caller's lock. made is how long a list
// is that was made for this type alone.
func (s *subscriptions) of(typ Type, route *pipeline, lists map[subscriberSet][]subscriber) (list []subscriber, made int) {
	s.mu.Lock() // it marks what it shares
	defer s.mu.Unlock()
	var matching []*subscribers
	s.patterns.each(typ, func(of *subscribers) bool { matching = append(matching, of); return false })
	var routed []*user
	if route != nil {
		routed = route.users
	}
	switch {
	case len(matching) == 0:
		return nil, 0
	case len(matching) == 1 && len(routed) == 0:
		matching[0].shared = true
		return matching[0].list[:len(matching[0].list):len(matching[0].list)], 0
	}
	set := subscriberSet{route: route}
	known := copy(set.patterns[:], matching) == len(matching)
	if list, ok := lists[set]; known && ok {
		return list, 0
	}
	var all []subscriber
	seen := make(map[Sink]bool)
	for _, of := range matching {
		for _, v := range of.list {
			if !seen[v.sink] && !slices.ContainsFunc(routed, func(u *user) bool { return u.name == v.user }) {
				seen[v.sink] = true
				all = append(all, v)
			}
		}
	}
	if known {
		lists[set] = all
	}
	return all, len(all)
}
