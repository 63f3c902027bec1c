package session

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/account"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/wire"
)

// isNative reports whether a connection's first frame is in the native dialect. That opens
// with a hello under tag 0, and JSON never begins with a zero byte.
func isNative(first []byte) bool { return len(first) > 0 && first[0] == 0 }

// A native is a session in the native dialect. The way of one message through it:
//
//  1. readLoop reads a frame from the connection and splits off tag and kind.
//  2. send decodes it, checks the sender's permissions and puts it into the router.
//  3. Done, perhaps much later, queues the status under the message's tag.
//  4. Put queues a message for the user: a delivery under tag 0, or a reply. From the
//     second delivery of one burst on, deliveries are staged first.
type native struct {
	session
	decoder  wire.Decoder
	message  hub.Message // the one being read
	maxFrame int         // bytes of the longest payload that the peer takes; 0: any
}

// begin authenticates a peer by its hello and returns its session. If the peer is rejected,
// begin tells it why and returns nil.
func (n *native) begin(first []byte) func() {
	hello, err := n.hello(first)
	if err != nil {
		n.refuse(err, "hello")
		n.reject(err)
		return nil
	}
	if err := n.shrinkInput(); err != nil {
		n.reject(err)
		return nil
	}
	if err := n.authenticate(hello); err != nil {
		n.reject(err)
		return nil
	}
	if err := n.server.countSession(&n.session); err != nil {
		n.reject(err)
		return nil
	}
	n.role = hello.Role
	if hello.Role == wire.RoleHandler {
		return func() { n.handOff(hello) }
	}
	n.credits, n.maxFrame = n.limits.Credits, hello.MaxFrame
	n.putHello(hello.Token)
	n.scheduleFlush(&n.batch)
	var self receiver
	if n.role == wire.RoleClient {
		n.out.TellGaps(appendGap)
		if n.sendOnly = hello.SendOnly; !n.sendOnly {
			self, n.subscriptions.sink, n.onPermissions = n, n, n.permissionsChanged
		}
	}
	return func() { n.run(self, n.readLoop) }
}

// putHello queues the hub's hello: the answer to the peer's or, to a client, one that tells
// it that its permissions have changed.
func (n *native) putHello(token string) {
	n.queueError(n.out.Put(bformat.Required, wire.AppendHello(nil, &wire.Hello{
		Version: wire.Version, Role: wire.RoleHub, Name: n.server.o.Hub, Token: token,
		Types: n.receives(), Credits: n.limits.Credits, MaxFrame: n.limits.MaxFrame,
	})))
}

// receives returns the list of types that a client's account may receive, for the hello.
// The list is empty if the account may receive nothing, and nil if it would be long.
func (n *native) receives() []string {
	const long = 1024 // bytes
	if n.role != wire.RoleClient {
		return nil
	}
	all, size := []string{}, 0
	for _, p := range n.account.Load().Permissions().Receive {
		all = append(all, string(p))
		size += len(p)
	}
	if size > long || len(all) > long/8 {
		return nil
	}
	return all
}

// hello parses the first frame.
func (n *native) hello(first []byte) (*wire.Hello, error) {
	tag, kind, body, err := wire.Cut(first)
	if err != nil {
		return nil, err
	}
	if tag != 0 || kind != wire.KindHello {
		return nil, fmt.Errorf("%w: the first frame is of kind %d under tag %d, want a hello under tag 0", wire.ErrMalformed, kind, tag)
	}
	return wire.ParseHello(body)
}

// authenticate checks the name with the token or password in a hello, or the peer
// credentials, and whether the account may have that role. It sets h.Token to the token for
// the peer's next login.
func (n *native) authenticate(h *wire.Hello) (err error) {
	if h.Version != wire.Version {
		return n.denied(h, fmt.Errorf("%w: version %d of the native dialect; this hub speaks version %d", hub.ErrDenied, h.Version, wire.Version))
	}
	if h.Role == wire.RoleHandler && h.Name == "" {
		h.Name = strings.Join(h.Types, ",") // its only name from here on
	}
	if n.mayUsePeerCredentials && h.Password == "" {
		if h.User == "" && h.Role == wire.RoleHandler {
			h.User = h.Name // no message is ever sent to this name
		} else if why := account.NameProblem(h.User); why != "" {
			return n.denied(h, fmt.Errorf("%w: %s", hub.ErrDenied, why))
		}
		n.usedPeerCredentials = true
		n.setAccount(account.Unrestricted(hub.UserName(h.User)), h.User)
		h.Token = ""
	} else if h.Token, err = n.login(h.User, h.Password, h.Token); err != nil {
		return err
	}
	a := n.account.Load()
	switch h.Role {
	case wire.RoleClient:
	case wire.RoleServer:
		if !a.MayPeer() {
			return n.denied(h, fmt.Errorf("%w: account %q may not connect as a server: bester account allow --peer %s", hub.ErrDenied, h.User, h.User))
		}
	case wire.RoleHandler:
		if n.server.o.Handler == nil {
			return n.denied(h, fmt.Errorf("%w: this hub takes no handlers", hub.ErrDenied))
		}
		if err := n.server.mayHandle(a, h.Name, h.Types); err != nil {
			return n.denied(h, err)
		}
	default:
		return n.denied(h, fmt.Errorf("%w: unknown role %q: want client, server or handler", hub.ErrDenied, h.Role))
	}
	return nil
}

// denied counts and logs that a hello is refused.
func (n *native) denied(h *wire.Hello, err error) error {
	n.server.stats.denied.Add(1)
	n.warn(&n.server.logLimiters.hello, "hello refused", slog.String("user", triedName(h.User)), slog.Any("err", err))
	return err
}

// reject tells a peer that is not let in why, as far as it may know, and closes.
func (n *native) reject(err error) {
	n.startWriter()
	n.out.Put(bformat.Required, wire.AppendStatus(nil, 0, err))
	n.flushAndLinger()
}

// handOff hands the connection of a handler process to Options.Handler.
func (n *native) handOff(h *wire.Hello) {
	n.in.SetLimit(n.limits.MaxFrame)
	n.conn.SetDeadline(time.Time{})
	n.serves, n.handler = h.Types, h.Name
	if err := n.server.handOff(&n.session); err != nil {
		n.reject(fmt.Errorf("%w: %v", hub.ErrClosed, err))
		return
	}
	n.recheck() // the account may have changed since the login
	hs := HandlerConn{Conn: n.conn, In: n.in, Hello: h, Account: n.account.Load()}
	if !n.usedPeerCredentials {
		hs.Rights = n
	}
	n.server.o.Handler(hs)
}

// readLoop reads frames until the input ends.
func (n *native) readLoop() error {
	n.clearMessage = func() { n.message.Data = hub.Data{} } // it may be large
	n.in.SetIdle(n.endBurst)
	for {
		frame, err := n.nextFrame()
		if why := n.endReason.Load(); why != nil {
			n.endFrame(wire.AppendGoodbye(n.beginFrame(&n.batch), (*why).Error()), bformat.Required, &n.batch)
			n.batch.Flush()
			return *why
		}
		if err != nil {
			return n.inputError(err)
		}
		tag, kind, body, err := wire.Cut(frame)
		if err != nil {
			return n.malformed(err)
		}
		switch kind {
		case wire.KindSend:
			err = n.send(tag, body)
		case wire.KindSubscribe:
			n.subscribe(tag, body)
		case wire.KindUnsubscribe:
			n.unsubscribe(tag, body)
		case wire.KindPing:
			if tag != 0 {
				n.status(tag, nil, &n.batch)
			}
		case wire.KindGoodbye:
			return nil
		}
		// Unknown kinds are skipped.
		if err == errClose {
			return err
		}
		if err != nil {
			return n.malformed(err)
		}
	}
}

// send puts one message into the hub.
func (n *native) send(tag uint64, body []byte) error {
	m := &n.message // fields that are not set here and below stay zero
	if err := n.decoder.Message(body, m); err != nil {
		return err
	}
	n.received++
	m.Receipt, m.Tag, m.Batch, m.Retained = n, tag, &n.batch, false
	if m.Time.IsZero() {
		m.Time = n.batchTime()
	}
	n.limitRate(len(body))
	n.acquireCredit()
	var err error
	switch {
	case n.role == wire.RoleServer:
		err = n.fromServer(m)
	case m.Type == "builtin":
		return n.builtin(m)
	case m.Type == "dummy":
	default:
		err = n.fromClient(m)
	}
	if err != nil || m.Type == "dummy" { // the router has not taken m, so it will not call Done
		n.Done(m, err)
	}
	return nil
}

func (n *native) fromClient(m *hub.Message) error {
	m.From, m.ID, m.Hops, m.Reach = hub.Address{User: n.name}, hub.ID{}, 0, n
	if err := n.checkSend(m.Type); err != nil {
		return err
	}
	return n.server.o.Router.Put(m)
}

// builtin acts on a message to the hub itself.
func (n *native) builtin(m *hub.Message) error {
	reply, closes, err := n.session.builtin(m.Data)
	if closes {
		n.releaseCredit(m.Batch)
		return errClose
	}
	if reply != nil {
		err = n.put(&hub.Message{Type: m.Type, Tag: m.Tag, Data: hub.Data{Encoding: hub.JSON, Bytes: reply}, Batch: m.Batch}, bformat.Required)
	}
	n.Done(m, err)
	return nil
}

// fromServer puts a message from another hub into the router, for users here or a handler.
func (n *native) fromServer(m *hub.Message) error {
	n.checkOrigin(m)
	if err := n.checkSend(m.Type); err != nil {
		return err
	}
	m.Reach = n
	m.Hops++ // from one hub to another
	if len(m.To) > 0 {
		return n.server.o.Router.Deliver(m)
	}
	return n.server.o.Router.Put(m)
}

// Done queues the status of a message of this session, unless it was sent under tag 0,
// which requests none.
func (n *native) Done(m *hub.Message, err error) {
	if m.Tag != 0 {
		if err == nil && m.Notes != 0 {
			n.endFrame(wire.AppendGood(n.beginFrame(m.Batch), m.Tag, m.Notes.String()), bformat.Required, m.Batch)
		} else {
			n.status(m.Tag, err, m.Batch)
		}
	}
	n.releaseCredit(m.Batch)
}

func (n *native) status(tag uint64, err error, b *hub.Batch) {
	n.endFrame(wire.AppendStatus(n.beginFrame(b), tag, err), bformat.Required, b)
}

// Put queues m for the session's user. Nil means that m is in the send queue or the stage
// before it, in memory, where a delivery may still be lost and counted if the user does not
// read. A reply to a message with a tag is not dropped, but refused with hub.ErrFull if
// too many wait. If the user misses a delivery, a gap tells it.
func (n *native) Put(m *hub.Message) error {
	if m.Tag != 0 {
		return n.refused(n.put(m, bformat.RequiredDelivery))
	}
	if !n.account.Load().MayReceive(m.Type) {
		return n.refused(hub.ErrDenied)
	}
	if class := bformat.Droppable(m.SenderHash()); len(m.Data.Bytes) >= bformat.MaxStaged/4 || !n.shouldStage(m.Batch) {
		return n.refused(n.put(m, class))
	} else if b, err := n.deliver(n.stage.Begin(), m); err == nil {
		return n.refused(n.stageError(n.stage.End(b, class)))
	} else {
		n.flushStage()
		n.miss(err, m.Batch)
		return n.refused(err)
	}
}

// put queues m itself, without the stage.
func (n *native) put(m *hub.Message, class bformat.Class) error {
	b := n.beginFrame(m.Batch)
	if m.Tag != 0 && len(b) > n.limits.QueueBytes {
		n.out.Cancel() // the user does not read; the status tells the sender to try again
		return errTooManyReplies
	}
	b, err := n.deliver(b, m)
	if err != nil {
		n.out.Cancel()
		if m.Tag == 0 {
			n.miss(err, m.Batch)
		}
		return err
	}
	return n.endFrame(b, class, m.Batch)
}

// deliver appends m as a deliver frame, unless it is longer than the peer's frame limit.
func (n *native) deliver(dst []byte, m *hub.Message) ([]byte, error) {
	b, err := wire.AppendMessage(dst, m.Tag, wire.KindDeliver, m)
	if size := len(b) - len(dst); err == nil && n.maxFrame > 0 && size > n.maxFrame {
		err = fmt.Errorf("%w: %d bytes are more than the %d that %q takes", hub.ErrTooLong, size, n.maxFrame, n.name)
	}
	return b, err
}

// inputError returns the error that the session ends with after an error of the input.
func (n *native) inputError(err error) error {
	if inputEnded(err) {
		return err
	}
	switch {
	case isTooLong(err):
		n.server.stats.tooLong.Add(1)
		return n.reportMalformed(err)
	case errors.Is(err, bformat.ErrMemory):
		n.noMemory(err)
		n.status(0, fmt.Errorf("%w: %v", hub.ErrFull, err), &n.batch)
		n.batch.Flush()
		return &reportedError{err}
	}
	return err
}

func (n *native) malformed(err error) error {
	n.server.stats.malformed.Add(1)
	return n.reportMalformed(err)
}

// reportMalformed logs and tells the peer that its session ends because of what it sent.
func (n *native) reportMalformed(err error) error {
	n.warnMalformed(err)
	if !errors.Is(err, wire.ErrMalformed) {
		err = fmt.Errorf("%w: %v", wire.ErrMalformed, err)
	}
	n.status(0, err, &n.batch)
	n.batch.Flush()
	return &reportedError{err}
}
