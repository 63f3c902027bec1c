package handlers

import (
	"fmt"
	"net"
	"path/filepath"
	"testing"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/wire"
)

// Answers are flushed while the handler is busy with a later message.
func TestAnswersAreFlushedWhileTheHandlerIsBusy(t *testing.T) {
	for _, concurrency := range []int{1, 4} {
		t.Run(fmt.Sprint(concurrency), func(t *testing.T) {
			l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			c, err := net.Dial("unix", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			theHub, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			free, done := make(chan bool), make(chan error, 1)
			h := hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error {
				if m.Type == "slow" {
					<-free
				}
				a.Drop()
				return nil
			})
			go func() {
				done <- Serve(t.Context(), c, h, []string{"#"}, Options{Name: "x", Concurrency: concurrency, Credits: 100})
			}()
			in := bformat.NewReader(theHub, 0)
			next := func() uint64 {
				t.Helper()
				f, err := in.Next()
				if err != nil {
					t.Fatal(err)
				}
				tag, _, _, err := wire.Cut(f)
				if err != nil {
					t.Fatal(err)
				}
				return tag
			}
			next()
			all := bformat.Append(nil, wire.AppendHello(nil, &wire.Hello{Version: wire.Version, Role: wire.RoleHub, Name: "h"}))
			put := func(tag uint64, typ hub.Type) {
				m := hub.Message{Type: typ, From: hub.Address{User: "ann"}, Data: hub.Data{Bytes: []byte("1")}}
				f, err := wire.AppendMessage(nil, tag, wire.KindHandle, &m)
				if err != nil {
					t.Fatal(err)
				}
				all = bformat.Append(all, f)
			}
			const quick = 40
			for tag := range uint64(quick) {
				put(1+tag, "quick")
			}
			put(quick+1, "slow")
			if _, err := theHub.Write(all); err != nil {
				t.Fatal(err)
			}
			for range quick {
				if tag := next(); tag > quick {
					t.Fatalf("answer %d came", tag)
				}
			}
			close(free)
			if tag := next(); tag != quick+1 {
				t.Errorf("answer %d, want that of the slow one", tag)
			}
			theHub.Close()
			if err := <-done; err == nil {
				t.Error("Serve ended well, though the hub has gone")
			}
		})
	}
}
