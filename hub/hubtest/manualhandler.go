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

// ManualHandler is a Handler that does not answer by itself: the test takes each message
// with Next and answers it. Make one with NewManualHandler.
type ManualHandler struct {
	messages chan ManualMessage
}

// A ManualMessage is a message that the test has to answer.
type ManualMessage struct {
	hub.Message             // a copy that stays valid
	Answer      *hub.Answer // for the test to give
}

// NewManualHandler returns a ManualHandler that queues up to n messages. Handle fails
// further ones with hub.ErrFull.
func NewManualHandler(n int) *ManualHandler { return &ManualHandler{make(chan ManualMessage, n)} }

// Handle queues m for Next.
func (h *ManualHandler) Handle(m *hub.Message, a *hub.Answer) {
	own := clone(m)
	if len(h.messages) == cap(h.messages) {
		a.Done(hub.ErrFull)
		return
	}
	a.Detach()
	select {
	case h.messages <- ManualMessage{own, a}:
	default:
		a.Resume(nil)
		a.Done(hub.ErrFull)
	}
}

// Next waits for the next message.
func (h *ManualHandler) Next(tb testing.TB) ManualMessage {
	tb.Helper()
	select {
	case m := <-h.messages:
		return m
	case <-time.After(WaitTimeout):
		tb.Fatal("no message came to the manual handler")
		panic("not reached")
	}
}

// Waiting returns how many messages wait for Next.
func (h *ManualHandler) Waiting() int { return len(h.messages) }
