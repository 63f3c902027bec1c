package handlers

import (
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/wire"
)

// Serve pings a hub that says nothing, and returns when it does not answer.
func TestServeNoticesDeadHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		served := make(chan error, 1)
		pass := hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error { a.Drop(); return nil })
		go func() { served <- Serve(t.Context(), near, pass, []string{"t"}, Options{Name: "x"}) }()
		in := bformat.NewReader(far, 0)
		next := func() (tag uint64, kind wire.Kind) {
			frame, err := in.Next()
			if err != nil {
				t.Error(err)
				return 0, 0
			}
			tag, kind, _, err = wire.Cut(frame)
			if err != nil {
				t.Error(err)
			}
			return tag, kind
		}
		next() // the hello
		far.Write(bformat.Append(nil, wire.AppendHello(nil, &wire.Hello{Version: wire.Version, Role: wire.RoleHub})))
		for range 100 { // it answers
			tag, kind := next()
			if kind != wire.KindPing || tag == 0 {
				t.Fatalf("got kind %d under tag %d, want a ping", kind, tag)
			}
			far.Write(bformat.Append(nil, wire.AppendStatus(nil, tag, nil)))
		}
		start := time.Now()
		next() // and now it does not
		err := <-served
		if err == nil || !strings.Contains(err.Error(), "the hub does not answer") {
			t.Errorf("got %v", err)
		}
		if d := time.Since(start); d > 90*time.Second {
			t.Errorf("noticed after %v", d)
		}
	})
}
