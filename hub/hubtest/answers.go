package hubtest

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/besterhub/bester/hub"
)

// Answers gives messages to a Handler without a hub and records how each is answered.
// The zero value is ready. Its methods may be called from many goroutines.
type Answers struct {
	done recording[Answer]

	mu     sync.Mutex
	faults []string // ways in which a handler broke its contract
}

// An Answer records what a handler did with one message.
type Answer struct {
	Message  hub.Message   // a copy of the one that was asked
	Commands []hub.Command // copies
	Err      error         // what Done was called with
}

// Text returns the data of command i as a string, "" if there is no such command.
func (a Answer) Text(i int) string {
	if i >= len(a.Commands) {
		return ""
	}
	return string(a.Commands[i].Data.Bytes)
}

// Ask gives a copy of m to h, with m.Batch. As soon as Handle has returned, Ask overwrites
// what the handler had borrowed, so that use after the return is detected.
func (as *Answers) Ask(h hub.Handler, m *hub.Message) {
	p := &answerExecutor{to: as, Answer: Answer{Message: clone(m)}}
	borrowed := clone(m)
	data, to := borrowed.Data.Bytes, borrowed.To
	borrowed.Batch = m.Batch
	a := hub.NewAnswer(&borrowed, p)
	h.Handle(a.Message(), a)
	for i := range data {
		data[i] = invalidByte
	}
	for i := range to {
		to[i] = hub.Address{User: "poisoned: the recipients were borrowed until Handle returned"}
	}
}

// Wait waits until at least n messages have been answered and returns all answers, in
// the order in which they were done.
func (as *Answers) Wait(tb testing.TB, n int) []Answer {
	tb.Helper()
	return as.done.wait(tb, "answers", n)
}

// Faults returns the violations of the handler contract so far: Done called twice, a
// command after Done, borrowed data used after Handle had returned.
func (as *Answers) Faults() []string {
	as.mu.Lock()
	defer as.mu.Unlock()
	return slices.Clone(as.faults)
}

func (as *Answers) fault(format string, args ...any) {
	as.mu.Lock()
	defer as.mu.Unlock()
	as.faults = append(as.faults, fmt.Sprintf(format, args...))
}

// invalidByte is a byte that neither UTF-8 nor the header of a MessagePack value contains.
const invalidByte = 0xC1

var invalidBytes = bytes.Repeat([]byte{invalidByte}, 4)

// An answerExecutor is the Executor of one answer.
type answerExecutor struct {
	to *Answers
	Answer

	mu   sync.Mutex
	done bool
}

func (p *answerExecutor) Do(a *hub.Answer, c *hub.Command) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done {
		p.to.fault("message %v: command %v after Done", p.Message.ID, c.Verb)
		return
	}
	if bytes.Contains(c.Data.Bytes, invalidBytes) {
		p.to.fault("message %v: command %v with data that was borrowed only until Handle returned", p.Message.ID, c.Verb)
	}
	own := *c
	own.Data.Bytes = bytes.Clone(c.Data.Bytes)
	own.To = slices.Clone(c.To)
	p.Commands = append(p.Commands, own)
}

func (p *answerExecutor) Done(a *hub.Answer, err error) {
	p.mu.Lock()
	if p.done {
		p.mu.Unlock()
		p.to.fault("message %v: Done called twice", p.Message.ID)
		return
	}
	p.done = true
	p.Err = err
	p.mu.Unlock()
	p.to.done.add(p.Answer)
}
