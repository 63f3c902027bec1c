package account

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"

	"github.com/besterhub/bester/hub"
)

// A hashQueue decides whose password is hashed next. At most parallel hashes run at a
// time, and at most limit logins wait.
//
// The logins of an account are one class, and those of all unknown names together are
// another. The classes take turns, and so do the addresses of a class; an address's own
// logins go oldest first. A login of an account from an address that it is known to use
// goes before all others, but others get at least one turn in knownRun+1, so that nobody
// is kept out from a shared address.
//
// If too many wait, one gives way: of the class or address that holds most places, the
// newest login. So a flood takes the places of the flood.
type hashQueue struct {
	parallel   int
	limit      int // logins that may wait
	perAddress int // of those, from one address

	mu          sync.Mutex
	running     int
	waiting     []*waiter // oldest first
	classes     map[classKey]*share
	sources     map[sourceKey]*share
	addresses   map[netip.Prefix]*share
	turn        uint64 // counts the turns given
	knownStreak int    // turns in a row for known addresses while others waited
}

// maxKnownStreak is how many turns in a row logins from known addresses take while others wait.
const maxKnownStreak = 3

// A hashRequest says on whose behalf a hash is requested.
type hashRequest struct {
	class    hub.UserName // the account; "" for all unknown names
	from     netip.Prefix // zero: this machine
	known    bool         // the account is known to log in from there, or has an expired token
	password string       // "" unless another login with the same one would answer it
}

type classKey struct {
	name  hub.UserName
	known bool
}

// A sourceKey is an address within a class.
type sourceKey struct {
	class classKey
	from  netip.Prefix
}

// A share is what a class or an address has of the queue. It exists while it has logins
// that wait.
type share struct {
	waiting int
	last    uint64 // the turn it had last, or the one before it came
}

type waiter struct {
	hashRequest
	class   *share
	source  *share     // its address within its class
	address *share     // its address in all classes
	outcome chan error // buffered: nil for its turn; ErrBusy or errAnswered
}

// errAnswered means that another login with the same name and password was good, so that
// this one needs no hash.
var errAnswered = errors.New("account: answered by another login")

func newHashQueue(parallel, limit int) *hashQueue {
	return &hashQueue{
		parallel: parallel, limit: limit, perAddress: max(1, limit*3/4),
		classes: make(map[classKey]*share), sources: make(map[sourceKey]*share), addresses: make(map[netip.Prefix]*share),
	}
}

// acquire waits for a hash slot; after a nil error, release must be called. The error is
// ErrBusy if too many wait, errAnswered, or that of ctx. shed means that the error is
// ErrBusy and the login had waited.
func (q *hashQueue) acquire(ctx context.Context, c hashRequest) (shed bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	q.mu.Lock()
	if q.running < q.parallel {
		q.running++
		q.mu.Unlock()
		return false, nil
	}
	w := q.add(c)
	if w.address.waiting > q.perAddress {
		q.refuse(q.newestOf(w))
	}
	if len(q.waiting) > q.limit {
		q.refuse(q.evictionVictim())
	}
	refused := !slices.Contains(q.waiting, w)
	q.mu.Unlock()
	if refused {
		return false, ErrBusy
	}
	select {
	case err := <-w.outcome:
		return err == ErrBusy, err
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case err := <-w.outcome: // meanwhile
		if err == nil {
			q.releaseLocked()
		}
	default:
		q.remove(w)
	}
	return false, ctx.Err()
}

// release gives a slot back, and with it the next login its turn.
func (q *hashQueue) release() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.releaseLocked()
}

func (q *hashQueue) releaseLocked() {
	w := q.next()
	if w == nil {
		q.running--
		return
	}
	q.turn++
	w.class.last, w.source.last = q.turn, q.turn
	q.remove(w)
	w.outcome <- nil
}

// answer ends the wait of all logins of an account with that password.
func (q *hashQueue) answer(name hub.UserName, password string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, w := range slices.Clone(q.waiting) {
		if w.hashRequest.class == name && w.password == password {
			q.remove(w)
			w.outcome <- errAnswered
		}
	}
}

// next returns the login whose turn it is, or nil if none waits.
func (q *hashQueue) next() *waiter {
	var known, other *waiter
	for _, w := range q.waiting {
		best := &other
		if w.known {
			best = &known
		}
		if *best == nil || w.class.last < (*best).class.last ||
			w.class == (*best).class && w.source.last < (*best).source.last {
			*best = w
		}
	}
	if known == nil || other != nil && q.knownStreak >= maxKnownStreak {
		q.knownStreak = 0
		return other
	}
	q.knownStreak++
	return known
}

// evictionVictim returns the login that gives way when too many wait: one from an address that is
// not known, if there is one.
func (q *hashQueue) evictionVictim() *waiter {
	var victim *waiter
	more := func(a, b *waiter) bool { // than b, which is older
		if a.known != b.known {
			return !a.known
		}
		if x, y := max(a.class.waiting, a.address.waiting), max(b.class.waiting, b.address.waiting); x != y {
			return x > y
		}
		return a.source.waiting >= b.source.waiting
	}
	for _, w := range q.waiting {
		if victim == nil || more(w, victim) {
			victim = w
		}
	}
	return victim
}

// newestOf returns the newest login from w's address, of the class that has most there.
func (q *hashQueue) newestOf(w *waiter) *waiter {
	victim := w
	for _, o := range slices.Backward(q.waiting) {
		if o.address == w.address && o.source.waiting > victim.source.waiting {
			victim = o
		}
	}
	return victim
}

// add makes a waiter for c. A class or address that is new comes after those that wait.
func (q *hashQueue) add(c hashRequest) *waiter {
	class := classKey{c.class, c.known}
	w := &waiter{
		hashRequest: c,
		class:       shareOf(q.classes, class, q.turn),
		source:      shareOf(q.sources, sourceKey{class, c.from}, q.turn),
		address:     shareOf(q.addresses, c.from, q.turn),
		outcome:     make(chan error, 1),
	}
	q.waiting = append(q.waiting, w)
	return w
}

func shareOf[K comparable](m map[K]*share, k K, turn uint64) *share {
	s := m[k]
	if s == nil {
		s = &share{last: turn}
		m[k] = s
	}
	s.waiting++
	return s
}

func dropShare[K comparable](m map[K]*share, k K) {
	s := m[k]
	if s.waiting--; s.waiting == 0 {
		delete(m, k)
	}
}

// refuse removes w and lets its login fail with ErrBusy.
func (q *hashQueue) refuse(w *waiter) {
	q.remove(w)
	w.outcome <- ErrBusy
}

// remove takes w out of the queue.
func (q *hashQueue) remove(w *waiter) {
	i := slices.Index(q.waiting, w)
	q.waiting = slices.Delete(q.waiting, i, i+1)
	class := classKey{w.hashRequest.class, w.known}
	dropShare(q.classes, class)
	dropShare(q.sources, sourceKey{class, w.from})
	dropShare(q.addresses, w.from)
}
