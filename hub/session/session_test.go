package session

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/account"
	"github.com/besterhub/bester/hub/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A running hub: a server on a UNIX socket that trusts this process, and on TCP.
type running struct {
	*Server
	router   *hub.Router
	accounts *account.Store
	unix     string
	tcp      string
}

func run(t *testing.T, o Options) *running {
	t.Helper()
	h := &running{unix: filepath.Join(t.TempDir(), "hub.sock")}
	h.router = hub.NewRouter(hub.RouterOptions{Name: "test"})
	accounts, err := account.Create(filepath.Join(t.TempDir(), "accounts"), account.Options{Cost: 4})
	if err != nil {
		t.Fatal(err)
	}
	h.accounts = accounts
	o.Router, o.Accounts, o.Hub = h.router, accounts, "test"
	h.Server = NewServer(o)
	unix, err := Listen("unix", h.unix, ListenOptions{Trust: true})
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := Listen("tcp4", "127.0.0.1:0", ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	h.tcp = tcp.Addr().String()
	done := make(chan error, 2)
	go func() { done <- h.Serve(unix) }()
	go func() { done <- h.Serve(tcp) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := h.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		for range 2 {
			if err := <-done; err != nil {
				t.Errorf("serve: %v", err)
			}
		}
	})
	return h
}

func (h *running) dial(t *testing.T, user hub.UserName, deliver func(m *hub.Message)) *client.Client {
	t.Helper()
	c, err := client.Dial(t.Context(), "unix", h.unix, client.Options{User: user, Deliver: deliver})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		c.Close(ctx)
	})
	return c
}

func data(s string) hub.Data { return hub.Data{Encoding: hub.JSON, Bytes: []byte(s)} }

func TestNativeClientsTalk(t *testing.T) {
	h := run(t, Options{})
	got := make(chan string, 10)
	h.dial(t, "ann", func(m *hub.Message) { got <- string(m.Type) + " " + m.From.String() })
	sam := h.dial(t, "sam", nil)
	if err := sam.Send(t.Context(), &hub.Message{Type: "chat", To: []hub.Address{{User: "ann"}}, Data: data(`"hi"`)}); err != nil {
		t.Fatal(err)
	}
	if g := <-got; g != "chat sam" {
		t.Errorf("got %q", g)
	}
	err := sam.Send(t.Context(), &hub.Message{Type: "nobody", Data: data(`1`)})
	if !errors.Is(err, hub.ErrNoHandler) {
		t.Errorf("a type that nobody serves: got %v", err)
	}
	if err := sam.Ping(t.Context()); err != nil {
		t.Errorf("ping: %v", err)
	}
}

func TestReplyComesUnderTheTagBeforeTheStatus(t *testing.T) {
	h := run(t, Options{})
	h.router.Serve("ask", hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error {
		a.Reply(data(`1`))
		a.Reply(data(`2`))
		return errors.New("and that was all")
	}))
	c := h.dial(t, "sam", func(*hub.Message) { t.Error("a reply came as a push") })
	var replies []string
	err := c.Request(t.Context(), &hub.Message{Type: "ask", Data: data(`null`)}, func(m *hub.Message) {
		replies = append(replies, string(m.Data.Bytes))
	})
	if err == nil || err.Error() != "and that was all" {
		t.Errorf("got %v", err)
	}
	if !slices.Equal(replies, []string{"\x01", "\x02"}) {
		t.Errorf("got replies %q", replies)
	}
}

func TestPasswordIsAsked(t *testing.T) {
	h := run(t, Options{})
	if err := h.accounts.Add("ann", "secret", account.DefaultPermissions()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		user     hub.UserName
		password string
		good     bool
	}{{"ann", "secret", true}, {"ann", "wrong", false}, {"bob", "secret", false}, {"ann", "", false}, {"", "", false}} {
		n, err := client.Dial(t.Context(), "tcp", h.tcp, client.Options{User: c.user, Password: c.password})
		if (err == nil) != c.good || !c.good && !errors.Is(err, hub.ErrDenied) {
			t.Errorf("%q with %q: got %v", c.user, c.password, err)
		}
		if n != nil {
			n.Close(t.Context())
		}
	}
}

func TestSocketInUseIsNotTaken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	first, err := Listen("unix", path, ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Listen("unix", path, ListenOptions{}); err == nil {
		t.Error("a live socket was taken")
	}
	first.Listener.(*net.UnixListener).SetUnlinkOnClose(false)
	first.Close() // its file stays behind, as after kill -9
	second, err := Listen("unix", path, ListenOptions{})
	if err != nil {
		t.Fatalf("a stale socket was not replaced: %v", err)
	}
	second.Close()
}
