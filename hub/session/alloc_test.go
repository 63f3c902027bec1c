package session

import (
	"runtime"
	"testing"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/wire"
)

// The way of a message from socket to socket, through a filter, costs no memory.
func TestMessagesAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates, too, and empties pools at random")
	}
	h := run(t, Options{})
	for _, u := range []hub.UserName{"a", "b"} {
		h.account(t, u, nil)
	}
	pass := hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error { a.Pass(m.Data); return nil })
	err := h.router.SetRoutes([]hub.Route{{Match: "r/#", Through: []hub.Handler{pass}, To: []hub.Address{{User: "b"}}}})
	if err != nil {
		t.Fatal(err)
	}
	native := func(user string) *peer {
		p := h.peer(t, "tcp", h.tcp)
		p.hello(&wire.Hello{Role: wire.RoleClient, User: user, Password: "p"})
		p.wantIn("hello")
		return p
	}
	classic := func(user string) *peer {
		p := h.peer(t, "tcp", h.tcp)
		p.text(classicLogin(user, "p"))
		p.want(classicIn)
		return p
	}
	value := `"0123456789012345678901234567890123456789012345678901234567"`
	const batch = 64
	var packed, text []byte
	for i := range batch {
		packed = bformat.Append(packed, sent(uint64(1+i), "r/x", value))
		text = bformat.Append(text, []byte(classicMessage("r/x", "some id", value)))
	}
	for _, c := range []struct {
		name   string
		from   func(user string) *peer
		to     func(user string) *peer
		frames []byte
		n      int
	}{
		{"native to native", native, native, packed, 150_000},
		{"classic to classic", classic, classic, text, 100_000},
		{"classic to native", classic, native, text, 100_000},
		{"native to classic", native, classic, packed, 100_000},
	} {
		t.Run(c.name, func(t *testing.T) {
			from, to := c.from("a"), c.to("b")
			defer from.Close()
			defer to.Close()
			round := func() {
				if _, err := from.Write(c.frames); err != nil {
					t.Fatal(err)
				}
				for range batch { // neither side allocates here
					if _, err := from.in.Next(); err != nil {
						t.Fatal(err)
					}
					if _, err := to.in.Next(); err != nil {
						t.Fatal(err)
					}
				}
			}
			for range 200 {
				round()
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range c.n / batch {
				round()
			}
			runtime.ReadMemStats(&after)
			allocations := after.Mallocs - before.Mallocs
			t.Logf("%d allocations, %d bytes for %d messages", allocations, after.TotalAlloc-before.TotalAlloc, c.n)
			if allocations*1000 > uint64(c.n) {
				t.Errorf("%d allocations for %d messages, want fewer than 1 for 1000", allocations, c.n)
			}
		})
	}
}
