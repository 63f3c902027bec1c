package client

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/tristanable"
	"github.com/besterhub/bester/hub/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testTimeout = time.Minute

// A fakeHub is the hub's end of a connection. It has not read the hello yet.
type fakeHub struct {
	net.Conn
	t  *testing.T
	in *bformat.Reader
}

// startFakeHub starts a hub that runs do on its one connection, and returns the path of
// its socket.
func startFakeHub(t *testing.T, do func(s *fakeHub)) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan bool)
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(testTimeout))
		do(&fakeHub{c, t, bformat.NewReader(c, 0)})
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return path
}

// connect logs in at a fake hub that sends its hello, with 3 credits and frames of 10 kB,
// and then runs do.
func connect(t *testing.T, deliver func(*hub.Message), do func(s *fakeHub)) *Client {
	t.Helper()
	path := startFakeHub(t, func(s *fakeHub) {
		s.read()
		s.hello()
		do(s)
	})
	c, err := Dial(t.Context(), "unix", path, Options{User: "ann", Deliver: deliver})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		defer cancel()
		c.Close(ctx)
	})
	return c
}

func (s *fakeHub) hello() {
	s.write(wire.AppendHello(nil, &wire.Hello{Version: wire.Version, Role: wire.RoleHub, Name: "fake", Credits: 3, MaxFrame: 10_000}))
}

// read returns the next frame's tag and the rest of it, or 0 and nil at the end.
func (s *fakeHub) read() (tag uint64, message []byte) {
	f, err := s.in.Next()
	if err != nil {
		return 0, nil
	}
	tag, message, err = tristanable.Cut(f)
	if err != nil {
		s.t.Errorf("the client sent %q", f)
	}
	return tag, message
}

// serve calls answer for each send, until the client says goodbye.
func (s *fakeHub) serve(answer func(tag uint64, m *hub.Message)) {
	var d wire.Decoder
	for {
		tag, rest := s.read()
		kind, body, err := wire.CutKind(rest)
		if err != nil || kind == wire.KindGoodbye {
			return
		}
		if kind == wire.KindPing {
			s.write(wire.AppendStatus(nil, tag, nil))
			continue
		}
		var m hub.Message
		if err := d.Message(body, &m); err != nil {
			s.t.Errorf("the client sent %q: %v", body, err)
			return
		}
		answer(tag, &m)
	}
}

func (s *fakeHub) write(payload []byte) { s.Write(bformat.Append(nil, payload)) }

func (s *fakeHub) deliver(tag uint64, typ hub.Type, json string) {
	b, err := wire.AppendMessage(nil, tag, wire.KindDeliver, &hub.Message{Type: typ, Data: data(json)})
	if err != nil {
		s.t.Error(err)
	}
	s.write(b)
}

func data(json string) hub.Data { return hub.Data{Encoding: hub.JSON, Bytes: []byte(json)} }

func text(m *hub.Message) string {
	b, err := wire.AppendJSON(nil, m.Data)
	return fmt.Sprintf("%s %s %v", m.Type, b, err)
}

func message(typ hub.Type) *hub.Message { return &hub.Message{Type: typ, Data: data("1")} }

func (s *fakeHub) status(tag uint64, err error) { s.write(wire.AppendStatus(nil, tag, err)) }
