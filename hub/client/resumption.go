package client

import (
	"sync"

	"github.com/besterhub/bester/hub"
)

// A Resumption keeps, in memory, the tokens that hubs have given for the next login. The
// zero value is ready. It may be used by many goroutines, and holds the tokens of up to
// maxTokens logins; of more, some are forgotten. A nil Resumption keeps nothing.
type Resumption struct {
	mu     sync.Mutex
	tokens map[resumptionKey]string
}

const maxTokens = 1024

// A resumptionKey is all that a login depends on: a token must not let somebody in whose
// password is another, nor be shown to another hub.
type resumptionKey struct {
	address  string
	user     hub.UserName
	password string
}

func (r *Resumption) token(address string, user hub.UserName, password string) string {
	if r == nil {
		return ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tokens[resumptionKey{address, user, password}]
}

// keep keeps the token of a login that was good. Without one, the last stays: the hub
// gives none after a login by token.
func (r *Resumption) keep(address string, user hub.UserName, password, token string) {
	if r == nil || token == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tokens == nil {
		r.tokens = make(map[resumptionKey]string)
	}
	key := resumptionKey{address, user, password}
	if _, ok := r.tokens[key]; !ok && len(r.tokens) >= maxTokens {
		for other := range r.tokens {
			delete(r.tokens, other)
			break
		}
	}
	r.tokens[key] = token
}
