package handlers

import (
	"fmt"
	"sync/atomic"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/wire"
)

// A reply is the answer to one message. It encodes each command as soon as the handler
// gives it. It is the Executor of its hub.Answer. Replies are pooled and reused.
type reply struct {
	s          *server
	answer     *hub.Answer
	tag        uint64
	enc        wire.AnswerEncoder
	buf        []byte
	original   []byte        // the message's own data, kept only for comparison
	err        error         // the first command that could not be encoded
	generation atomic.Uint64 // incremented each time a message is answered
	abandoned  atomic.Bool   // never reused: its handler panicked
	done       atomic.Bool   // Done has been called
}

// maxPooledBuffer is the largest buffer that is kept for reuse, in bytes.
const maxPooledBuffer = 64 << 10

func newReply(s *server) *reply {
	r := &reply{s: s}
	r.answer = hub.NewAnswer(&hub.Message{}, r)
	return r
}

// reply begins the answer to the message m under tag. m is nil for a message that is not
// handled because it could not be decoded.
func (s *server) reply(tag uint64, m *hub.Message) *reply {
	r := s.replies.Get().(*reply)
	r.tag, r.err = tag, nil
	r.done.Store(false)
	r.enc.Begin(r.buf[:0], tag)
	if m == nil {
		m = &noMessage
	}
	r.original = m.Data.Bytes
	r.answer.Reset(m)
	return r
}

var noMessage hub.Message

// Do encodes one command.
func (r *reply) Do(_ *hub.Answer, c *hub.Command) {
	if r.abandoned.Load() {
		return
	}
	if c.Verb == hub.Pass && sameMemory(c.Data.Bytes, r.original) {
		// The hub still has the sender's own bytes, so they are not sent back.
		c = &passUnchanged
	}
	if err := r.enc.Command(c); err != nil && r.err == nil {
		r.err = err
	}
}

var passUnchanged = hub.Command{Verb: hub.Pass}

// sameMemory reports whether a and b are the same slice of memory, and not empty.
func sameMemory(a, b []byte) bool { return len(a) == len(b) && len(a) > 0 && &a[0] == &b[0] }

// Done sends the answer.
func (r *reply) Done(_ *hub.Answer, err error) {
	if r.done.Swap(true) {
		panic("handlers: Answer.Done was called twice; a HandlerFunc must not call it")
	}
	if generation := r.generation.Load(); r.abandoned.Load() || !r.generation.CompareAndSwap(generation, generation+1) {
		return
	}
	if err == nil {
		err = r.err
	}
	s, batch := r.s, r.answer.Message().Batch
	r.original = nil
	payload := r.enc.End(err)
	if len(payload) > s.maxFrame {
		r.enc.Begin(nil, r.tag)
		payload = r.enc.End(fmt.Errorf("an answer of %d bytes, the hub takes %d", len(payload), s.maxFrame))
	}
	r.buf = payload[:0]
	if cap(r.buf) > maxPooledBuffer {
		r.buf = nil
	}
	s.send(payload, batch)
	s.replies.Put(r)
}
