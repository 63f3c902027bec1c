package link

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/besterhub/bester/handlers"
	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/hubtest"
)

// narrow are the rights of an account that may reach ann and the server house, and send
// one type.
type narrow struct{}

func (narrow) MayReach(to hub.Address) bool {
	return to == hub.Address{User: "ann"} || to == hub.Address{Server: "house"}
}
func (narrow) MaySend(t hub.Type) bool { return t == "mine" }

// The commands of a handler process are executed as far as its account may, and the sender
// is told of the others.
func TestCommandsBeyondTheRights(t *testing.T) {
	h := newHub(t, Options{})
	h.rights = narrow{}
	defer h.kit(hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error {
		switch m.Type {
		case "all":
			a.Pass(m.Data)
			a.Reply(m.Data)
			a.SendClients(m.Data, hub.Address{User: "ann"})
			a.SendServers(m.Data, hub.Address{Server: "house"})
			a.SendHandler(m.Data, "mine")
		case "user":
			a.SendClients(m.Data, hub.Address{User: "ann"}, hub.Address{User: "bob"})
			a.Reply(m.Data)
		case "user there":
			a.SendClients(m.Data, hub.Address{User: "ann", Server: "house"})
		case "server":
			a.SendServers(m.Data, hub.Address{Server: "127.0.0.1:22"})
		case "type":
			a.SendHandler(m.Data, "another's")
		}
		return nil
	}), handlers.Options{}, "#")()
	for _, c := range []struct {
		typ    string
		verbs  []hub.Verb // executed
		denied string
	}{
		{"all", []hub.Verb{hub.Pass, hub.Reply, hub.SendClients, hub.SendServers, hub.SendHandler}, ""},
		{"user", []hub.Verb{hub.Reply}, `may not reach "bob"`},
		{"user there", nil, `may not reach "ann@house"`},
		{"server", nil, `may not reach "@127.0.0.1:22"`},
		{"type", nil, `may not send type "another's"`},
	} {
		var as hubtest.Answers
		as.Ask(h.Group("#"), message(c.typ, "sam", 1, "1"))
		got := as.Wait(t, 1)[0]
		var verbs []hub.Verb
		for _, cmd := range got.Commands {
			verbs = append(verbs, cmd.Verb)
		}
		if !slices.Equal(verbs, c.verbs) {
			t.Errorf("%s: executed %v, want %v", c.typ, verbs, c.verbs)
		}
		if c.denied == "" && got.Err != nil || c.denied != "" && (!errors.Is(got.Err, hub.ErrDenied) || !strings.Contains(got.Err.Error(), c.denied)) {
			t.Errorf("%s: got %v, want %q", c.typ, got.Err, c.denied)
		}
	}
	h.log.wait(t, 1, func(s string) bool { return strings.Contains(s, "handler failed") && strings.Contains(s, "may not") })
}
