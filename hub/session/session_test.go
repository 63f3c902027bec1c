package session

import (
	"errors"
	"slices"
	"testing"

	"github.com/besterhub/bester/hub"
)

func data(s string) hub.Data { return hub.Data{Encoding: hub.JSON, Bytes: []byte(s)} }

func TestNativeClientsTalk(t *testing.T) {
	h := run(t, Options{})
	got := make(chan string, 10)
	h.dial(t, "ann", func(m *hub.Message) { got <- string(m.Type) + " " + m.From.String() })
	sam := h.dial(t, "sam", nil)
	if err := sam.Send(t.Context(), &hub.Message{Type: "chat", To: []hub.Address{{User: "ann"}}, Data: data(`"hi"`)}); err != nil {
		t.Fatal(err)
	}
	if g := <-got; g != "chat sam" {
		t.Errorf("got %q", g)
	}
	err := sam.Send(t.Context(), &hub.Message{Type: "nobody", Data: data(`1`)})
	if !errors.Is(err, hub.ErrNoHandler) {
		t.Errorf("a type that nobody serves: got %v", err)
	}
	if err := sam.Ping(t.Context()); err != nil {
		t.Errorf("ping: %v", err)
	}
}

func TestReplyComesUnderTheTagBeforeTheStatus(t *testing.T) {
	h := run(t, Options{})
	h.router.Serve("ask", hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error {
		a.Reply(data(`1`))
		a.Reply(data(`2`))
		return errors.New("and that was all")
	}))
	c := h.dial(t, "sam", func(*hub.Message) { t.Error("a reply came as a push") })
	var replies []string
	err := c.Request(t.Context(), &hub.Message{Type: "ask", Data: data(`null`)}, func(m *hub.Message) {
		replies = append(replies, string(m.Data.Bytes))
	})
	if err == nil || err.Error() != "and that was all" {
		t.Errorf("got %v", err)
	}
	if !slices.Equal(replies, []string{"\x01", "\x02"}) {
		t.Errorf("got replies %q", replies)
	}
}
