package hub

import (
	"errors"
	"sync/atomic"
)

// An Answer is a handler's response to one message: zero or more commands, each
// executed at once and in order, and then Done. The handler gets it with the
// message and owns it until Done. It is used by one goroutine at a time.
//
// Data given to a command is borrowed until the command returns.
type Answer struct {
	router     *Router
	executor   Executor  // executes the commands instead of router, if not nil
	command    Command   // the one that executor has now
	m          Message   // the message being answered
	out        Message   // the message that the current command sends
	pipeline   *pipeline // nil: straight to the recipients the message names
	step       int       // handlers of the pipeline that it has passed
	done       bool      // Done has been called
	localNotes Notes     // of this answer alone, until it is done

	// The answer to the message that was put is the root: it waits for all answers
	// derived from it. The derived ones use only root of the fields below.
	root       *Answer
	shared     bool         // more than the root's own answer is waited for: pending counts
	pending    atomic.Int32 // answers not done, and receipts not come
	dispatches atomic.Int32 // sendHandler commands of the root and the answers derived from it
	firstError atomic.Pointer[error]
	notes      atomic.Uint32 // Notes
	to         [1]Address

	recipients []Address // a detached message's own copy
}

// Do executes one command. The methods with the names of the verbs build a command
// and call Do.
func (a *Answer) Do(c Command) {
	if a.executor != nil {
		a.command = c
		a.executor.Do(a, &a.command)
		return
	}
	switch c.Verb {
	case Pass:
		a.pass(c.Data)
	case Drop:
		a.localNotes |= noteDropped
	case Reply:
		a.reply(c.Data)
	case SendClients:
		out := a.derive(c.Data)
		for _, to := range c.To {
			a.sendTo(out, to, NoteReceiverAbsent)
		}
	case SendServers:
		out := a.derive(c.Data)
		for _, to := range c.To {
			a.sendToServer(out, to)
		}
	case SendHandler:
		a.sendHandler(c.Data, c.Type)
	default:
		a.setError(Reason(ErrHandler, "type %q: unknown command %d", a.m.Type, c.Verb))
	}
}

// Pass gives the message with this data to what comes next: the next handler of
// the route, then the route's receivers. A filter that changes nothing passes
// m.Data. Where no route says what comes next, the message goes to the
// recipients its sender named; if there are none it fails.
func (a *Answer) Pass(d Data) {
	if a.executor == nil { // what most filters do for each message
		a.pass(d)
		return
	}
	a.Do(Command{Verb: Pass, Data: d})
}

// Drop discards the message on purpose. It is counted.
func (a *Answer) Drop() { a.Do(Command{Verb: Drop}) }

// Reply sends data to the session that the message came from, under the message's
// tag. If the message did not come from a session, the sender's address gets the data.
func (a *Answer) Reply(d Data) { a.Do(Command{Verb: Reply, Data: d}) }

// SendClients hands data to every live session of every user named, in order;
// "user@server" goes to that user there. A user who is not here now is no error.
func (a *Answer) SendClients(d Data, users ...Address) {
	a.Do(Command{Verb: SendClients, Data: d, To: users})
}

// SendServers hands data to other servers, each of which routes it by the type.
// The Server of each address is a name from the config, or host:port.
func (a *Answer) SendServers(d Data, servers ...Address) {
	a.Do(Command{Verb: SendServers, Data: d, To: servers})
}

// SendHandler gives data to the handler of type t, whose answer is executed in
// turn. It is the only command that can form a loop, so it counts hops and is
// refused past the limit.
func (a *Answer) SendHandler(d Data, t Type) {
	a.Do(Command{Verb: SendHandler, Data: d, Type: t})
}

// Detach allows the answer to come after Handle has returned, perhaps from another
// goroutine. It releases what is borrowed until then: it clears the message's data
// and copies its recipients. Call it before Handle returns and before anything else
// can use the answer.
func (a *Answer) Detach() {
	a.m.Batch.unstage()
	a.m.Batch = nil
	a.m.Data = Data{}
	a.recipients = append(a.recipients[:0], a.m.To...)
	a.m.To = a.recipients
}

// Resume continues a detached answer. b is the batch of the calling goroutine, or
// nil to flush each command at once.
func (a *Answer) Resume(b *Batch) { a.m.Batch = b }

// Done ends the answer. err is nil if the message succeeded, otherwise the reason
// why it failed. The Answer must not be used again: a second Done panics, if it
// comes before the Answer has been reused.
func (a *Answer) Done(err error) {
	if a.executor != nil {
		a.executor.Done(a, err)
		return
	}
	if a.done {
		panic("hub: Answer.Done was called twice; a HandlerFunc must not call it")
	}
	a.done = true
	if err != nil {
		a.setError(err)
	}
	root, batch := a.root, a.m.Batch
	if a != root {
		if root.notes.Load()&uint32(a.localNotes) != uint32(a.localNotes) {
			root.notes.Or(uint32(a.localNotes))
		}
		a.recycle(batch)
	}
	root.donePending(batch)
}

// Message returns the message being answered. After Detach it has no data.
func (a *Answer) Message() *Message { return &a.m }

// newChild returns a new answer for a message that a command derives. The root waits for it.
func (a *Answer) newChild(d Data) *Answer {
	n := a.router.newAnswer(a.m.Batch)
	n.root, n.done, n.localNotes = a.root, false, 0
	n.root.addPending()
	n.m = a.m
	n.m.Data = d
	return n
}

func (a *Answer) pass(d Data) {
	if a.pipeline != nil && a.step < len(a.pipeline.handlers) {
		next := a.newChild(d)
		next.pipeline, next.step = a.pipeline, a.step
		next.advance()
		return
	}
	a.deliverToReceivers(a.derive(d))
}

func (a *Answer) sendHandler(d Data, t Type) {
	if a.m.Hops >= a.router.maxHops {
		a.setError(Reason(ErrHops, "type %q: more than %d hops: do handlers send it in a circle?", t, a.router.maxHops))
		return
	}
	if a.root.dispatches.Add(1) > MaxDispatches {
		a.setError(Reason(ErrHops, "type %q: sent to handlers more than %d times in all: do handlers multiply it?", t, MaxDispatches))
		return
	}
	pl := a.router.lookup(t, a.m.Batch)
	if pl == nil {
		a.setError(Reason(ErrNoHandler, "no handler or route serves type %q", t))
		return
	}
	next := a.newChild(d)
	next.pipeline, next.step = pl, 0
	next.m.Type = t
	next.m.Hops++
	next.advance()
}

func (a *Answer) reply(d Data) {
	out := a.derive(d)
	if s, ok := a.root.m.Receipt.(Sink); ok {
		out.Tag = a.root.m.Tag
		err := a.put(s, out)
		if errors.Is(err, ErrFull) {
			a.setError(err) // the sender waits for a reply, unlike for a push
		}
		a.countDelivery(err)
		return
	}
	if a.m.From == (Address{}) {
		a.setError(Reason(ErrHandler, "type %q: nobody to reply to", a.m.Type))
		return
	}
	a.sendTo(out, a.m.From, NoteReceiverAbsent)
}

// derive builds the message that a command sends. It is valid until the next command.
func (a *Answer) derive(d Data) *Message {
	a.out = a.m
	a.out.Data = d
	a.out.To, a.out.Receipt, a.out.Tag, a.out.Reach = nil, nil, 0, nil
	return &a.out
}

// advance moves the message one step on: to the next handler of its pipeline, or
// to the receivers after the last handler.
func (a *Answer) advance() {
	if a.pipeline != nil && a.step < len(a.pipeline.handlers) {
		h := a.pipeline.handlers[a.step]
		a.step++
		a.handle(h)
		return
	}
	a.deliverToReceivers(a.derive(a.m.Data))
	a.Done(nil)
}

// handle calls a handler. If it panics, only this message fails.
func (a *Answer) handle(h Handler) {
	defer func() {
		if p := recover(); p != nil {
			a.router.reportPanic("a handler has a bug: it panicked", a.m.Type, p)
			if !a.done {
				a.Done(Reason(ErrHandler, "type %q: the handler panicked", a.m.Type))
			}
		}
	}()
	h.Handle(&a.m, a)
}

// setError records the reason for the receipt, unless there is one already.
func (a *Answer) setError(err error) {
	a.root.firstError.CompareAndSwap(nil, &err)
}

// addPending makes the root wait for one more answer or receipt. Before the first call,
// only the root's own answer uses the root, so the counter is not needed.
func (a *Answer) addPending() {
	if !a.shared {
		a.shared = true
		a.pending.Store(2)
		return
	}
	a.pending.Add(1)
}

// donePending counts one answer or receipt of the root as done. After the last one it
// notifies the sender.
func (a *Answer) donePending(b *Batch) {
	if a.shared {
		b.unstage() // before somebody else may tell the sender
		if a.pending.Add(-1) > 0 {
			return
		}
	}
	var err error
	notes := a.localNotes | Notes(a.notes.Load())
	switch p := a.firstError.Load(); {
	case p != nil:
		err = *p
		a.firstError.Store(nil)
		a.router.countFailed(err)
		a.router.count(b, countFailed)
	case notes&noteHanded != 0:
		a.router.count(b, countSucceeded)
	case notes&(NoteAbsent|NoteReceiverAbsent|NoteDenied|NoteFull|noteMissed) != 0:
		a.router.count(b, countAbsent)
	case notes&noteDropped != 0:
		a.router.count(b, countDropped)
	default: // a handler has kept it
		a.router.count(b, countSucceeded)
	}
	if a.m.Receipt != nil {
		a.m.Batch, a.m.Data, a.m.To = b, Data{}, nil
		if notes&(NoteAbsent|NoteReceiverAbsent) != 0 && notes&(noteHanded|NoteDenied|NoteFull) == 0 {
			notes |= NoteNobody
		}
		a.m.Notes = notes &^ (noteHanded | noteDropped | noteMissed)
		a.m.Receipt.Done(&a.m, err)
	}
	a.recycle(b)
}
