package hubtest

import (
	"testing"
	"time"

	"github.com/besterhub/bester/hub"
)

// Pass is a handler that changes nothing.
func Pass(m *hub.Message, a *hub.Answer) error {
	a.Pass(m.Data)
	return nil
}

// Held is a Handler that answers nothing by itself: the test takes each message with
// Next and answers when and how it likes. Make one with NewHeld.
type Held struct {
	taken chan HeldMessage
}

// A HeldMessage is a message that waits for the test to answer it.
type HeldMessage struct {
	hub.Message // a copy that stays valid
	Answer      *hub.Answer
}

// NewHeld returns a Held that holds up to n messages; Handle fails what comes on top
// with an error that wraps hub.ErrFull.
func NewHeld(n int) *Held { return &Held{make(chan HeldMessage, n)} }

// Handle keeps m for Next.
func (h *Held) Handle(m *hub.Message, a *hub.Answer) {
	own := clone(m)
	if len(h.taken) == cap(h.taken) {
		a.Done(hub.ErrFull)
		return
	}
	a.Detach()
	select {
	case h.taken <- HeldMessage{own, a}:
	default:
		a.Resume(nil)
		a.Done(hub.ErrFull)
	}
}

// Next waits for the next message.
func (h *Held) Next(tb testing.TB) HeldMessage {
	tb.Helper()
	select {
	case m := <-h.taken:
		return m
	case <-time.After(Patience):
		tb.Fatal("no message came to the held handler")
		panic("not reached")
	}
}

// Waiting returns how many messages wait for Next.
func (h *Held) Waiting() int { return len(h.taken) }
