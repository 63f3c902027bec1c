package session

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/account"
	"github.com/besterhub/bester/hub/client"
)

func TestMain(m *testing.M) {
	if os.Getenv(idleHub) != "" {
		serveIdle()
		return
	}
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what must happen.
const patience = time.Minute

// A running hub: a server on two UNIX sockets, one of which trusts this process, on
// TCP and on TLS.
type running struct {
	*Server
	router       *hub.Router
	accounts     *account.Store
	unix, closed string // sockets; only the first trusts
	tcp, tls     string
	log          lines
	listening    int
	done         chan error
}

func run(t testing.TB, o Options) *running {
	t.Helper()
	dir, err := os.MkdirTemp("", "session") // short: the path of a socket must be
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h := &running{unix: filepath.Join(dir, "trusting"), closed: filepath.Join(dir, "closed"), done: make(chan error, 10)}
	h.log = make(lines, 10_000)
	h.router = hub.NewRouter(hub.RouterOptions{Name: "test"})
	h.accounts, err = account.Create(filepath.Join(dir, "accounts"), account.Options{Cost: 4})
	if err != nil {
		t.Fatal(err)
	}
	if o.Limits.LoginTimeout == 0 { // who is slow on a busy machine is not what is tested
		o.Limits.LoginTimeout = patience
	}
	if o.Limits.WriteTimeout == 0 {
		o.Limits.WriteTimeout = patience
	}
	if blocked, ok := o.Accounts.(*blockedAccounts); ok {
		blocked.Accounts = h.accounts
	} else {
		o.Accounts = h.accounts
	}
	o.Router, o.Hub = h.router, "test"
	o.Log = slog.New(slog.NewTextHandler(h.log, nil))
	h.Server = NewServer(o)
	h.listen(t, "unix", h.unix, ListenOptions{TrustPeerCredentials: true})
	h.listen(t, "unix", h.closed, ListenOptions{})
	h.tcp = h.listen(t, "tcp4", "127.0.0.1:0", ListenOptions{})
	h.tls = h.listen(t, "tls", "127.0.0.1:0", ListenOptions{TLS: &tls.Config{Certificates: []tls.Certificate{certificate()}}})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := h.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		for range h.listening {
			if err := <-h.done; err != nil {
				t.Errorf("serve: %v", err)
			}
		}
	})
	return h
}

func (h *running) listen(t testing.TB, network, address string, o ListenOptions) string {
	t.Helper()
	l, err := Listen(network, address, o)
	if err != nil {
		t.Fatal(err)
	}
	h.listening++
	go func() { h.done <- h.Serve(l) }()
	return l.Addr().String()
}

// account makes an account with the password "p".
func (h *running) account(t testing.TB, name hub.UserName, edit func(*account.Permissions)) {
	t.Helper()
	may := account.DefaultPermissions()
	if edit != nil {
		edit(&may)
	}
	if err := h.accounts.Add(name, "p", may); err != nil {
		t.Fatal(err)
	}
}

// dial logs a client in on the trusting socket.
func (h *running) dial(t *testing.T, user hub.UserName, deliver func(m *hub.Message)) *client.Client {
	t.Helper()
	c, err := client.Dial(t.Context(), "unix", h.unix, client.Options{User: user, Deliver: deliver})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		c.Close(ctx)
	})
	return c
}

// lines are what has been logged.
type lines chan string

func (l lines) Write(b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}

// want waits for a line that contains each of the texts.
func (l lines) want(t testing.TB, texts ...string) {
	t.Helper()
	late := time.After(patience)
next:
	for {
		select {
		case line := <-l:
			for _, text := range texts {
				if !strings.Contains(line, text) {
					continue next
				}
			}
			return
		case <-late:
			t.Fatalf("no line in the log with %q", texts)
		}
	}
}

// A held handler keeps the messages that it gets until it is told to answer.
type held chan *hub.Answer

func (h held) Handle(m *hub.Message, a *hub.Answer) {
	a.Detach()
	h <- a
}

// answer answers the message that came first, after what do does with it.
func (h held) answer(t testing.TB, do func(a *hub.Answer)) {
	t.Helper()
	select {
	case a := <-h:
		a.Resume(nil)
		if do != nil {
			do(a)
		}
		a.Done(nil)
	case <-time.After(patience):
		t.Fatal("the handler got nothing")
	}
}

func (h *running) serve(t testing.TB, p hub.Pattern, handler hub.Handler) {
	t.Helper()
	if _, err := h.router.Serve(p, handler); err != nil {
		t.Fatal(err)
	}
}

// route sends types that match straight to users.
func (h *running) route(t testing.TB, match hub.Pattern, users ...hub.UserName) {
	t.Helper()
	r := hub.Route{Match: match}
	for _, u := range users {
		r.To = append(r.To, hub.Address{User: u})
	}
	if err := h.router.SetRoutes([]hub.Route{r}); err != nil {
		t.Fatal(err)
	}
}

func certificate() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
