package upstream

import (
	"net"
	"testing"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/wire"
)

func confirm(c *net.TCPConn) {
	c.Write(bformat.Append(nil, wire.AppendClassicStatus(nil, nil, nil)))
}

// What comes after SetServers does not overtake what waited before, whatever the server is
// called by then, and the counters go on.
func TestSetServersKeepsOrderAndCounters(t *testing.T) {
	proceed := make(chan bool)
	s := listen(t, "tcp4", "127.0.0.1:0", func(c *net.TCPConn, _ string) { <-proceed; confirm(c) })
	d := forwarder(t, Options{Addresses: map[hub.ServerName]string{"far": s.address}, Unnamed: Unnamed{Hosts: []string{"h:1"}}, AnswerTimeout: testTimeout})
	r := make(receipts, 10)
	for tag := range uint64(4) {
		put(t, d, "@far", 1+tag, r)
	}
	proceed <- true
	r.want(t, 1)

	d.SetServers(map[hub.ServerName]string{"far": s.address, "other": "127.0.0.1:1"}, Unnamed{})
	put(t, d, "@far", 5, r)
	if got := d.Servers()[0]; got.Confirmed != 1 || got.Waiting != 4 || got.State != Works {
		t.Errorf("got %+v", got)
	}
	d.SetServers(map[hub.ServerName]string{"renamed": s.address}, Unnamed{})
	put(t, d, "@renamed", 6, r)
	d.SetServers(nil, Unnamed{Hosts: []string{s.address}})
	put(t, d, "@"+s.address, 7, r)
	d.SetServers(nil, Unnamed{}) // what waits is sent by the rules it was taken for
	if err := d.Put(message("@"+s.address, 8, r)); err == nil {
		t.Error("a message was taken for a server that is no longer allowed")
	}
	close(proceed)
	for tag := uint64(2); tag < 8; tag++ {
		r.want(t, tag)
	}
	for tag := uint64(1); tag < 8; tag++ {
		if got := <-s.got; got != frame(tag) {
			t.Errorf("got %s, want message %d", got, tag)
		}
	}
	if got, want := d.Stats(), (Stats{Confirmed: 7, Failed: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// A server whose address changes keeps its counters. What was sent to the old address says
// nothing of the new one.
func TestSetServersChangesAnAddress(t *testing.T) {
	proceed := make(chan bool)
	old := listen(t, "tcp4", "127.0.0.1:0", func(c *net.TCPConn, _ string) { <-proceed; confirm(c) })
	next := listen(t, "tcp4", "127.0.0.1:0", nil)
	d := forwarder(t, Options{Addresses: map[hub.ServerName]string{"far": old.address}, AnswerTimeout: testTimeout})
	r := make(receipts, 10)
	put(t, d, "@far", 1, r)
	proceed <- true
	r.want(t, 1)
	put(t, d, "@far", 2, r)
	d.SetServers(map[hub.ServerName]string{"far": next.address}, Unnamed{})
	proceed <- true
	r.want(t, 2)
	if got, want := d.Servers()[0], (ServerStats{Name: "far", Address: next.address, Confirmed: 2, State: Untried}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	put(t, d, "@far", 3, r) // this one never confirms, and that is no error
	r.want(t, 3)
	if got := d.Servers()[0]; got.Confirmed != 2 || got.Unconfirmed != 1 || got.State != Unconfirmed {
		t.Errorf("got %+v", got)
	}
}
