package upstream

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/wire"
)

type panickingReceipt struct{}

func (panickingReceipt) Done(*hub.Message, error) { panic("out of range") }

// A panicOnce is a slog.Handler whose first line for which when holds panics.
type panicOnce struct {
	slog.Handler
	when *string
}

func (p panicOnce) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == *p.when {
		*p.when = ""
		panic("nil map")
	}
	return p.Handler.Handle(ctx, r)
}

// A panic at a message ends neither the hub nor the queue.
func TestPanicAtAMessage(t *testing.T) {
	s := listen(t, "tcp4", "127.0.0.1:0", func(c *net.TCPConn, _ string) {
		c.Write(bformat.Append(nil, wire.AppendClassicStatus(nil, nil, nil)))
	})
	var log bytes.Buffer
	when := "server works"
	d := forwarder(t, Options{
		Addresses: map[hub.ServerName]string{"far": s.address}, AnswerTimeout: testTimeout,
		Log: slog.New(panicOnce{slog.NewTextHandler(&log, nil), &when}),
	})
	r := make(receipts, 2)
	put(t, d, "@far", 1, r) // its outcome cannot be logged, and is told nevertheless
	put(t, d, "@far", 2, panickingReceipt{})
	put(t, d, "@far", 3, r)
	r.want(t, 1)
	r.want(t, 3)
	if got, want := d.Stats(), (Stats{Confirmed: 3, Panics: 2}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, want := range []string{`level=ERROR msg="the hub has a bug: it panicked at a message for a server" type=t panic="nil map"`, `panic="out of range"`, "panic_test.go"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log without %s:\n%s", want, &log)
		}
	}
}

// A message at which sending panics fails.
func TestPanicWhileSending(t *testing.T) {
	d := forwarder(t, Options{Addresses: map[hub.ServerName]string{"far": unreachable(t)}})
	d.ctx = nil
	r := make(receipts, 2)
	for tag := range uint64(2) {
		put(t, d, "@far", tag, r)
		if got := <-r; got.tag != tag || !errors.Is(got.err, hub.ErrHandler) || !strings.Contains(got.err.Error(), "has a bug") {
			t.Errorf("got %+v", got)
		}
	}
	if got, want := d.Stats(), (Stats{Failed: 2, Panics: 2}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := d.Servers()[0]; got.Failed != 2 || got.Waiting != 0 || got.State != Fails {
		t.Errorf("got %+v", got)
	}
}
