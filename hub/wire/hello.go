package wire

import (
	"math"
	"unicode/utf8"

	"github.com/besterhub/bester/hub"
)

// A Hello is the first frame of each side of a native connection.
type Hello struct {
	// Version of the dialect, at least 1. A peer with another version than Version
	// gets an error, and the connection is closed.
	Version int
	// Role is the role of the sender: one of the constants Role…, or one of a later
	// version.
	Role string
	// User and Password are the account's, of at most 255 and 1024 bytes. They are empty
	// if the socket authenticates the peer.
	User, Password string
	// Token is what a peer can send in its next hello beside the password, to be let in
	// without a password check: the hub gives it, if at all. At most 255 bytes.
	Token string
	// Name of the hub or of the handler process, for logs. At most 255 bytes.
	Name string
	// Types are the patterns that a handler serves or, in the hub's hello to a client,
	// that the account may receive; at most 256. If nil, the sender does not say.
	Types []string
	// Credits is how many requests in flight the sender of the hello accepts; 0 if it
	// does not say.
	Credits int
	// MaxFrame is the largest payload, in bytes, that the sender of the hello accepts; 0 if
	// it does not say.
	MaxFrame int
	// SendOnly says that a client takes no deliveries, but replies to what it sends.
	SendOnly bool
}

const (
	maxHelloString   = 255  // bytes of a role, user, token, name or type
	maxHelloPassword = 1024 // bytes
)

// AppendHello appends the payload of a hello, under tag 0. Numbers below 0 count as 0.
func AppendHello(dst []byte, h *Hello) []byte {
	b := helloBody{
		Version: uint64(max(h.Version, 0)), Role: h.Role, User: h.User, Password: h.Password, Token: h.Token,
		Name: h.Name, Credits: uint64(max(h.Credits, 0)), MaxFrame: uint64(max(h.MaxFrame, 0)), SendOnly: h.SendOnly,
	}
	if h.Types != nil {
		b.Types = &h.Types
	}
	dst, err := b.MarshalMsg(appendHeader(dst, 0, KindHello))
	if err != nil {
		panic("wire: hello: " + err.Error()) // nothing in it can fail
	}
	return dst
}

// ParseHello reads a hello's body. Strings must be UTF-8 without control characters, of
// at most 255 bytes (the password 1024). There may be at most 256 types, each a valid
// hub.Pattern. Larger numbers than 2³¹-1 become 2³¹-1. An error wraps ErrMalformed.
func ParseHello(body []byte) (*Hello, error) {
	var b helloBody
	if err := unmarshal("hello", body, &b); err != nil {
		return nil, err
	}
	for _, f := range [...]struct {
		key, value string
		limit      int
	}{
		{"r", b.Role, maxHelloString}, {"u", b.User, maxHelloString},
		{"p", b.Password, maxHelloPassword}, {"n", b.Name, maxHelloString},
		{"k", b.Token, maxHelloString},
	} {
		if len(f.value) > f.limit {
			return nil, malformed("hello: %s: %d bytes, at most %d are allowed", f.key, len(f.value), f.limit)
		}
		if f.key != "p" && checkName(f.value) != nil || !utf8.ValidString(f.value) {
			return nil, malformed("hello: %s: not UTF-8, or contains a control character", f.key)
		}
	}
	if b.Version < 1 {
		return nil, malformed("hello: v: version missing or 0")
	}
	if b.Role == "" {
		return nil, malformed("hello: r: role missing")
	}
	var types []string
	if b.Types != nil {
		types = append([]string{}, *b.Types...)
	}
	for _, t := range types {
		if _, err := hub.ParsePattern(t); err != nil {
			return nil, malformed("hello: t: %v", err)
		}
	}
	return &Hello{
		Version: toInt(b.Version), Role: b.Role, User: b.User, Password: b.Password, Token: b.Token,
		Name: b.Name, Types: types, Credits: toInt(b.Credits), MaxFrame: toInt(b.MaxFrame), SendOnly: b.SendOnly,
	}, nil
}

func toInt(n uint64) int { return int(min(n, math.MaxInt32)) }
