package account

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/besterhub/bester/hub"
)

// A token lets a client that has logged in do so again without a bcrypt hash, also after
// a restart of the hub. Its bytes, in base64url without padding, are
//
//	offset  size  what
//	0       1     version: 1
//	1       8     when it expires: seconds since 1970-01-01 UTC, big-endian
//	9       32    HMAC-SHA256, by the Store's token key, of the rest of the token and of
//	              the account's password hash
//	41            the account's name
//
// The password hash in it ends all tokens of an account whose password is changed, or
// that is removed.
type token struct {
	expires time.Time
	mac     [sha256.Size]byte
	name    hub.UserName
}

const (
	tokenVersion = 1
	tokenHeader  = 1 + 8 + sha256.Size
	tokenTTL     = 12 * time.Hour

	// MaxToken is the number of bytes in the longest token.
	MaxToken = (tokenHeader + MaxName + 2) / 3 * 4
)

var tokenEncoding = base64.RawURLEncoding.Strict()

func (t *token) String() string {
	b := append(make([]byte, 0, tokenHeader+len(t.name)), tokenVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(t.expires.Unix()))
	b = append(b, t.mac[:]...)
	return tokenEncoding.EncodeToString(append(b, t.name...))
}

// parseToken reads a token. It does not check whether it is genuine.
func parseToken(s string) (*token, error) {
	if len(s) > MaxToken {
		return nil, fmt.Errorf("account: token of %d bytes: at most %d are allowed", len(s), MaxToken)
	}
	b, err := tokenEncoding.DecodeString(s)
	switch {
	case err != nil:
		return nil, fmt.Errorf("account: token: %w", err)
	case len(b) <= tokenHeader:
		return nil, fmt.Errorf("account: token of %d bytes: want over %d", len(b), tokenHeader)
	case b[0] != tokenVersion:
		return nil, fmt.Errorf("account: token of version %d: want %d", b[0], tokenVersion)
	}
	t := &token{expires: time.Unix(int64(binary.BigEndian.Uint64(b[1:])), 0), name: hub.UserName(b[tokenHeader:])}
	copy(t.mac[:], b[9:])
	if t.String() != s { // the decoder passes over line ends
		return nil, errors.New("account: token: it has another form")
	}
	if err := CheckName(string(t.name)); err != nil {
		return nil, err
	}
	return t, nil
}

// tokenMAC returns the MAC of a token of the account r.
func (s *Store) tokenMAC(r *record, expires time.Time) (sum [sha256.Size]byte) {
	h := hmac.New(sha256.New, (*s.tokenKey.Load())[:])
	b := binary.BigEndian.AppendUint64([]byte{tokenVersion}, uint64(expires.Unix()))
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.account.name)))
	h.Write(append(b, r.account.name...))
	h.Write(r.hash)
	h.Sum(sum[:0])
	return sum
}

// newToken returns a token of the account r.
func (s *Store) newToken(r *record) string {
	t := token{expires: time.Now().Add(tokenTTL), name: r.account.name}
	t.mac = s.tokenMAC(r, t.expires)
	return t.String()
}

// checkToken returns the account that a token belongs to, or nil. expired means that it
// is good but for its age.
func (s *Store) checkToken(name hub.UserName, text string) (r *record, expired bool) {
	t, err := parseToken(text)
	if err != nil || t.name != name {
		return nil, false
	}
	r = s.table.Load().records[name]
	if r == nil {
		return nil, false
	}
	if want := s.tokenMAC(r, t.expires); !hmac.Equal(want[:], t.mac[:]) {
		return nil, false
	}
	return r, !time.Now().Before(t.expires)
}

// KeepTokens makes the tokens that LoginFrom returns valid beyond the end of the process: it
// reads their key from a file beside the accounts file, with ".resume" appended to the
// name, or makes that file. After an error the tokens stay valid for as long as the Store,
// so the caller need only log it. Whoever has the file can log in without a password: a file that
// group or others can access, and one that is no key, is replaced, which ends all tokens.
func (s *Store) KeepTokens() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := s.path + ".resume"
	key, err := readTokenKey(path)
	if err == nil && key == nil {
		key = s.tokenKey.Load()
		err = writeTokenKey(path, key[:])
	}
	if err != nil {
		return fmt.Errorf("account: keep the key of login tokens: %w", err)
	}
	s.tokenKey.Store(key)
	return nil
}

type tokenKey [32]byte

func newTokenKey() *tokenKey {
	k := new(tokenKey)
	rand.Read(k[:])
	return k
}

// readTokenKey returns nil if there is no usable key at path.
func readTokenKey(path string) (*tokenKey, error) {
	// A link is not followed; without O_NONBLOCK, opening a FIFO would block forever.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ELOOP):
		return nil, nil
	case err != nil:
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	k := new(tokenKey)
	if !st.Mode().IsRegular() || st.Mode().Perm()&0o077 != 0 || st.Size() != int64(len(k)) {
		return nil, nil
	}
	if _, err := io.ReadFull(f, k[:]); err != nil {
		return nil, err
	}
	return k, nil
}

// writeTokenKey replaces the file at path atomically.
func writeTokenKey(path string, key []byte) error {
	temp := path + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(key)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		os.Remove(temp)
		return err
	}
	return syncDir(filepath.Dir(path))
}
