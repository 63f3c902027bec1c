package session

import (
	"bytes"
	"context"
	"net"
	"testing"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/account"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/wire"
)

// What sessions hold while they wait for something other than their peer.

// blockedAccounts check passwords only once they are released.
type blockedAccounts struct {
	Accounts               // run sets it
	logins   bool          // they are blocked, too
	waiting  chan struct{} // one for each that waits
	release  chan struct{}
}

func blockAccounts(logins bool) *blockedAccounts {
	return &blockedAccounts{logins: logins, waiting: make(chan struct{}, 1000), release: make(chan struct{})}
}

func (b *blockedAccounts) wait(ctx context.Context) {
	b.waiting <- struct{}{}
	select {
	case <-b.release:
	case <-ctx.Done():
	}
}

func (b *blockedAccounts) LoginFrom(ctx context.Context, r account.LoginRequest) (*account.Account, string, error) {
	if b.logins {
		b.wait(ctx)
	}
	return b.Accounts.LoginFrom(ctx, r)
}

func (b *blockedAccounts) ChangePassword(ctx context.Context, name hub.UserName, old, new string) error {
	b.wait(ctx)
	return b.Accounts.ChangePassword(ctx, name, old, new)
}

func login(dialect string) []byte {
	if dialect == "classic" {
		return bformat.Append(nil, []byte(classicLogin("ann", "p")))
	}
	return bformat.Append(nil, wire.AppendHello(nil, &wire.Hello{Version: wire.Version, Role: wire.RoleClient, User: "ann", Password: "p"}))
}

// A fleet that logs in at once holds no read buffers while the passwords are checked; what
// came with the logins is charged, up to the limit.
func TestWaitingLoginsHoldLittle(t *testing.T) {
	const n, memory = 200, 1 << 20
	for _, dialect := range []string{"native", "classic"} {
		for name, after := range map[string][]byte{"alone": nil, "with more": make([]byte, 20<<10)} {
			t.Run(dialect+" "+name, func(t *testing.T) {
				blocked := blockAccounts(true)
				h := run(t, Options{Accounts: blocked, Limits: Limits{Memory: memory, MaxPerAccount: n}})
				defer close(blocked.release)
				h.account(t, "ann", nil)
				heap() // pools are empty after the second
				before := heap()
				peers := make([]net.Conn, n)
				for i := range peers {
					c, err := net.Dial("unix", h.closed)
					if err != nil {
						t.Fatal(err)
					}
					defer c.Close()
					peers[i] = c
					if _, err := c.Write(append(login(dialect), after...)); err != nil {
						t.Fatal(err)
					}
				}
				until(t, "all logins wait or are refused", func() bool { return len(blocked.waiting)+int(h.Stats().NoMemory) == n })
				s := h.Stats()
				if s.Memory > memory || (s.Memory > memory/2) != (after != nil) || (s.NoMemory > 0) != (after != nil) {
					t.Errorf("%d bytes are charged, %d are refused", s.Memory, s.NoMemory)
				}
				heap()
				grown := heap() - before
				t.Logf("%d bytes are in use", grown)
				if most := memory + n*(12<<10); !raceEnabled && grown > most {
					t.Errorf("%d waiting logins hold %d bytes, want at most %d", n, grown, most)
				}
			})
		}
	}
}

// What a session has read ahead is charged while it changes a password.
func TestReadAheadIsCountedWhileAPasswordIsChanged(t *testing.T) {
	blocked := blockAccounts(false)
	h := run(t, Options{Accounts: blocked})
	defer close(blocked.release)
	h.account(t, "ann", nil)
	p := h.enter(t, "ann")
	change := bformat.Append(nil, sent(1, "builtin", `{"command":{"type":"changePassword","command":{"password":"p","newPassword":"q"}}}`))
	p.Write(append(change, make([]byte, 3)...)) // the beginning of another frame
	until(t, "the change waits", func() bool { return len(blocked.waiting) == 1 })
	if m := h.Stats().Memory; m != 56<<10 {
		t.Errorf("%d bytes are charged, want %d", m, 56<<10)
	}
}

// A session that only waits for answers to what it sent has no read buffer.
func TestDrainingSessionsHoldLittle(t *testing.T) {
	h := run(t, Options{})
	const n = 100
	slow := make(held, n)
	h.serve(t, "slow", slow)
	frames := bformat.Append(nil, sent(1, "slow", "1"))
	frames = bformat.Append(frames, wire.AppendGoodbye(nil, "bye"))
	frames = append(frames, bytes.Repeat([]byte{1}, 20<<10)...)
	peers := make([]*peer, n)
	for i := range peers {
		peers[i] = h.native(t, "ann")
	}
	before := heap()
	for _, p := range peers {
		p.Write(frames)
	}
	var waiting []*hub.Answer
	for range n {
		waiting = append(waiting, <-slow)
	}
	until(t, "all have read the goodbye", func() bool { return heap()-before < n*(8<<10) })
	for _, a := range waiting {
		a.Resume(nil)
		a.Done(nil)
	}
	for _, p := range peers {
		p.want("status 1: good", "end")
	}
}
