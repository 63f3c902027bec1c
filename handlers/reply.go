package handlers

import (
	"fmt"
	"sync/atomic"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/wire"
)

// A reply is the answer to one message, encoded as the handler gives it. It is the Executor
// of its hub.Answer and used again for other messages.
type reply struct {
	s      *server
	answer *hub.Answer
	tag    uint64
	enc    wire.AnswerEncoder
	buf    []byte
	whole  []byte        // the message's data; only to be recognised
	err    error         // the first command that could not be encoded
	life   atomic.Uint64 // counts the messages it has been used for, each when it is done
	dead   atomic.Bool   // not used again: its handler panicked
	over   atomic.Bool   // Done has been called
}

// maxKept is how long a buffer may be to be used again, in bytes.
const maxKept = 64 << 10

func newReply(s *server) *reply {
	r := &reply{s: s}
	r.answer = hub.NewAnswer(&hub.Message{}, r)
	return r
}

// reply begins the answer to the message m under tag. m may be nil if it is not to be handled.
func (s *server) reply(tag uint64, m *hub.Message) *reply {
	r := s.replies.Get().(*reply)
	r.tag, r.err = tag, nil
	r.over.Store(false)
	r.enc.Begin(r.buf[:0], tag)
	if m == nil {
		m = &noMessage
	}
	r.whole = m.Data.Bytes
	r.answer.Reset(m)
	return r
}

var noMessage hub.Message

// Do encodes one command.
func (r *reply) Do(_ *hub.Answer, c *hub.Command) {
	if r.dead.Load() {
		return
	}
	if c.Verb == hub.Pass && same(c.Data.Bytes, r.whole) {
		// The hub still has it, in the sender's own bytes.
		c = &passWhole
	}
	if err := r.enc.Command(c); err != nil && r.err == nil {
		r.err = err
	}
}

var passWhole = hub.Command{Verb: hub.Pass}

// same reports whether a and b are the same memory.
func same(a, b []byte) bool { return len(a) == len(b) && len(a) > 0 && &a[0] == &b[0] }

// Done sends the answer.
func (r *reply) Done(_ *hub.Answer, err error) {
	if r.over.Swap(true) {
		panic("handlers: Answer.Done was called twice; a HandlerFunc must not call it")
	}
	if life := r.life.Load(); r.dead.Load() || !r.life.CompareAndSwap(life, life+1) {
		return
	}
	if err == nil {
		err = r.err
	}
	s, batch := r.s, r.answer.Message().Batch
	r.whole = nil
	payload := r.enc.End(err)
	if len(payload) > s.most {
		r.enc.Begin(nil, r.tag)
		payload = r.enc.End(fmt.Errorf("an answer of %d bytes, the hub takes %d", len(payload), s.most))
	}
	r.buf = payload[:0]
	if cap(r.buf) > maxKept {
		r.buf = nil
	}
	s.send(payload, batch)
	s.replies.Put(r)
}
