package config

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/besterhub/bester/hub"
)

func TestClassicFile(t *testing.T) {
	got, err := Load("testdata/classic.conf")
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Listen = []Listen{
		{Network: Unix, Address: "besterUNIXSock", Mode: 0660, Trust: true},
		{Network: TCP4, Address: "0.0.0.0:2223"},
		{Network: TCP6, Address: "[::]:2224"},
	}
	want.Peers.Classic = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("10.4.0.0/16")}
	want.Handlers = []Handler{
		{"type1", []hub.Pattern{"type1"}, Classic, "aSock", []string{"./testing/unixSock.py"}, StartNeeded, 10 * time.Second, 1024, 16},
		{"type2", []hub.Pattern{"type2"}, Classic, "bSock", nil, "", 10 * time.Second, 1024, 16},
	}
	want.Hub.Dial.Open = true
	want.Accounts.File = "accounts"
	want.Informer.Socket = "bInformer"
	want.Admin.Info = map[string]any{"contact": "root", "floors": []any{int64(1), 2.5}}
	same(t, got, want)

	again, err := Parse("written.toml", got.AppendTOML(nil))
	if err != nil {
		t.Fatal(err)
	}
	same(t, again, got)
}

func TestClassicBlocksThatMayBeMissing(t *testing.T) {
	got, err := ParseClassic("server.conf", []byte(`{"handlers": {"availableTypes": []}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Hub.Dial.Open = true
	want.Informer.Socket = "bInformer"
	same(t, got, want)
}

func TestClassicPeersOpen(t *testing.T) {
	got, err := ParseClassic("server.conf", []byte(`{"network": {"peers": "open"}, "handlers": {"availableTypes": []}}`))
	if err != nil {
		t.Fatal(err)
	}
	if !got.Peers.Open {
		t.Error("peers are not open")
	}
}

func TestClassicRefusesRedisWithARemedy(t *testing.T) {
	_, err := ParseClassic("server.conf", []byte(`{"handlers": {"availableTypes": []}, "database": {"type": "redis"}}`))
	if err == nil {
		t.Fatal("want an error")
	}
	for _, want := range []string{"server.conf:1:59: database.type:", `{"type":"file","file":{"path":"accounts"}}`, "bester account"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want it to contain %q", err, want)
		}
	}
}

// No block is required; a byte order mark before them is passed over.
func TestClassicWithoutHandlers(t *testing.T) {
	for _, text := range []string{"{}", "\ufeff{\"network\":{}}\r\n"} {
		if c, err := ParseClassic("server.conf", []byte(text)); err != nil || len(c.Handlers) != 0 || len(c.Listen) == 0 {
			t.Errorf("%q: got %+v, %v", text, c, err)
		}
	}
}
