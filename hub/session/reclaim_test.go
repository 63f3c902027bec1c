package session

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/hubtest"
	"github.com/besterhub/bester/hub/wire"
)

// part returns the first n bytes of a frame of 50 KiB.
func part(n int) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, 50<<10), bytes.Repeat([]byte{0}, n-4)...)
}

// Sessions that stop inside short frames hold no more than Limits.Memory, and when others
// need it they give way: those of the account that holds most, the oldest first.
func TestStoppedFramesGiveWay(t *testing.T) {
	const n, memory = 120, 2 << 20
	for _, network := range []string{"unix", "tls"} {
		t.Run(network, func(t *testing.T) {
			h := run(t, Options{Limits: Limits{Memory: memory, MaxConnections: 1000, MaxPerAccount: 1000}})
			h.account(t, "greedy", nil)
			h.account(t, "modest", nil)
			h.account(t, "ann", nil)
			enter := func(name string) *peer {
				if network == "unix" {
					return h.native(t, name)
				}
				p := h.peer(t, "tls", h.tls)
				p.hello(&wire.Hello{Role: wire.RoleClient, User: name, Password: "p"})
				p.wantIn("hello")
				return p
			}
			modest := enter("modest") // also stops, and holds little
			modest.Write(part(3 << 10))
			until(t, "the modest frame is there", func() bool { return h.Stats().Memory == 4<<10 })
			for range n {
				enter("greedy").Write(part(40 << 10))
			}
			until(t, "each frame is held or refused", func() bool {
				held := 0
				for _, s := range h.sessionList() {
					if s.name == "greedy" && s.in.Activity() >= 40<<10 && s.in.Progress() != 0 {
						held++
					}
				}
				s := h.Stats()
				return held > memory/(57<<10)/2 && int(s.NoMemory)+held == n
			})
			if s := h.Stats(); s.Memory > memory || s.NoMemory == 0 {
				t.Fatalf("got %+v", s)
			}

			// An honest sender whose frame comes in pieces gets its memory: at the latest
			// when the others have been stopped for long enough.
			frame := bformat.Append(nil, sent(7, "dummy", fmt.Sprintf("%q", strings.Repeat("x", 40_000))))
			for i := 0; ; i++ {
				honest := enter("ann")
				n := h.any(t, "ann")
				honest.Write(frame[:30_000])
				until(t, "it is held or refused", func() bool { return n.in.Held() >= 32<<10 || !slices.Contains(h.sessionList(), n) })
				if n.in.Held() > 0 {
					honest.Write(frame[30_000:])
					honest.want("status 7: good")
					break
				}
				if i > 600 {
					t.Fatal("an honest sender gets no memory")
				}
				honest.Close()
				time.Sleep(reclaimInterval) // before it tries again
			}
			h.log.want(t, "others need the memory", "user=greedy", "session.memory")
			rest := part(50<<10 + 4)[3<<10:]
			modest.Write(rest)
			modest.lives() // it was not closed: it holds less than the others
		})
	}
}

// any returns a session of a user.
func (h *running) any(t *testing.T, user hub.UserName) *session {
	t.Helper()
	for _, s := range h.sessionList() {
		if s.name == user {
			return s
		}
	}
	t.Fatalf("no session of %q", user)
	return nil
}

// Frames that get on do not give way, whoever needs memory; slow ones only to those who hold
// less.
func TestFramesThatGetOnStay(t *testing.T) {
	h := run(t, Options{Limits: Limits{Memory: 1 << 20, WriteTimeout: time.Hour}})
	for range 2 {
		h.native(t, "greedy").Write(part(40 << 10))
	}
	h.native(t, "ann").Write(part(40 << 10))
	until(t, "all are held", func() bool { return h.Stats().Memory == 3*56<<10 })
	victims := func(of hub.UserName, at time.Duration) (names []string) {
		for _, v := range h.findVictims(h.any(t, of).in, 1000, at) {
			names = append(names, string(v.user))
			v.c.reclaimed = false
		}
		return names
	}
	now := time.Hour
	if got := victims("ann", now); got != nil {
		t.Errorf("just begun: %q give way", got)
	}
	// All of them get on, but slowly.
	for _, s := range h.sessionList() {
		s.activity--
	}
	now += reclaimAfter
	if got := victims("ann", now); fmt.Sprint(got) != "[greedy]" {
		t.Errorf("slow frames: %q give way to ann", got)
	}
	for _, s := range h.sessionList() {
		s.activity--
	}
	if got := victims("greedy", now+reclaimAfter/2); got != nil {
		t.Errorf("slow frames: %q give way to the account that holds most", got)
	}
	// They stop.
	now += 2 * reclaimAfter
	if got := victims("greedy", now); fmt.Sprint(got) != "[greedy]" {
		t.Errorf("stopped frames: %q give way", got)
	}
}

// What a session has read ahead is counted while it waits for its messages to be answered.
func TestReadAheadIsCountedWhileItWaits(t *testing.T) {
	h := run(t, Options{Limits: Limits{Credits: 1, Memory: 8 << 20}})
	slow := hubtest.NewManualHandler(100)
	h.serve(t, "slow", slow)
	p := h.native(t, "ann")
	frames := bytes.Repeat(bformat.Append(nil, sent(1, "slow", "1")), 100)
	if _, err := p.Write(frames); err != nil {
		t.Fatal(err)
	}
	until(t, "the buffer is counted", func() bool { return h.Stats().Memory == 56<<10 })
	for range 100 {
		m := slow.Next(t)
		m.Answer.Resume(nil)
		m.Answer.Drop()
		m.Answer.Done(nil)
		p.want("status 1: good")
	}
	until(t, "it is given back", func() bool { return h.Stats().Memory == 0 })
}
