package handlers

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/wire"
)

// A fakeHub is the hub's end of one connection to the kit. To a test it looks like the
// handler that the kit runs: Handle sends the message over the socket, and the kit's answer
// is carried out.
type fakeHub struct {
	t      testing.TB
	conn   net.Conn
	in     *bformat.Reader
	hello  *wire.Hello // the kit's
	frames chan frame  // all but answers
	ended  chan struct{}

	mu       sync.Mutex
	inFlight map[uint64]inFlightMessage // by tag
	last     uint64

	batched *[]byte // if not nil, collects the frames of Handle instead of sending them
}

type inFlightMessage struct {
	a    *hub.Answer
	data hub.Data
}

type frame struct {
	tag  uint64
	kind wire.Kind
	body []byte
}

// pair returns the ends of a UNIX socket connection.
func pair(t testing.TB) (kit, fake net.Conn) {
	t.Helper()
	dir, err := os.MkdirTemp("", "kit")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	kit, err = net.Dial("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	fake, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return kit, fake
}

// newFake reads the kit's hello over c.
func newFake(t testing.TB, c net.Conn) *fakeHub {
	t.Helper()
	f := &fakeHub{t: t, conn: c, in: bformat.NewReader(c, 0), frames: make(chan frame, 100),
		ended: make(chan struct{}), inFlight: make(map[uint64]inFlightMessage)}
	b, err := f.in.Next()
	if err != nil {
		t.Fatal(err)
	}
	tag, kind, body, err := wire.Cut(b)
	if err != nil || tag != 0 || kind != wire.KindHello {
		t.Fatalf("first frame: tag %d kind %d (%v)", tag, kind, err)
	}
	if f.hello, err = wire.ParseHello(body); err != nil {
		t.Fatal(err)
	}
	return f
}

// welcome sends the hub's hello and starts reading.
func (f *fakeHub) welcome() {
	f.write(wire.AppendHello(nil, &wire.Hello{Version: 1, Role: wire.RoleHub, MaxFrame: 100000}))
	go f.read()
}

// serve runs h with the kit over a new connection until the test ends or stop is called.
// stop returns the result of Serve.
func serve(t testing.TB, h hub.Handler, o Options) (f *fakeHub, stop func() error) {
	t.Helper()
	leaks := goleak.IgnoreCurrent()
	kit, fake := pair(t)
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- Serve(ctx, kit, h, []string{"reading/#"}, o) }()
	f = newFake(t, fake)
	f.welcome()
	stop = sync.OnceValue(func() error {
		cancel()
		err := <-result
		fake.Close()
		<-f.ended
		return err
	})
	t.Cleanup(func() {
		stop()
		goleak.VerifyNone(t, leaks)
	})
	return f, stop
}

func (f *fakeHub) write(payload []byte) {
	if _, err := f.conn.Write(bformat.Append(nil, payload)); err != nil && !errors.Is(err, net.ErrClosed) {
		f.t.Error(err)
	}
}

// read carries out answers. After a goodbye it closes the connection, as the hub does, once
// no message is in flight.
func (f *fakeHub) read() {
	defer close(f.ended)
	defer f.in.Release()
	defer f.conn.Close()
	var d wire.Decoder
	bye := false
	for {
		b, err := f.in.Next()
		if err != nil {
			return
		}
		tag, kind, body, err := wire.Cut(b)
		if err != nil {
			f.t.Error(err)
			return
		}
		if kind == wire.KindAnswer {
			f.answer(tag, body, &d)
		} else {
			f.frames <- frame{tag, kind, append([]byte(nil), body...)}
		}
		bye = bye || kind == wire.KindGoodbye
		f.mu.Lock()
		idle := len(f.inFlight) == 0
		f.mu.Unlock()
		if bye && idle {
			return
		}
	}
}

func (f *fakeHub) answer(tag uint64, body []byte, d *wire.Decoder) {
	f.mu.Lock()
	o, ok := f.inFlight[tag]
	delete(f.inFlight, tag)
	f.mu.Unlock()
	if !ok {
		f.t.Errorf("an answer under tag %d, which no message has", tag)
		return
	}
	reply, err := d.Answer(body)
	o.a.Resume(nil)
	if err == nil {
		for _, c := range reply.Commands {
			if c.Verb == hub.Pass && c.Data.Bytes == nil {
				c.Data = o.data
			}
			o.a.Do(c)
		}
		if reply.Reason != "" {
			err = errors.New(reply.Reason)
		}
	}
	o.a.Done(err)
}

// Handle sends m to the kit.
func (f *fakeHub) Handle(m *hub.Message, a *hub.Answer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	payload, err := wire.AppendMessage(nil, f.last, wire.KindHandle, m)
	if err != nil {
		a.Done(err)
		return
	}
	f.inFlight[f.last] = inFlightMessage{a, hub.Data{Encoding: m.Data.Encoding, Bytes: append([]byte(nil), m.Data.Bytes...)}}
	a.Detach()
	if f.batched != nil {
		*f.batched = bformat.Append(*f.batched, payload)
		return
	}
	f.write(payload)
}

// raw sends a frame of any kind.
func (f *fakeHub) raw(tag uint64, kind wire.Kind, body string) {
	f.write(append(append(binary.LittleEndian.AppendUint64(nil, tag), byte(kind)), body...))
}

func contains(s, part string) bool { return strings.Contains(s, part) }

func message(from string, n int, data string) *hub.Message {
	return &hub.Message{
		Type: "reading/a", From: hub.Address{User: hub.UserName(from)}, ID: hub.ID{Origin: "test", Number: uint64(n)},
		Data: hub.Data{Encoding: hub.JSON, Bytes: []byte(data)},
	}
}
