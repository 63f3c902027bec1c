package link

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/wire"
)

// The handlers of one account serve no more than their share of the patterns, whatever their
// names; others get theirs. A handler that goes leaves its patterns.
func TestPatternsOfOneAccount(t *testing.T) {
	h := newHub(t, Options{})
	const each = 200
	hello := func(user string, i int) wire.Hello {
		v := wire.Hello{User: user, Name: fmt.Sprintf("%s%d", user, i), Credits: 1}
		for k := range each {
			v.Types = append(v.Types, fmt.Sprintf("%s%d/%d", user[:1], i, k))
		}
		return v
	}
	const full = MaxUserPatterns / each
	peers := make([]*peer, full)
	for i := range peers {
		peers[i] = h.peer(hello("greedy", i))
	}
	p := h.dial(hello("greedy", full))
	_, kind, body := p.next()
	if kind != wire.KindStatus {
		t.Fatalf("got kind %d, want a status", kind)
	}
	err := wire.ParseStatus(body)
	if !errors.Is(err, hub.ErrFull) || !strings.Contains(err.Error(), fmt.Sprintf(`account "greedy" serves %d already, and may serve %d in all`, full*each, MaxUserPatterns)) {
		t.Errorf("got %v", err)
	}
	if h.Refused() != 1 {
		t.Errorf("counted %d", h.Refused())
	}
	h.peer(hello("bob", 0))
	h.peer(wire.Hello{User: "greedy", Name: "few", Types: []string{"few"}})
	h.peer(hello("greedy", 0)) // shares the work of an existing one

	peers[1].conn.Close()
	for {
		q := h.dial(hello("greedy", full))
		if _, kind, _ := q.next(); kind == wire.KindHello {
			break
		}
	}
}
