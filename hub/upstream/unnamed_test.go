package upstream

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/besterhub/bester/hub"
)

func TestUnnamedServersThatAreAllowed(t *testing.T) {
	u := Unnamed{
		Routed: []string{"this.local:2223"},
		Hosts:  []string{"house.local:2223", "10.1.1.1:2223", "127.0.0.1:99", "localhost:98", "[::1]:97"},
		Ranges: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("10.4.0.0/16"), netip.MustParsePrefix("2001:db8::/32")},
	}
	local := Unnamed{Ranges: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.1.1/32")}}
	for _, c := range []struct {
		of          *Unnamed
		address, at string
		want        bool
	}{
		{&u, "house.local:2223", "192.168.1.9", true},
		{&u, "HOUSE.local:2223", "192.168.1.9", true},
		{&u, "house.local:2223", "127.0.0.1", false}, // what a name server says is not the operator's word
		{&u, "house.local:2223", "169.254.169.254", false},
		{&u, "house.local:2223", "::ffff:127.0.0.1", false},
		{&u, "this.local:2223", "127.0.0.1", true},
		{&u, "this.local:22", "127.0.0.1", false},
		{&u, "127.0.0.1:99", "127.0.0.1", true},
		{&u, "127.0.0.1:22", "127.0.0.1", false},
		{&u, "localhost:98", "::1", true},
		{&u, "localhost:98", "10.0.0.1", true},
		{&u, "[::1]:97", "::1", true},
		{&u, "8.8.8.8:53", "8.8.8.8", true},
		{&u, "0.0.0.0:22", "0.0.0.0", false},
		{&u, "[::]:22", "::", false},
		{&u, "[fe80::1%eth0]:22", "fe80::1%eth0", false},
		{&u, "[2001:db8::5]:1", "2001:db8::5", true},
		{&u, "[2001:db9::5]:1", "2001:db9::5", false},
		{&local, "127.0.0.1:22", "127.0.0.1", true},
		{&local, "169.254.1.1:22", "169.254.1.1", true},
		{&local, "169.254.1.2:22", "169.254.1.2", false},
		{&local, "10.0.0.1:22", "10.0.0.1", false},
		{&Unnamed{}, "10.0.0.1:22", "10.0.0.1", false},
		{&Unnamed{All: true}, "127.0.0.1:22", "127.0.0.1", true},
	} {
		if got := c.of.allows(c.address, netip.MustParseAddr(c.at)); got != c.want {
			t.Errorf("%s at %s: got %v", c.address, c.at, got)
		}
	}
}

// This machine's own addresses are no others' for being in a range.
func TestOwnAddressIsNotAllowedByARange(t *testing.T) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	u := Unnamed{Ranges: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}}
	for _, i := range all {
		a := netip.MustParsePrefix(i.String()).Addr()
		if u.allows(net.JoinHostPort(a.String(), "22"), a) {
			t.Errorf("%v is allowed", a)
		}
		one := Unnamed{Ranges: []netip.Prefix{netip.PrefixFrom(a.WithZone(""), a.BitLen())}}
		if !one.allows(net.JoinHostPort(a.String(), "22"), a) {
			t.Errorf("%v is listed itself, and not allowed", a)
		}
	}
}

// Who names an address that is not open learns nothing of what is there; the log does.
func TestServerThatIsNotAllowed(t *testing.T) {
	s := listen(t, "tcp4", "127.0.0.1:0", nil)
	_, port, _ := net.SplitHostPort(s.address)
	var log bytes.Buffer
	d := forwarder(t, Options{
		Unnamed: Unnamed{Hosts: []string{"nothing.invalid:1"}, Ranges: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		Log:     slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err := d.Put(message("@"+s.address, 1, nil)); !errors.Is(err, hub.ErrDenied) || !strings.Contains(err.Error(), "hub.dial") {
		t.Errorf("got %v", err)
	}
	r := make(receipts, 1)
	put(t, d, "@localhost:"+port, 2, r) // the name may be looked up, and leads where it may not
	const same = ": the message could not be handed over; the hub's log says why"
	r.want(t, 2, "server localhost:"+port+same)
	put(t, d, "@nothing.invalid:1", 3, r)
	r.want(t, 3, "server nothing.invalid:1"+same)
	if !strings.Contains(log.String(), "hub.dial lists those that it does") {
		t.Errorf("got log\n%s", &log)
	}
	if len(s.got) > 0 {
		t.Error("the message was sent")
	}
}
