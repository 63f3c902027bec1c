package upstream

import (
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/besterhub/bester/hub"
)

func TestMessageIsHandedOver(t *testing.T) {
	s := listen(t, "tcp4", "127.0.0.1:0", nil)
	d := forwarder(t, Options{Addresses: map[hub.ServerName]string{"far": s.address}})
	r := make(receipts, 10)
	put(t, d, "@"+s.address, 1, r)
	r.want(t, 1)
	put(t, d, "ann@far", 2, r)
	r.want(t, 2)
	m := message("@far", 3, r)
	m.Hops, m.ID, m.From = 4, hub.ID{Origin: "here", Number: 5}, hub.Address{User: "sam"}
	m.Data = hub.Data{Encoding: hub.MessagePack, Bytes: []byte("\x92\x01\xc0")}
	if err := d.Put(m); err != nil {
		t.Fatal(err)
	}
	copy(m.Data.Bytes, "\xc1\xc1\xc1") // it was only borrowed
	m.To[0].Server = "overwritten"
	r.want(t, 3)
	for _, want := range []string{
		frame(1),
		`{"header":{"scope":"server","to":["ann"]},"payload":{"data":2,"type":"t"}}`,
		`{"header":{"scope":"server","hops":4},"payload":{"data":[1,null],"type":"t","id":"here/5"}}`,
	} {
		if got := <-s.got; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	put(t, d, "@far", 4, nil) // without a receipt
	<-s.got
}

func TestServersByNameAndIPv6(t *testing.T) {
	r := make(receipts, 1)
	d := forwarder(t, Options{})
	s := listen(t, "tcp4", "127.0.0.1:0", nil)
	_, port, _ := net.SplitHostPort(s.address)
	put(t, d, "@localhost:"+port, 1, r)
	r.want(t, 1)
	if l, err := net.Listen("tcp6", "[::1]:0"); err == nil {
		l.Close()
		s := listen(t, "tcp6", "[::1]:0", nil)
		put(t, d, "@"+s.address, 2, r)
		r.want(t, 2)
	}
	put(t, d, "@no-such-host.invalid:1", 3, r)
	r.want(t, 3, "server no-such-host.invalid:1: ")
}

func TestMessageThatIsNotTaken(t *testing.T) {
	d := forwarder(t, Options{Addresses: map[hub.ServerName]string{"odd": "no port"}})
	for _, to := range []string{"ann", "@nowhere", "@odd", "@host:"} {
		if err := d.Put(message(to, 1, nil)); !errors.Is(err, hub.ErrUnknownServer) {
			t.Errorf("%s: got %v", to, err)
		}
	}
	m := message("@h:1", 1, nil)
	m.To = append(m.To, m.To...)
	if err := d.Put(m); !errors.Is(err, hub.ErrUnknownServer) {
		t.Errorf("two servers: got %v", err)
	}
	m = message("@h:1", 1, nil)
	m.Data = hub.Data{Encoding: hub.MessagePack, Bytes: []byte("\xd4\x05\x01")}
	if err := d.Put(m); !errors.Is(err, hub.ErrEncoding) {
		t.Errorf("an extension: got %v", err)
	}
	if s := d.Stats(); s != (Stats{Failed: 6}) { // refused by Put
		t.Errorf("got %+v", s)
	}
}

func TestOrderForEachServer(t *testing.T) {
	one, two := listen(t, "tcp4", "127.0.0.1:0", nil), listen(t, "tcp4", "127.0.0.1:0", nil)
	d := forwarder(t, Options{})
	const n = 100
	r := make(receipts, 2*n)
	for i := range uint64(n) {
		put(t, d, "@"+one.address, i, r)
		put(t, d, "@"+two.address, i, r)
	}
	for i := range uint64(n) {
		for _, s := range []*server{one, two} {
			if got := <-s.got; got != frame(i) {
				t.Fatalf("got %s, want message %d", got, i)
			}
		}
	}
	for range 2 * n {
		if got := <-r; got.err != nil {
			t.Error(got.err)
		}
	}
	if s := d.Stats(); s.Unconfirmed != 2*n || s.Failed != 0 || s.Waiting != 0 {
		t.Errorf("got %+v", s)
	}
}

func TestQueueIsBounded(t *testing.T) {
	proceed := make(chan bool)
	slow := listen(t, "tcp4", "127.0.0.1:0", func(*net.TCPConn, string) { <-proceed })
	other := listen(t, "tcp4", "127.0.0.1:0", nil)
	d := forwarder(t, Options{QueueMessages: 3, QueueBytes: 1000, MaxServers: 2, AnswerTimeout: testTimeout})
	r := make(receipts, 10)
	put(t, d, "@"+slow.address, 1, r)
	<-slow.got // in flight
	for tag := range uint64(3) {
		put(t, d, "@"+slow.address, 2+tag, r)
	}
	if err := d.Put(message("@"+slow.address, 9, r)); !errors.Is(err, hub.ErrFull) {
		t.Errorf("messages: got %v", err)
	}
	if s := d.Stats(); s.Waiting != 3 {
		t.Errorf("got %+v", s)
	}
	put(t, d, "@"+other.address, 10, r) // others do not wait
	r.want(t, 10)
	long := message("@"+other.address, 11, r)
	long.Data.Bytes = []byte(`"` + strings.Repeat("x", 1000) + `"`)
	if err := d.Put(long); !errors.Is(err, hub.ErrFull) {
		t.Errorf("bytes: got %v", err)
	}
	close(proceed)
	for tag := range uint64(4) {
		r.want(t, 1+tag)
	}
}

func TestServersAreBounded(t *testing.T) {
	proceed := make(chan bool)
	hold := func(*net.TCPConn, string) { <-proceed }
	first, second := listen(t, "tcp4", "127.0.0.1:0", hold), listen(t, "tcp4", "127.0.0.1:0", nil)
	d := forwarder(t, Options{MaxServers: 1, AnswerTimeout: testTimeout})
	r := make(receipts, 2)
	put(t, d, "@"+first.address, 1, r)
	<-first.got
	if err := d.Put(message("@"+second.address, 2, r)); !errors.Is(err, hub.ErrFull) || !strings.Contains(err.Error(), "for 1 servers") {
		t.Errorf("got %v", err)
	}
	close(proceed)
	r.want(t, 1)
}
