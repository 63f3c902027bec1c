package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/tristanable"
	"github.com/besterhub/bester/hub/wire"
)

func TestContextEndsBeforeStatus(t *testing.T) {
	late := make(chan uint64, 1)
	goOn := make(chan bool)
	c := connect(t, func(m *hub.Message) { t.Errorf("delivered: %s", text(m)) }, func(s *fakeHub) {
		tag, _ := s.read()
		s.deliver(tag, "early", "1")
		late <- tag
		<-goOn
		s.deliver(tag, "late", "2")
		s.write(wire.AppendStatus(nil, tag, nil))
		s.serve(func(tag uint64, m *hub.Message) { s.write(wire.AppendStatus(nil, tag, nil)) })
	})
	ctx, cancel := context.WithCancel(t.Context())
	var got []string // written by the reading goroutine, read here afterwards; -race checks that
	err := c.Request(ctx, message("t"), func(m *hub.Message) { got = append(got, string(m.Type)); cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if !slices.Equal(got, []string{"early"}) {
		t.Errorf("got %q", got)
	}
	<-late
	close(goOn)
	for range 300 { // the tag is used again
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
	c := connect(t, func(m *hub.Message) { got <- text(m) }, func(s *fakeHub) {
		s.deliver(0, "a", "1")
		s.deliver(77, "a reply that nobody asked for", "1")
		s.write(append(make([]byte, 8), 99))                               // an unknown kind
		s.write(wire.AppendPing(nil, 5))                                   // the hub may ping, too
		s.write(wire.AppendStatus(nil, 77, errors.New("no such request"))) // a tag that was never used
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
		"without an answer": {nil, "the hub ended the connection"},
		"goodbye":           {wire.AppendGoodbye(nil, "the hub is shutting down"), "the hub is shutting down"},
		"status":            {wire.AppendStatus(nil, 0, fmt.Errorf("%w: go away", hub.ErrClosed)), "go away"},
	} {
		t.Run(name, func(t *testing.T) {
			n := connect(t, nil, func(s *fakeHub) {
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

func TestMalformedFramesFromHub(t *testing.T) {
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
			c := connect(t, func(m *hub.Message) { t.Errorf("delivered: %s", text(m)) }, func(s *fakeHub) {
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
			c := connect(t, nil, func(s *fakeHub) {
				s.serve(func(tag uint64, m *hub.Message) { s.write(append(tristanable.Append(nil, tag), answer...)) })
			})
			if err := c.Send(t.Context(), message("t")); !errors.Is(err, want) {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("pings for ever", func(t *testing.T) {
		c := connect(t, nil, func(s *fakeHub) { // it never reads the answers
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
	c := connect(t, nil, func(s *fakeHub) { <-stuck }) // never closes
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := c.Err(); err != nil {
		t.Errorf("after Close: %v", err)
	}
}
