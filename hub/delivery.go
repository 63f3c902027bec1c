package hub

// deliverToReceivers delivers to the receivers of the route, or to the recipients
// that the sender named. If there are none, or the route decides, subscribers get it, too.
func (a *Answer) deliverToReceivers(out *Message) {
	pl := a.pipeline
	switch {
	case pl != nil && pl.hasReceivers():
		if len(a.m.To) > 0 {
			a.localNotes |= NoteOverruled
		}
		for _, u := range pl.users {
			sessions := u.liveSessions()
			if len(sessions) == 0 { // an old route may keep a user that the directory has replaced since
				sessions = a.router.directory.Sessions(u.name)
			}
			a.deliver(out, sessions, NoteReceiverAbsent)
		}
		for _, to := range pl.servers {
			a.sendToServer(out, to)
		}
	case len(a.m.To) > 0:
		for _, to := range a.m.To {
			a.sendTo(out, to, NoteAbsent)
		}
		return
	case pl == nil || len(pl.subscribers) == 0:
		a.setError(Reason(ErrHandler, "type %q: passed on, but no route says where to", a.m.Type))
		return
	}
	if pl.last != nil {
		pl.last.store(out)
	}
	for i := range pl.subscribers {
		a.deliverToSubscriber(out, &pl.subscribers[i])
	}
}

// sendTo delivers to one address, if the sender may reach it. absent is the note on one where
// nobody is.
func (a *Answer) sendTo(out *Message, to Address, absent Notes) {
	switch {
	case a.m.Reach != nil && !a.m.Reach.MayReach(to):
		a.router.count(a.m.Batch, countHanded)
		a.router.countLost(LossReach)
		a.setError(Reason(ErrDenied, "%q may not reach %q", a.m.From, to))
	case to.Server != "":
		a.sendToServer(out, to)
	default:
		a.deliver(out, a.router.directory.Sessions(to.User), absent)
	}
}

// deliver delivers to every session of one user. absent is the note on a user without one.
func (a *Answer) deliver(out *Message, sessions []Sink, absent Notes) {
	if len(sessions) == 0 {
		a.noteAbsent(absent)
	}
	for _, s := range sessions {
		a.countDelivery(a.put(s, out))
	}
}

// deliverToSubscriber delivers to one subscriber. What it loses is its own loss: the sender
// has not asked for it.
func (a *Answer) deliverToSubscriber(out *Message, s *subscriber) {
	a.router.count(a.m.Batch, countHanded)
	if err := a.put(s.sink, out); err != nil {
		a.router.countLost(LossOf(err))
		a.localNotes |= noteMissed
		return
	}
	a.localNotes |= noteHanded
}

// noteAbsent notes that somebody who was to get the message is not here.
func (a *Answer) noteAbsent(why Notes) {
	a.localNotes |= why
	if n := &a.root.notes; Notes(n.Load()).Absent() < 1<<15 { // far from overflowing, whoever else counts
		n.Add(uint32(oneAbsent))
	}
}

// put gives a message to a receiver. If that panics, only this delivery fails.
func (a *Answer) put(to Sink, out *Message) (err error) {
	defer func() {
		if p := recover(); p != nil {
			a.router.reportPanic("a receiver has a bug: it panicked", out.Type, p)
			err = new(sinkPanic)
		}
	}()
	return to.Put(out)
}

// A sinkPanic is the error of a delivery whose Sink panicked.
type sinkPanic struct{}

func (*sinkPanic) Error() string { return "the hub has a bug in a receiver: its log says more" }
func (*sinkPanic) Unwrap() error { return ErrHandler }

// countDelivery counts the outcome of one delivery. The message does not fail if a
// receiver has just gone, is too slow or may not receive the type; its sender gets a note.
// It fails if the receiver can never take it: its data cannot be converted, or is too long.
func (a *Answer) countDelivery(err error) {
	a.router.count(a.m.Batch, countHanded)
	if err == nil {
		a.localNotes |= noteHanded
		return
	}
	loss := LossOf(err)
	a.router.countLost(loss)
	switch loss {
	case LossEncoding, LossTooLong, LossBug:
		a.setError(err)
	case LossDisconnected:
		a.noteAbsent(NoteReceiverAbsent)
	case LossDenied:
		a.localNotes |= NoteDenied
	default:
		a.localNotes |= NoteFull
	}
}

// sendToServer sends to another server. The root waits for the server's receipt.
func (a *Answer) sendToServer(out *Message, to Address) {
	sink := a.router.directory.Server(to.Server)
	if sink == nil {
		a.router.count(a.m.Batch, countHanded)
		a.router.countLost(LossServer)
		a.setError(Reason(ErrUnknownServer, "no server %q: want a name from the config, or host:port", to.Server))
		return
	}
	a.router.count(a.m.Batch, countHanded)
	a.to[0] = to
	out.To, out.Receipt = a.to[:], (*serverReceipt)(a.root)
	a.root.addPending()
	if err := a.put(sink, out); err != nil {
		a.router.countLost(lossOfServer(err))
		a.setError(err)
		a.root.pending.Add(-1) // it does not reach 0: this answer is still pending
	} else {
		a.router.count(a.m.Batch, countToServers)
		a.localNotes |= noteHanded
	}
	out.To, out.Receipt = nil, nil
}

// serverReceipt is a root as the Receipt of the messages it sent to servers.
type serverReceipt Answer

func (c *serverReceipt) Done(m *Message, err error) {
	root := (*Answer)(c)
	switch {
	case err != nil:
		root.router.countLost(LossServer)
		root.router.count(m.Batch, countServersFailed)
		root.setError(err)
		root.router.reportHops(m, err)
	case m.Notes&NoteUnconfirmed != 0:
		root.router.count(m.Batch, countUnconfirmed)
		root.notes.Or(uint32(NoteUnconfirmed))
	default:
		root.router.count(m.Batch, countConfirmed)
	}
	root.donePending(m.Batch)
}
