package account

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/besterhub/bester/hub"
)

// keys are random secrets of one Store, which exist only in memory.
type keys struct {
	cache [32]byte // for cachedLogin.mac
	dummy [32]byte // for dummyHash
}

// A cachedLogin is a successful login, as a hash that is fast, but useless without the
// key in this process. The hash covers the name and the bcrypt hash, so it is valid for
// one account with one password. There is at most one for an account.
type cachedLogin struct {
	mac     [sha256.Size]byte
	expires time.Time // includes the monotonic clock, so setting the wall clock has no effect
}

// Stats counts logins since the Store was opened.
type Stats struct {
	Good      uint64 `json:"good"`            // successful
	CacheHits uint64 `json:"cached"`          // of those, with a cached password
	Resumed   uint64 `json:"resumed"`         // of those, with a token
	Denied    uint64 `json:"denied"`          // wrong name or password
	Busy      uint64 `json:"busy"`            // refused because too many waited
	Shed      uint64 `json:"shed"`            // of those, had waited and gave way to another
	Canceled  uint64 `json:"canceled"`        // ended by their context while they waited
	Limited   uint64 `json:"changes_limited"` // changes of a password refused: the account had made too many
	Hashes    uint64 `json:"hashes"`          // passwords hashed by bcrypt, for logins and for new passwords
}

type counters struct {
	good, cacheHits, resumed, denied, busy, shed, canceled, limited, hashes atomic.Uint64
}

// Stats returns the counts. Each is exact; together they may be some logins apart.
func (s *Store) Stats() Stats {
	c := &s.stats
	return Stats{
		Good:      c.good.Load(),
		CacheHits: c.cacheHits.Load(),
		Resumed:   c.resumed.Load(),
		Denied:    c.denied.Load(),
		Busy:      c.busy.Load(),
		Shed:      c.shed.Load(),
		Canceled:  c.canceled.Load(),
		Limited:   c.limited.Load(),
		Hashes:    c.hashes.Load(),
	}
}

// A LoginRequest is what a peer logs in with.
type LoginRequest struct {
	Name     hub.UserName // of the account
	Password string       // in plain text, at most MaxPassword bytes
	// Token is one that an earlier login returned, or "". A good one takes the place of the
	// password; any other is ignored.
	Token string
	// From is the network that the peer connects from: its address, or the /64 of an IPv6
	// address. Logins from one share its turns. If zero, this machine.
	From netip.Prefix
}

// Login checks a password and returns its account, as LoginFrom does for a peer on this
// machine.
func (s *Store) Login(ctx context.Context, name hub.UserName, password string) (*Account, error) {
	a, _, err := s.LoginFrom(ctx, LoginRequest{Name: name, Password: password})
	return a, err
}

// LoginFrom checks a token or a password and returns its account. Every password that is not
// cached costs one bcrypt hash, whether there is an account of that name or not. If all hash slots are
// taken, it waits for its turn: accounts take turns, all unknown names share those of one,
// and an address that the account has logged in from goes first.
//
// After a password check it also returns a token, of at most MaxToken bytes, which is good
// for 12 hours unless the password changes. A login by token returns none.
//
// The error is ErrDenied, ErrBusy, or wraps that of ctx if ctx ended while the login
// waited for a hash slot. A hash that has begun is not interrupted.
func (s *Store) LoginFrom(ctx context.Context, req LoginRequest) (a *Account, token string, err error) {
	r, byToken, err := s.login(ctx, req)
	if err != nil {
		return nil, "", err
	}
	if !byToken {
		token = s.newToken(r)
	}
	return r.account, token, nil
}

func (s *Store) login(ctx context.Context, req LoginRequest) (r *record, byToken bool, err error) {
	r, byToken, err = s.verify(ctx, req)
	switch {
	case err == nil:
		s.stats.good.Add(1)
		s.known.add(r.account.name, req.From)
	case err == ErrDenied:
		s.stats.denied.Add(1)
	}
	return r, byToken, err
}

// verify finds the record that a login belongs to:
//  1. if the login is cached, return;
//  2. if its token is good, return;
//  3. wait for a hash slot;
//  4. if another connection has cached the same login meanwhile, return;
//  5. hash the password, also if the name is unknown;
//  6. return the current account, which may have changed during the hash.
func (s *Store) verify(ctx context.Context, req LoginRequest) (r *record, byToken bool, err error) {
	if checkPassword(req.Password) == nil {
		if r := s.lookupCached(req.Name, req.Password); r != nil {
			return r, false, nil
		}
	}
	resumes, expired := s.checkToken(req.Name, req.Token)
	if resumes != nil && !expired {
		s.stats.resumed.Add(1)
		return resumes, true, nil
	}
	r, err = s.verifyPassword(ctx, req, expired)
	return r, false, err
}

// verifyPassword is verify from step 3 on. known says that the peer has proved to have
// been logged in before.
func (s *Store) verifyPassword(ctx context.Context, req LoginRequest, known bool) (*record, error) {
	name, password := req.Name, req.Password
	if checkPassword(password) != nil {
		return nil, ErrDenied // no account has such a password
	}
	for {
		err := s.acquireHashSlot(ctx, s.hashRequest(req, known))
		if err == nil {
			break
		}
		if err != errAnswered {
			return nil, err
		}
		if r := s.lookupCached(name, password); r != nil {
			return r, nil
		}
	}
	defer s.queue.release()
	if r := s.lookupCached(name, password); r != nil {
		return r, nil
	}

	t := s.table.Load()
	r := t.records[name]
	hash := s.dummyHash(t, name)
	if r != nil {
		hash = r.hash
	}
	s.stats.hashes.Add(1)
	good := s.compare(hash, prehash(password)) == nil
	if r == nil || !good {
		return nil, ErrDenied
	}

	now := s.current(r)
	if now == nil {
		return nil, ErrDenied
	}
	if s.opts.CacheTTL > 0 {
		now.cached.Store(&cachedLogin{s.mac(now, password), time.Now().Add(s.opts.CacheTTL)})
		s.queue.answer(now.account.name, password)
	}
	return now, nil
}

// hashRequest returns the place in the queue that a login may hashRequest.
func (s *Store) hashRequest(req LoginRequest, known bool) hashRequest {
	r := s.table.Load().records[req.Name]
	if r == nil {
		return hashRequest{from: req.From}
	}
	known = known || s.known.has(req.Name, req.From)
	return hashRequest{class: r.account.name, from: req.From, known: known, password: req.Password}
}

// current returns the current record of r's account, or nil if the account was removed or
// its password hash has changed.
func (s *Store) current(r *record) *record {
	now := s.table.Load().records[r.account.name]
	if now == nil || !hmac.Equal(now.hash, r.hash) {
		return nil
	}
	return now
}

// lookupCached returns the record of a cached login, or nil.
func (s *Store) lookupCached(name hub.UserName, password string) *record {
	r := s.table.Load().records[name]
	if r == nil {
		return nil
	}
	l := r.cached.Load()
	if l == nil {
		return nil
	}
	if !time.Now().Before(l.expires) {
		r.cached.CompareAndSwap(l, nil)
		return nil
	}
	if mac := s.mac(r, password); !hmac.Equal(mac[:], l.mac[:]) {
		return nil
	}
	s.stats.cacheHits.Add(1)
	return r
}

// mac returns the fast hash of a login. The length prefixes make the encoding of its parts
// unambiguous.
func (s *Store) mac(r *record, password string) (sum [sha256.Size]byte) {
	h := hmac.New(sha256.New, s.keys.cache[:])
	for _, part := range []string{string(r.account.name), string(r.hash), password} {
		h.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(part))))
		h.Write([]byte(part))
	}
	h.Sum(sum[:0])
	return sum
}

// acquireHashSlot waits until a hash may run. After a nil error the slot must be released.
func (s *Store) acquireHashSlot(ctx context.Context, c hashRequest) error {
	shed, err := s.queue.acquire(ctx, c)
	switch err {
	case nil, errAnswered:
		return err
	case ErrBusy:
		if s.stats.busy.Add(1); shed {
			s.stats.shed.Add(1)
		}
		return err
	}
	s.stats.canceled.Add(1)
	return fmt.Errorf("account: login: waiting to be checked: %w", err)
}

// dummyHash returns a hash to compare the password of an unknown name with, so that the
// time of a login does not tell whether the name exists. No password is known to match it.
// Its cost is that of an account that the name selects, always the same one: if costs
// differ, an unknown name looks like any other.
func (s *Store) dummyHash(t *table, name hub.UserName) []byte {
	h := hmac.New(sha256.New, s.keys.dummy[:])
	h.Write([]byte(name))
	sum := h.Sum(nil)
	cost := s.opts.Cost
	if n := uint64(len(t.sorted)); n > 0 {
		cost = t.sorted[binary.LittleEndian.Uint64(sum)%n].cost
	}
	hash := fmt.Appendf(nil, "$2a$%02d$", cost)
	// 30 and 10 bytes are 40 and 13 or more characters of base64, of which a hash has 53.
	const alphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	enc := base64.NewEncoding(alphabet).WithPadding(base64.NoPadding)
	hash = enc.AppendEncode(hash, sum[:30])
	return enc.AppendEncode(hash, sum[:10])[:60]
}

// hash returns the bcrypt hash of a new password. It waits for a slot as a known login of
// that account.
func (s *Store) hash(ctx context.Context, name hub.UserName, password string) (string, error) {
	if err := checkPassword(password); err != nil {
		return "", err
	}
	if err := s.acquireHashSlot(ctx, hashRequest{class: name, known: true}); err != nil {
		return "", err
	}
	defer s.queue.release()
	s.stats.hashes.Add(1)
	hash, err := bcrypt.GenerateFromPassword(prehash(password), s.opts.Cost)
	if err != nil {
		return "", fmt.Errorf("account: hash: %w", err)
	}
	return string(hash), nil
}

func checkPassword(s string) error {
	if s == "" {
		return errors.New("account: a password cannot be empty")
	}
	if len(s) > MaxPassword {
		return fmt.Errorf("account: password of %d bytes: at most %d are allowed", len(s), MaxPassword)
	}
	return nil
}

// prehash returns a password as at most 72 bytes, which is all that bcrypt reads.
func prehash(password string) []byte {
	if len(password) <= 72 {
		return []byte(password)
	}
	sum := sha256.Sum256([]byte(password))
	return base64.StdEncoding.AppendEncode(nil, sum[:])
}
