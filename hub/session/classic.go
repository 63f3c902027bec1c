package session

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/wire"
)

// A classic is a session in the dialect of the original: JSON over bformat, one
// message after the other, each with one status after its deliveries.
type classic struct {
	session
	decoder  wire.Decoder
	message  wire.ClassicMessage // the one being read
	id       []byte              // the sender's id of the message in flight, verbatim
	orderKey uint64              // of its messages: each connection has its own order, as in the original
}

// begin authenticates a peer whose first frame is JSON and returns its session. If the peer
// is rejected, begin tells it why and returns nil.
func (c *classic) begin(first []byte) func() {
	c.credits = 1
	c.orderKey = c.server.orderKeys.Add(1)
	f, err := wire.ParseClassicFirst(first, &c.decoder)
	c.role = f.Scope
	if f.Scope == wire.RoleServer {
		return c.beginServer(f.Message, err)
	}
	if err != nil {
		c.refuse(err, "first frame")
		c.reject(nil, err)
		return nil
	}
	if f.User == "" || f.Password == "" {
		c.server.stats.denied.Add(1)
		c.reject(wire.ClassicAuthID, fmt.Errorf("%w: a user name and a password are needed", hub.ErrDenied))
		return nil
	}
	if err := c.shrinkInput(); err != nil {
		c.reject(wire.ClassicAuthID, err)
		return nil
	}
	if _, err := c.login(f.User, f.Password, ""); err != nil {
		c.reject(wire.ClassicAuthID, err)
		return nil
	}
	if err := c.server.countSession(&c.session); err != nil {
		c.reject(wire.ClassicAuthID, err)
		return nil
	}
	c.status(wire.ClassicAuthID, nil, &c.batch)
	return func() { c.run(c, c.readLoop) }
}

// reject tells a peer that is not let in as much as it may know, and closes.
func (c *classic) reject(id []byte, err error) {
	c.startWriter()
	c.status(id, err, nil)
	c.flushAndLinger()
}

// readLoop reads frames until the input ends. It handles a message only after the previous
// one has been answered.
func (c *classic) readLoop() error {
	c.clearMessage = func() { c.message = wire.ClassicMessage{} } // it may be large
	c.in.SetIdle(c.endBurst)
	for {
		frame, err := c.nextFrame()
		if why := c.endReason.Load(); why != nil {
			if *why == errReclaimed {
				return c.reportEnd(fmt.Errorf("%w: %v", hub.ErrFull, errReclaimed))
			}
			if *why == errStalled {
				return c.reportEnd(fmt.Errorf("%w: %v", wire.ErrMalformed, errStalled))
			}
			return *why
		}
		if err != nil {
			return c.inputError(err)
		}
		c.acquireCredit()
		if err := c.handle(frame); err != nil {
			return err
		}
	}
}

// replyTag tells a reply from a message that others send to the user.
const replyTag = 1

// handle acts on one frame of a client. Its error ends the session.
func (c *classic) handle(frame []byte) error {
	m := &c.message
	err := wire.ParseClassicMessage(frame, &c.decoder, m)
	c.id = append(c.id[:0], m.ID...)
	switch {
	case errors.Is(err, hub.ErrNoHandler): // a string that is no valid type
		c.answer(err)
		return nil
	case err != nil:
		return c.malformed(err)
	}
	c.received++
	c.limitRate(len(frame))
	switch m.Type {
	case "dummy":
		c.endFrame(wire.AppendClassicDummy(c.beginFrame(&c.batch), m.ID), bformat.Required, &c.batch)
		c.releaseCredit(&c.batch)
		return nil
	case "builtin":
		return c.builtin(m.Data)
	}
	if err := c.checkSend(m.Type); err != nil {
		c.answer(err)
		return nil
	}
	err = c.server.o.Router.Put(&hub.Message{
		Type: m.Type, From: hub.Address{User: c.name}, Time: time.Now(), Data: m.Data,
		OrderKey: c.orderKey, Receipt: c, Tag: replyTag, Reach: c, Batch: &c.batch,
	})
	if err != nil {
		c.answer(err)
	}
	return nil
}

// Done queues the status of the message in flight.
func (c *classic) Done(m *hub.Message, err error) {
	c.status(c.id, err, m.Batch)
	c.releaseCredit(m.Batch)
}

// answer is Done for a message that the hub has not taken.
func (c *classic) answer(err error) {
	c.status(c.id, err, &c.batch)
	c.releaseCredit(&c.batch)
}

func (c *classic) status(id []byte, err error, b *hub.Batch) {
	c.endFrame(wire.AppendClassicStatus(c.beginFrame(b), id, err), bformat.Required, b)
}

// Put queues m for the session's user. Nil means that m is in the send queue, in memory,
// where a delivery may still be lost and counted if the user does not read. A reply is
// never dropped.
func (c *classic) Put(m *hub.Message) error {
	if m.Tag != 0 {
		return c.refused(c.put(m, bformat.RequiredDelivery))
	}
	if !c.account.Load().MayReceive(m.Type) {
		return c.refused(hub.ErrDenied)
	}
	return c.refused(c.put(m, bformat.Droppable(m.SenderHash())))
}

func (c *classic) put(m *hub.Message, class bformat.Class) error {
	b, err := wire.AppendClassicReceived(c.beginFrame(m.Batch), m)
	if err != nil {
		c.out.Cancel()
		return err
	}
	return c.endFrame(b, class, m.Batch)
}

func (c *classic) builtin(data hub.Data) error {
	reply, closes, err := c.session.builtin(data)
	if closes {
		c.releaseCredit(&c.batch)
		return errClose
	}
	if reply != nil {
		c.put(&hub.Message{Type: "builtin", Tag: replyTag, Data: hub.Data{Encoding: hub.JSON, Bytes: reply}, Batch: &c.batch}, bformat.Required)
	}
	c.answer(err)
	return nil
}

// beginServer begins the session of a classic server, which connects for one message.
// wrong is the error in that message, if any.
func (c *classic) beginServer(m wire.ClassicMessage, wrong error) func() {
	if !c.classicPeerAllowed() {
		c.server.stats.denied.Add(1)
		c.warn(&c.server.logLimiters.peer, "server refused: it is not among the peers", slog.String("remedy", c.remedy()))
		if isHubID(m.ID) {
			c.reject(m.ID, hub.Reason(hub.ErrDenied, "this hub does not list the sender's address among its peers; its log says what to add"))
		}
		return nil
	}
	if wrong != nil {
		if !errors.Is(wrong, hub.ErrNoHandler) {
			c.refuse(wrong, "first frame")
		}
		c.reject(m.ID, wrong)
		return nil
	}
	c.id = append(c.id, m.ID...)
	return func() { c.run(nil, func() error { return c.putServerMessage(&m) }) }
}

// putServerMessage puts a server's message into the hub.
func (c *classic) putServerMessage(m *wire.ClassicMessage) error {
	if c.readAfter != 0 {
		c.beforeBlocking()
		c.waitForRate() // its message has come, whatever becomes of the peer
	}
	c.limitRate(len(m.Data.Bytes))
	c.acquireCredit()
	c.received++
	message := hub.Message{Type: m.Type, To: m.To, Hops: m.Hops + 1, Time: time.Now(), Data: m.Data, OrderKey: c.orderKey, Batch: &c.batch, Receipt: serverReceipt{c}}
	put := c.server.o.Router.Put
	if len(m.To) > 0 {
		put = c.server.o.Router.Deliver
	}
	if err := put(&message); err != nil {
		serverReceipt{c}.Done(&message, err)
	}
	return nil
}

// A serverReceipt is the receipt of a server's one message. Its status is sent only if the
// server gave the message an id.
type serverReceipt struct{ c *classic }

func (o serverReceipt) Done(m *hub.Message, err error) {
	if len(o.c.id) > 0 {
		o.c.status(o.c.id, err, m.Batch)
	}
	o.c.releaseCredit(m.Batch)
}

// remedy tells the operator how to let a server in.
func (c *classic) remedy() string {
	if _, err := netip.ParseAddr(c.host()); err != nil {
		return "let servers in from everywhere with peers.classic in bester.toml, or network.peers in server.conf: only then may one come over a UNIX socket"
	}
	return fmt.Sprintf("add %q to peers.classic in bester.toml, or to network.peers in server.conf", c.host())
}

func (c *classic) inputError(err error) error {
	switch {
	case isTooLong(err):
		c.acquireCredit() // what came before is answered first
		c.server.stats.tooLong.Add(1)
		c.id = c.id[:0]
		return c.reportMalformed(err)
	case errors.Is(err, bformat.ErrMemory):
		c.noMemory(err)
		return c.reportEnd(fmt.Errorf("%w: %v", hub.ErrFull, err))
	}
	return err
}

// reportEnd tells the client why its session ends, if no message is the reason.
func (c *classic) reportEnd(err error) error {
	c.acquireCredit()
	c.id = c.id[:0]
	c.answer(err)
	return &reportedError{err}
}

func (c *classic) malformed(err error) error {
	c.server.stats.malformed.Add(1)
	return c.reportMalformed(err)
}

// reportMalformed logs and tells the client that its session ends because of what it sent.
func (c *classic) reportMalformed(err error) error {
	c.warnMalformed(err)
	c.answer(err)
	return &reportedError{err}
}
