package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/tristanable"
	"github.com/besterhub/bester/hub/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// A script is the hub's end of a connection. The hello has not been read.
type script struct {
	net.Conn
	t  *testing.T
	in *bformat.Reader
}

// play starts a hub that does as the script says with its one connection, and returns
// where it listens.
func play(t *testing.T, do func(s *script)) (path string) {
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
		c.SetDeadline(time.Now().Add(patience))
		do(&script{c, t, bformat.NewReader(c, 0)})
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return path
}

// connect logs in at a hub that says hello, with credits 3 and frames of 10 kB, and then
// does as the script says.
func connect(t *testing.T, deliver func(*hub.Message), do func(s *script)) *Client {
	t.Helper()
	path := play(t, func(s *script) {
		s.read()
		s.hello()
		do(s)
	})
	c, err := Dial(t.Context(), "unix", path, Options{User: "ann", Deliver: deliver})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		c.Close(ctx)
	})
	return c
}

func (s *script) hello() {
	s.write(wire.AppendHello(nil, &wire.Hello{Version: wire.Version, Role: wire.RoleHub, Name: "fake", Credits: 3, Frame: 10_000}))
}

// read returns the next frame's tag and what follows, or 0 and nil at the end.
func (s *script) read() (tag uint64, message []byte) {
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

// serve answers each send as the function says, until the client says goodbye.
func (s *script) serve(answer func(tag uint64, m *hub.Message)) {
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

func (s *script) write(payload []byte) { s.Write(bformat.Append(nil, payload)) }

func (s *script) deliver(tag uint64, typ hub.Type, json string) {
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

func TestHelloSaysWhoAndAs(t *testing.T) {
	got := make(chan *wire.Hello, 1)
	path := play(t, func(s *script) {
		_, rest := s.read()
		_, body, _ := wire.CutKind(rest)
		h, err := wire.ParseHello(body)
		if err != nil {
			t.Error(err)
		}
		got <- h
		s.hello()
		s.serve(nil)
	})
	c, err := Dial(t.Context(), "unix", path, Options{User: "ann", Password: "secret", Scope: wire.RoleServer})
	if err != nil {
		t.Fatal(err)
	}
	if h := <-got; h.User != "ann" || h.Password != "secret" || h.Role != wire.RoleServer || h.Version != wire.Version {
		t.Errorf("got %+v", h)
	}
	if c.Hub() != "fake" || c.Credits() != 3 {
		t.Errorf("got hub %q with %d credits", c.Hub(), c.Credits())
	}
	if err := c.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if err := c.Close(t.Context()); err != nil || c.Err() != nil {
		t.Errorf("got %v, %v", err, c.Err())
	}
	if err := c.Close(t.Context()); err != nil {
		t.Errorf("closed twice: %v", err)
	}
}

func TestDialThatFails(t *testing.T) {
	for name, want := range map[string]struct {
		do   func(s *script)
		is   error
		text string
	}{
		"denied":    {func(s *script) { s.read(); s.write(wire.AppendStatus(nil, 0, hub.ErrDenied)) }, hub.ErrDenied, "not allowed"},
		"good":      {func(s *script) { s.read(); s.write(wire.AppendStatus(nil, 0, nil)) }, wire.ErrMalformed, "kind 4"},
		"closed":    {func(s *script) { s.read() }, io.EOF, "no answer to the hello"},
		"at once":   {func(s *script) {}, nil, "no answer to the hello"},
		"short":     {func(s *script) { s.read(); s.write([]byte{1}) }, tristanable.ErrShort, ""},
		"no hello":  {func(s *script) { s.read(); s.write(append(make([]byte, 8), 1, 0xc0)) }, wire.ErrMalformed, ""},
		"JSON":      {func(s *script) { s.read(); s.write([]byte(`{"header":{}}`)) }, wire.ErrMalformed, ""},
		"too long":  {func(s *script) { s.read(); s.Write([]byte{0, 0, 0, 0x40}) }, nil, "exceeds the limit"},
		"no answer": {func(s *script) { s.read(); s.read() }, context.DeadlineExceeded, ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{User: "ann"}
			if name == "no answer" {
				o.Timeout = 20 * time.Millisecond
			}
			c, err := Dial(t.Context(), "unix", play(t, want.do), o)
			if err == nil {
				c.Close(t.Context())
				t.Fatal("it was let in")
			}
			if want.is != nil && !errors.Is(err, want.is) || !strings.Contains(err.Error(), want.text) {
				t.Errorf("got %v", err)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	path := play(t, func(s *script) { s.read(); cancel(); s.read() })
	if _, err := Dial(ctx, "unix", path, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
	if _, err := Dial(t.Context(), "unix", path+"nowhere", Options{}); err == nil {
		t.Error("a hub that is not there")
	}
}

func TestRepliesAndStatus(t *testing.T) {
	c := connect(t, func(m *hub.Message) { t.Errorf("a reply came as a delivery: %s", text(m)) }, func(s *script) {
		s.serve(func(tag uint64, m *hub.Message) {
			s.deliver(tag, m.Type, "1")
			s.deliver(tag, m.Type, "2")
			if m.Type == "bad" {
				s.write(wire.AppendStatus(nil, tag, fmt.Errorf("%w: no", hub.ErrTimeout)))
			} else {
				s.write(wire.AppendStatus(nil, tag, nil))
			}
		})
	})
	var got []string
	reply := func(m *hub.Message) { got = append(got, text(m)) }
	if err := c.Request(t.Context(), message("ask"), reply); err != nil {
		t.Error(err)
	}
	if want := []string{"ask 1 <nil>", "ask 2 <nil>"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if err := c.Send(t.Context(), message("bad")); !errors.Is(err, hub.ErrTimeout) || !strings.Contains(err.Error(), "no") {
		t.Errorf("got %v", err)
	}
	results := make(chan error, 100)
	for range 100 {
		if err := c.Go(message("many"), nil, func(err error) { results <- err }); err != nil {
			t.Fatal(err)
		}
	}
	c.Flush()
	for range 100 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}

func TestPostIsNotAnswered(t *testing.T) {
	got := make(chan string, 1)
	c := connect(t, nil, func(s *script) {
		s.serve(func(tag uint64, m *hub.Message) {
			if m.Type == "posted" {
				got <- fmt.Sprint(tag, " ", text(m), m.To)
				return
			}
			s.write(wire.AppendStatus(nil, tag, nil))
		})
	})
	m := message("posted")
	m.To = []hub.Address{{User: "bob"}}
	if err := c.Post(m); err != nil {
		t.Fatal(err)
	}
	c.Flush()
	if g := <-got; g != "0 posted 1 <nil>[bob]" {
		t.Errorf("got %s", g)
	}
	if err := c.Send(t.Context(), message("sent")); err != nil {
		t.Error(err)
	}
}

func TestMessageThatTheHubWouldNotTake(t *testing.T) {
	c := connect(t, nil, func(s *script) {
		s.serve(func(tag uint64, m *hub.Message) { s.write(wire.AppendStatus(nil, tag, nil)) })
	})
	long := &hub.Message{Type: "t", Data: hub.Data{Encoding: hub.MessagePack, Bytes: append([]byte{0xc5, 0x27, 0x10}, make([]byte, 10_000)...)}}
	for name, send := range map[string]func() error{
		"post": func() error { return c.Post(long) },
		"go":   func() error { return c.Go(long, nil, func(error) { t.Error("done") }) },
	} {
		if err := send(); err == nil || !strings.Contains(err.Error(), "the hub takes at most 10000") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	bad := &hub.Message{Type: "t", Data: data("{")}
	if err := errors.Join(c.Post(bad), c.Send(t.Context(), bad)); !errors.Is(err, hub.ErrEncoding) {
		t.Errorf("got %v", err)
	}
	if err := c.Send(t.Context(), message("t")); err != nil {
		t.Errorf("the connection suffered: %v", err)
	}
}

func TestHubThatDoesNotRead(t *testing.T) {
	read := make(chan bool)
	c := connect(t, nil, func(s *script) {
		<-read
		s.serve(func(tag uint64, m *hub.Message) {
			if tag != 0 {
				s.write(wire.AppendStatus(nil, tag, nil))
			}
		})
	})
	m := &hub.Message{Type: "t", Data: hub.Data{Encoding: hub.MessagePack, Bytes: append([]byte{0xc5, 0x20, 0x00}, make([]byte, 8192)...)}}
	posted := 0
	var err error
	for ; err == nil && posted < 10_000; posted++ {
		err = c.Post(m)
	}
	if !errors.Is(err, hub.ErrFull) {
		t.Fatalf("after %d: got %v", posted, err)
	}
	if err := c.Go(m, nil, func(error) { t.Error("done") }); !errors.Is(err, hub.ErrFull) {
		t.Errorf("got %v", err)
	}
	if _, waiting := c.conn.Out().Waiting(); waiting > fullAt+10_000 {
		t.Errorf("%d bytes wait", waiting)
	}
	close(read) // and it goes on
	for errors.Is(err, hub.ErrFull) {
		err = c.Send(t.Context(), message("t"))
	}
	if err != nil {
		t.Error(err)
	}
}

func TestContextEndsBeforeTheStatus(t *testing.T) {
	late := make(chan uint64, 1)
	goOn := make(chan bool)
	c := connect(t, func(m *hub.Message) { t.Errorf("delivered: %s", text(m)) }, func(s *script) {
		tag, _ := s.read()
		s.deliver(tag, "early", "1")
		late <- tag
		<-goOn
		s.deliver(tag, "late", "2")
		s.write(wire.AppendStatus(nil, tag, nil))
		s.serve(func(tag uint64, m *hub.Message) { s.write(wire.AppendStatus(nil, tag, nil)) })
	})
	ctx, cancel := context.WithCancel(t.Context())
	var got []string // written on the goroutine that reads, read here afterwards: -race tells
	err := c.Request(ctx, message("t"), func(m *hub.Message) { got = append(got, string(m.Type)); cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if !slices.Equal(got, []string{"early"}) {
		t.Errorf("got %q", got)
	}
	<-late
	close(goOn)
	for range 300 { // the tag comes to be used again
		if err := c.Send(t.Context(), message("t")); err != nil {
			t.Fatal(err)
		}
	}
	if len(got) != 1 {
		t.Errorf("a reply came after Request had returned: %q", got)
	}
}

func TestDeliveries(t *testing.T) {
	got := make(chan string, 10)
	c := connect(t, func(m *hub.Message) { got <- text(m) }, func(s *script) {
		s.deliver(0, "a", "1")
		s.deliver(77, "a reply that nobody asked for", "1")
		s.write(append(make([]byte, 8), 99))                                 // a kind from the future
		s.write(wire.AppendPing(nil, 5))                                     // the hub asks, too
		s.write(wire.AppendStatus(nil, 77, errors.New("of what was never"))) // sent
		s.deliver(0, "b", "2")
		tag, rest := s.read()
		if kind, _, _ := wire.CutKind(rest); tag != 5 || kind != wire.KindStatus {
			t.Errorf("ping: got kind %d under tag %d", kind, tag)
		}
		s.serve(nil)
	})
	for _, want := range []string{"a 1 <nil>", "b 2 <nil>"} {
		if g := <-got; g != want {
			t.Errorf("got %s, want %s", g, want)
		}
	}
	if c.Err() != nil {
		t.Error(c.Err())
	}
}

func TestHubThatCloses(t *testing.T) {
	for name, c := range map[string]struct {
		last []byte
		text string
	}{
		"without a word": {nil, "the hub ended the connection"},
		"goodbye":        {wire.AppendGoodbye(nil, "the hub is shutting down"), "the hub is shutting down"},
		"status":         {wire.AppendStatus(nil, 0, fmt.Errorf("%w: go away", hub.ErrClosed)), "go away"},
	} {
		t.Run(name, func(t *testing.T) {
			n := connect(t, nil, func(s *script) {
				s.read()
				if c.last != nil {
					s.write(c.last)
				}
			})
			err := n.Send(t.Context(), message("t"))
			<-n.Done()
			for what, err := range map[string]error{
				"send": err, "err": n.Err(), "send again": n.Send(t.Context(), message("t")),
				"ping": n.Ping(t.Context()), "post": n.Post(message("t")),
			} {
				if !errors.Is(err, hub.ErrClosed) || !strings.Contains(err.Error(), c.text) {
					t.Errorf("%s: got %v", what, err)
				}
			}
		})
	}
}

func TestHubThatLies(t *testing.T) {
	tagged := func(kind wire.Kind, body string) []byte {
		return append(append(make([]byte, 8), byte(kind)), body...)
	}
	for name, frame := range map[string][]byte{
		"short":         {1, 2},
		"no kind":       make([]byte, 8),
		"negative kind": append(make([]byte, 8), 0xff),
		"delivery":      tagged(wire.KindDeliver, "\xc0"),
		"deep":          tagged(wire.KindDeliver, "\x82\xa1t\xa1t\xa1d"+strings.Repeat("\x91", 100)),
		"cut":           tagged(wire.KindDeliver, "\x82\xa1t\xa1t\xa1d\xdb\xff\xff\xff\xff"),
	} {
		t.Run(name, func(t *testing.T) {
			c := connect(t, func(m *hub.Message) { t.Errorf("delivered: %s", text(m)) }, func(s *script) {
				s.write(frame)
				s.serve(func(uint64, *hub.Message) {})
			})
			<-c.Done()
			if err := c.Err(); err == nil || errors.Is(err, io.EOF) {
				t.Errorf("got %v", err)
			}
			if err := c.Send(t.Context(), message("t")); err == nil {
				t.Error("sent all the same")
			}
		})
	}
	for answer, want := range map[string]error{
		"\x04\xc0": wire.ErrMalformed, "\x04\x80": wire.ErrMalformed, "\x04\x81\xa1s\x7f": hub.ErrHandler,
		"\x05\x80": wire.ErrMalformed, "\xff": wire.ErrMalformed, "": wire.ErrMalformed,
	} {
		t.Run(fmt.Sprintf("answer %q", answer), func(t *testing.T) {
			c := connect(t, nil, func(s *script) {
				s.serve(func(tag uint64, m *hub.Message) { s.write(append(tristanable.Append(nil, tag), answer...)) })
			})
			if err := c.Send(t.Context(), message("t")); !errors.Is(err, want) {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("pings for ever", func(t *testing.T) {
		c := connect(t, nil, func(s *script) { // and never reads what it is answered
			ping := bytes.Repeat(bformat.Append(nil, wire.AppendPing(nil, 1)), 1000)
			for {
				if _, err := s.Write(ping); err != nil {
					return
				}
			}
		})
		<-c.Done()
		if err := c.Err(); !errors.Is(err, bformat.ErrFull) {
			t.Errorf("got %v", err)
		}
	})
}

func TestCloseIsBounded(t *testing.T) {
	stuck := make(chan bool)
	defer close(stuck)
	c := connect(t, nil, func(s *script) { <-stuck }) // never closes
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := c.Err(); err != nil {
		t.Errorf("after Close: %v", err)
	}
}
