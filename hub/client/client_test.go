package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/tristanable"
	"github.com/besterhub/bester/hub/wire"
)

func TestHelloCarriesUserAndRole(t *testing.T) {
	got := make(chan *wire.Hello, 1)
	path := startFakeHub(t, func(s *fakeHub) {
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
	c, err := Dial(t.Context(), "unix", path, Options{User: "ann", Password: "secret", Role: wire.RoleServer})
	if err != nil {
		t.Fatal(err)
	}
	if h := <-got; h.User != "ann" || h.Password != "secret" || h.Role != wire.RoleServer || h.Version != wire.Version {
		t.Errorf("got %+v", h)
	}
	if c.Hub() != "fake" || c.Credits() != 3 {
		t.Errorf("got hub %q with %d credits", c.Hub(), c.Credits())
	}
	if all := c.Receives(); all != nil {
		t.Errorf("got %q, of a hub that does not say what the account may receive", all)
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

func TestHelloCarriesReceivePatterns(t *testing.T) {
	for _, want := range [][]string{{}, {"#"}, {"chat", "alarm/+"}} {
		c, err := Dial(t.Context(), "unix", startFakeHub(t, func(s *fakeHub) {
			s.read()
			s.write(wire.AppendHello(nil, &wire.Hello{Version: wire.Version, Role: wire.RoleHub, Types: want}))
			s.serve(nil)
		}), Options{User: "ann"})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Receives(); got == nil || !slices.Equal(got, want) {
			t.Errorf("got %#v, want %#v", got, want)
		}
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestDialErrors(t *testing.T) {
	for name, want := range map[string]struct {
		do   func(s *fakeHub)
		is   error
		text string
	}{
		"denied":    {func(s *fakeHub) { s.read(); s.write(wire.AppendStatus(nil, 0, hub.ErrDenied)) }, hub.ErrDenied, "not allowed"},
		"good":      {func(s *fakeHub) { s.read(); s.write(wire.AppendStatus(nil, 0, nil)) }, wire.ErrMalformed, "kind 4"},
		"closed":    {func(s *fakeHub) { s.read() }, io.EOF, "no answer to the hello"},
		"at once":   {func(s *fakeHub) {}, nil, "no answer to the hello"},
		"short":     {func(s *fakeHub) { s.read(); s.write([]byte{1}) }, tristanable.ErrShort, ""},
		"no hello":  {func(s *fakeHub) { s.read(); s.write(append(make([]byte, 8), 1, 0xc0)) }, wire.ErrMalformed, ""},
		"JSON":      {func(s *fakeHub) { s.read(); s.write([]byte(`{"header":{}}`)) }, wire.ErrMalformed, ""},
		"too long":  {func(s *fakeHub) { s.read(); s.Write([]byte{0, 0, 0, 0x40}) }, nil, "exceeds the limit"},
		"no answer": {func(s *fakeHub) { s.read(); s.read() }, context.DeadlineExceeded, ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{User: "ann"}
			if name == "no answer" {
				o.Timeout = 20 * time.Millisecond
			}
			c, err := Dial(t.Context(), "unix", startFakeHub(t, want.do), o)
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
	path := startFakeHub(t, func(s *fakeHub) { s.read(); cancel(); s.read() })
	if _, err := Dial(ctx, "unix", path, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
	if _, err := Dial(t.Context(), "unix", path+"nowhere", Options{}); err == nil {
		t.Error("a hub that is not there")
	}
}

func TestRepliesAndStatus(t *testing.T) {
	c := connect(t, func(m *hub.Message) { t.Errorf("a reply came as a delivery: %s", text(m)) }, func(s *fakeHub) {
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
	c := connect(t, nil, func(s *fakeHub) {
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

func TestMessageTooLargeForHub(t *testing.T) {
	c := connect(t, nil, func(s *fakeHub) {
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

func TestBackpressureWhenHubDoesNotRead(t *testing.T) {
	read := make(chan bool)
	c := connect(t, nil, func(s *fakeHub) {
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
	asked := error(nil) // nil at first, if some of the queue was sent meanwhile
	for range 10_000 {
		if asked = c.Go(m, nil, func(error) {}); asked != nil {
			break
		}
	}
	if !errors.Is(asked, hub.ErrFull) {
		t.Errorf("got %v", asked)
	}
	if _, waiting := c.conn.Out().Waiting(); waiting > maxQueued+10_000 {
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

// Gaps come in order with the deliveries around them; one that makes no sense ends the
// session. The hello says that a client takes no deliveries.
func TestGap(t *testing.T) {
	hello := make(chan *wire.Hello, 1)
	path := startFakeHub(t, func(s *fakeHub) {
		_, rest := s.read()
		h, err := wire.ParseHello(rest[1:])
		if err != nil {
			t.Error(err)
		}
		hello <- h
		s.hello()
		s.deliver(0, "a", "1")
		s.write(wire.AppendGap(nil, 4312, "queue full"))
		s.deliver(0, "b", "2")
		s.write(wire.AppendGap(nil, 0, ""))
		s.read()
	})
	var got []string
	c, err := Dial(t.Context(), "unix", path, Options{
		User: "ann", SendOnly: true,
		Deliver: func(m *hub.Message) { got = append(got, string(m.Type)) },
		Gap:     func(n uint64, why string) { got = append(got, fmt.Sprintf("%d: %s", n, why)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	<-c.Done()
	if want := []string{"a", "4312: queue full", "b"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := c.Err(); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("got %v", err)
	}
	if h := <-hello; !h.SendOnly || h.MaxFrame != maxFrame {
		t.Errorf("got %+v", h)
	}
	c.Close(t.Context())
}

// A further hello of the hub changes what Receives returns, in order with the deliveries
// around it; one that makes no sense ends the session.
func TestChangedPermissions(t *testing.T) {
	path := startFakeHub(t, func(s *fakeHub) {
		s.read()
		s.hello()
		s.deliver(0, "a", "1")
		for _, types := range [][]string{{"b/#"}, {}, nil} {
			s.write(wire.AppendHello(nil, &wire.Hello{Version: wire.Version, Role: wire.RoleHub, Types: types}))
		}
		s.deliver(0, "b/c", "2")
		s.write(wire.AppendHello(nil, &wire.Hello{}))
		s.read()
	})
	var got []string
	c, err := Dial(t.Context(), "unix", path, Options{
		User: "ann", Deliver: func(m *hub.Message) { got = append(got, string(m.Type)) },
		PermissionsChanged: func(c *Client) { got = append(got, fmt.Sprintf("%q %v", c.Receives(), c.Receives() == nil)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	<-c.Done()
	if want := []string{"a", `["b/#"] false`, "[] false", "[] true", "b/c"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := c.Err(); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("got %v", err)
	}
	if c.Hub() != "fake" || c.Credits() != 3 {
		t.Errorf("a later hello has changed the rest: hub %q, %d credits", c.Hub(), c.Credits())
	}
	c.Close(t.Context())
}
