package session

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/wire"
)

// A peer is one connection, frame by frame.
type peer struct {
	net.Conn
	t  testing.TB
	in *bformat.Reader

	written int // bytes

	missed int      // deliveries that gaps have told of
	gaps   []string // which next describes and leaves out
}

func (h *running) peer(t testing.TB, network, address string) *peer {
	t.Helper()
	var c net.Conn
	var err error
	if network == "tls" {
		c, err = tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
	} else {
		c, err = net.Dial(network, address)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return &peer{Conn: c, t: t, in: bformat.NewReader(c, 0)}
}

// Write counts what it writes.
func (p *peer) Write(b []byte) (int, error) {
	n, err := p.Conn.Write(b)
	p.written += n
	return n, err
}

// native logs a user in on the trusting socket.
func (h *running) native(t testing.TB, user string) *peer {
	t.Helper()
	return h.as(t, &wire.Hello{Role: wire.RoleClient, User: user})
}

// as sends a hello on the trusting socket, or, with a password, on the other one.
func (h *running) as(t testing.TB, hello *wire.Hello) *peer {
	t.Helper()
	path := h.unix
	if hello.Password != "" {
		path = h.closed
	}
	p := h.peer(t, "unix", path)
	p.hello(hello)
	if got := p.next(); !strings.HasPrefix(got, "hello") {
		t.Fatalf("%s %q: got %s", hello.Role, hello.User, got)
	}
	return p
}

// classic logs a user in with the password "p".
func (h *running) classic(t testing.TB, user string) *peer {
	t.Helper()
	p := h.peer(t, "unix", h.closed)
	p.text(classicLogin(user, "p"))
	p.want(classicIn)
	return p
}

const classicIn = `{"header":{"messageType":"statusReport","status":"good"},"payload":{"id":"auth_special"}}`

func classicLogin(user, password string) string {
	return fmt.Sprintf(`{"header":{"scope":"client","authentication":{"username":%q,"password":%q}}}`, user, password)
}

func classicMessage(typ, id, data string) string {
	return fmt.Sprintf(`{"header":{},"payload":{"type":%q,"id":%q,"data":%s}}`, typ, id, data)
}

func classicGood(id string) string {
	return fmt.Sprintf(`{"header":{"messageType":"statusReport","status":"good"},"payload":{"id":%q}}`, id)
}

func classicBad(id, reason string) string {
	return fmt.Sprintf(`{"header":{"messageType":"statusReport","status":"bad","reason":%q},"payload":{"id":%q}}`, reason, id)
}

func received(typ, data string) string {
	return fmt.Sprintf(`{"header":{"messageType":"receivedMessage"},"payload":{"data":%s,"type":%q}}`, data, typ)
}

// frames sends payloads in one write.
func (p *peer) frames(payloads ...[]byte) {
	p.t.Helper()
	var b []byte
	for _, f := range payloads {
		b = bformat.Append(b, f)
	}
	if _, err := p.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) text(frames ...string) {
	p.t.Helper()
	var all [][]byte
	for _, f := range frames {
		all = append(all, []byte(f))
	}
	p.frames(all...)
}

func (p *peer) hello(h *wire.Hello) {
	p.t.Helper()
	if h.Version == 0 {
		h.Version = wire.Version
	}
	p.frames(wire.AppendHello(nil, h))
}

// send sends one message, whose data is JSON, under a tag.
func (p *peer) send(tag uint64, typ hub.Type, data string, to ...hub.UserName) {
	p.t.Helper()
	p.frames(sent(tag, typ, data, to...))
}

func sent(tag uint64, typ hub.Type, json string, to ...hub.UserName) []byte {
	m := hub.Message{Type: typ, Data: data(json)}
	for _, u := range to {
		m.To = append(m.To, hub.Address{User: u})
	}
	b, err := wire.AppendMessage(nil, tag, wire.KindSend, &m)
	if err != nil {
		panic(err)
	}
	return b
}

// next reads a frame and describes it: "status 1: good", "deliver 0: type from data",
// the text of a classic frame, or "end" when the connection has ended.
func (p *peer) next() string {
	p.t.Helper()
	f, err := p.in.Next()
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		p.t.Fatal("nothing came")
	case err != nil:
		return "end"
	case len(f) == 0 || strings.HasPrefix(string(f), `{"`):
		return string(f)
	}
	s, err := describe(f)
	if err != nil {
		p.t.Fatalf("frame %q: %v", f, err)
	}
	var n int
	if _, err := fmt.Sscanf(s, "gap %d:", &n); err == nil {
		p.missed += n
		p.gaps = append(p.gaps, s)
		return p.next()
	}
	return s
}

func describe(f []byte) (string, error) {
	tag, kind, body, err := wire.Cut(f)
	if err != nil {
		return "", err
	}
	switch kind {
	case wire.KindHello:
		h, err := wire.ParseHello(body)
		return fmt.Sprintf("hello %+v", h), err
	case wire.KindGap:
		n, why, err := wire.ParseGap(body)
		return fmt.Sprintf("gap %d: %s", n, why), err
	case wire.KindDeliver:
		var d wire.Decoder
		var m hub.Message
		if err := d.Message(body, &m); err != nil {
			return "", err
		}
		json, err := wire.AppendJSON(nil, m.Data)
		return fmt.Sprintf("deliver %d: %s %s %s", tag, m.Type, m.From, json), err
	case wire.KindStatus:
		if err := wire.ParseStatus(body); err != nil {
			return fmt.Sprintf("status %d: %v", tag, err), nil
		}
		return fmt.Sprintf("status %d: good", tag), nil
	case wire.KindGoodbye:
		why, err := wire.ParseGoodbye(body)
		return "goodbye: " + why, err
	}
	return fmt.Sprintf("kind %d under tag %d", kind, tag), nil
}

// want reads as many frames as are wanted.
func (p *peer) want(frames ...string) {
	p.t.Helper()
	for _, want := range frames {
		if got := p.next(); got != want {
			p.t.Fatalf("got  %s\nwant %s", got, want)
		}
	}
}

// wantIn reads a frame that contains each of the texts.
func (p *peer) wantIn(texts ...string) {
	p.t.Helper()
	got := p.next()
	for _, text := range texts {
		if !strings.Contains(got, text) {
			p.t.Fatalf("got %s\nwithout %q", got, text)
		}
	}
}

// lives checks that the session still answers.
func (p *peer) lives() {
	p.t.Helper()
	p.frames(wire.AppendPing(nil, 65535))
	p.want("status 65535: good")
}

func (p *peer) halfClose() {
	p.t.Helper()
	if err := p.Conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		p.t.Fatal(err)
	}
}

func helloSendOnly(user string) *wire.Hello {
	return &wire.Hello{Role: wire.RoleClient, User: user, SendOnly: true}
}
