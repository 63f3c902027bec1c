package link

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/hubtest"
	"github.com/besterhub/bester/hub/wire"
)

// A peer is a native handler that does just what the test says.
type peer struct {
	t    testing.TB
	conn net.Conn
	in   *bformat.Reader
	dec  wire.Decoder
	hub  *wire.Hello // the hub's
}

// dial connects a peer, which says its hello and nothing more.
func (h *testHub) dial(hello wire.Hello) *peer {
	h.t.Helper()
	c, err := net.Dial("unix", h.socket)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { c.Close() })
	hello.Version, hello.Role = wire.Version, wire.RoleHandler
	p := &peer{t: h.t, conn: c, in: bformat.NewReader(c, 0)}
	c.SetReadDeadline(time.Now().Add(hubtest.WaitTimeout))
	p.write(wire.AppendHello(nil, &hello))
	return p
}

// peer connects a peer and waits for the hub's hello.
func (h *testHub) peer(hello wire.Hello) *peer {
	h.t.Helper()
	p := h.dial(hello)
	_, kind, body := p.next()
	if kind != wire.KindHello {
		h.t.Fatalf("got kind %d, want the hub's hello", kind)
	}
	var err error
	if p.hub, err = wire.ParseHello(body); err != nil {
		h.t.Fatal(err)
	}
	return p
}

func (p *peer) write(payload []byte) {
	p.t.Helper()
	if _, err := p.conn.Write(bformat.Append(nil, payload)); err != nil {
		p.t.Fatal(err)
	}
}

// next returns the next frame.
func (p *peer) next() (tag uint64, kind wire.Kind, body []byte) {
	p.t.Helper()
	frame, err := p.in.Next()
	if err != nil {
		p.t.Fatalf("next frame: %v", err)
	}
	if tag, kind, body, err = wire.Cut(frame); err != nil {
		p.t.Fatal(err)
	}
	return tag, kind, body
}

// handle returns the next message.
func (p *peer) handle() (tag uint64, m hub.Message) {
	p.t.Helper()
	tag, kind, body := p.next()
	if kind != wire.KindHandle {
		p.t.Fatalf("got kind %d, want a handle", kind)
	}
	if err := p.dec.Message(body, &m); err != nil {
		p.t.Fatal(err)
	}
	m.Data.Bytes = append([]byte(nil), m.Data.Bytes...)
	return tag, m
}

// reply answers the message under tag with its own data and a word.
func (p *peer) reply(tag uint64, word string) {
	p.t.Helper()
	var e wire.AnswerEncoder
	e.Begin(nil, tag)
	e.Command(&hub.Command{Verb: hub.Reply, Data: hub.Data{Encoding: hub.JSON, Bytes: []byte(`"` + word + `"`)}})
	p.write(e.End(nil))
}

// pass answers without data.
func (p *peer) pass(tag uint64) {
	p.t.Helper()
	var e wire.AnswerEncoder
	e.Begin(nil, tag)
	e.Command(&hub.Command{Verb: hub.Pass})
	p.write(e.End(nil))
}

// silent checks that the hub has sent nothing: the answer to a ping comes first.
func (p *peer) silent() {
	p.t.Helper()
	const ping = 1 << 40
	p.write(wire.AppendPing(nil, ping))
	if tag, kind, _ := p.next(); tag != ping || kind != wire.KindStatus {
		p.t.Errorf("got kind %d under tag %d, want nothing before the answer to a ping", kind, tag)
	}
}

// closed checks that the hub closes, and returns the last frames' kinds.
func (p *peer) closed() (kinds []wire.Kind) {
	p.t.Helper()
	for {
		frame, err := p.in.Next()
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, errReset) {
				p.t.Errorf("got %v, want the end of the connection", err)
			}
			return kinds
		}
		_, kind, _, _ := wire.Cut(frame)
		kinds = append(kinds, kind)
	}
}

// listen changes the backlog of a listening socket.
func listen(fd, backlog int) { syscall.Listen(fd, backlog) }
