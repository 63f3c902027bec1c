package upstream

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/besterhub/bester/hub"
)

// What Put refuses counts as failed, and the log says of which server: also where the queue
// was full before the server had its first message whole.
func TestRefusedMessagesAreCounted(t *testing.T) {
	proceed := make(chan bool)
	s := listen(t, "tcp4", "127.0.0.1:0", func(*net.TCPConn, string) { <-proceed })
	var log bytes.Buffer
	d := forwarder(t, Options{
		Addresses: map[hub.ServerName]string{"far": s.address, "odd": "no port"}, Unnamed: Unnamed{Hosts: []string{"h:1"}},
		QueueMessages: 2, AnswerTimeout: testTimeout, Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	r := make(receipts, 10)
	put(t, d, "@far", 1, r)
	<-s.got // in flight
	put(t, d, "@far", 2, r)
	put(t, d, "@far", 3, r)
	for tag := range uint64(7) {
		if err := d.Put(message("@far", 4+tag, r)); !errors.Is(err, hub.ErrFull) {
			t.Errorf("got %v", err)
		}
	}
	if got := d.Servers()[0]; got.Failed != 7 || got.Waiting != 3 || got.State != Fails || got.Since.IsZero() || !strings.Contains(got.Error, "queue is full: 2 messages") {
		t.Errorf("got %+v", got)
	}
	if err := d.Put(message("@odd", 1, r)); !errors.Is(err, hub.ErrUnknownServer) {
		t.Errorf("got %v", err)
	}
	if got := d.Servers()[1]; got.Failed != 1 || got.State != Fails {
		t.Errorf("got %+v", got)
	}
	if err := d.Put(message("@127.0.0.1:9", 1, r)); !errors.Is(err, hub.ErrDenied) {
		t.Errorf("got %v", err)
	}
	if got := d.Stats(); got.Failed != 9 || got.Waiting != 2 {
		t.Errorf("got %+v", got)
	}
	close(proceed)
	for tag := range uint64(3) {
		r.want(t, 1+tag)
	}
	if got := d.Servers()[0]; got.Failed != 7 || got.Unconfirmed != 3 || got.Waiting != 0 {
		t.Errorf("got %+v", got)
	}
	for _, want := range []string{
		`msg="message for a server refused" server=far type=t err="server far (` + s.address + `): queue is full: 2 messages`,
		`msg="message for a server refused" server=odd type=t err="unknown server`,
		`msg="message for a server refused" server=127.0.0.1:9 type=t err=`,
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log without %s:\n%s", want, &log)
		}
	}
	if n := strings.Count(log.String(), "server=far"); n > 5 { // one of them of what was handed over
		t.Errorf("%d lines for 7 messages", n)
	}
}
