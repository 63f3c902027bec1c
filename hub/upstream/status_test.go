package upstream

import (
	"encoding/json"
	"net"
	"strings"
	"testing"

	"github.com/besterhub/bester/hub"
)

// Each named server has its counters, and its error says what to check.
func TestServerStats(t *testing.T) {
	s := listen(t, "tcp4", "127.0.0.1:0", nil)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	away := l.Addr().String()
	l.Close()
	d := forwarder(t, Options{Addresses: map[hub.ServerName]string{"far": s.address, "away": away, "idle": "127.0.0.1:1"}})
	r := make(receipts, 1)
	put(t, d, "ann@far", 1, r)
	r.want(t, 1)
	put(t, d, "@away", 2, r)
	r.want(t, 2, "server away ("+away+"): connection refused: does its hub run, and listen")
	put(t, d, "@"+away, 3, r) // without its name: counted elsewhere
	r.want(t, 3, "server "+away+": connection refused")

	all := d.Servers()
	if len(all) != 3 {
		t.Fatalf("got %v", all)
	}
	for i, want := range []ServerStats{
		{Name: "away", Address: away, Failed: 1, State: Fails},
		{Name: "far", Address: s.address, Unconfirmed: 1, State: Unconfirmed},
		{Name: "idle", Address: "127.0.0.1:1", State: Untried},
	} {
		got := all[i]
		if got.Since.IsZero() != (want.State == Untried) || strings.Contains(got.Error, "refused") != (want.State == Fails) {
			t.Errorf("got %+v", got)
		}
		want.Since, want.Error = got.Since, got.Error
		if got != want {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
	if b, err := json.Marshal(all[2]); err != nil || strings.Contains(string(b), "since") {
		t.Errorf("got %s, %v", b, err)
	}
}
