package informer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = time.Minute

// nobody is a session that takes everything.
type nobody struct{ hub.UserName }

func (nobody) Put(*hub.Message) error { return nil }

// start starts a server whose directory has ann with two sessions and bob with one.
func start(t *testing.T, o Options) (s *Server, path string, stopped chan error) {
	t.Helper()
	o.Directory = new(hub.Directory)
	for _, name := range []hub.UserName{"bob", "ann", "ann"} {
		o.Directory.Join(name, &nobody{name})
	}
	path = filepath.Join(t.TempDir(), "bInformer")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s = NewServer(o)
	stopped = make(chan error, 1)
	go func() { stopped <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	return s, path, stopped
}

// A peer is one connection to the informer.
type peer struct {
	net.Conn
	t  *testing.T
	in *bformat.Reader
}

func dial(t *testing.T, path string) *peer {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return &peer{c, t, bformat.NewReader(c, 0)}
}

func (p *peer) ask(request string) string {
	p.t.Helper()
	if _, err := p.Write(bformat.Append(nil, []byte(request))); err != nil {
		p.t.Fatal(err)
	}
	return p.next()
}

func (p *peer) next() string {
	p.t.Helper()
	f, err := p.in.Next()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		p.t.Fatal("nothing came")
	}
	if err != nil {
		return "end"
	}
	return string(f)
}

const none = `{"data":null,"status":"1"}`

func TestRequests(t *testing.T) {
	_, path, _ := start(t, Options{
		Listeners: func() []string { return []string{"tcp4://127.0.0.1:2223", "unix:///run/bester/hub.sock"} },
		Admin:     func() []byte { return []byte(`"call \"me\""`) },
	})
	p := dial(t, path)
	for _, c := range []struct{ name, request, want string }{
		{"listClients", `{"command":{"type":"listClients"}}`, `{"data":["ann","ann","bob"],"status":"0"}`},
		{"isClient here", `{"command":{"type":"isClient","data":"bob"}}`, `{"data":true,"status":"0"}`},
		{"isClient gone", `{"command":{"type":"isClient","data":"eve"}}`, `{"data":false,"status":"0"}`},
		{"isClient escaped", `{"command":{"type":"isClient","data":"\u0062ob"}}`, `{"data":true,"status":"0"}`},
		{"isClient empty", `{"command":{"type":"isClient","data":""}}`, `{"data":false,"status":"0"}`},
		{"isClient without data", `{"command":{"type":"isClient"}}`, none},
		{"isClient of a number", `{"command":{"type":"isClient","data":7}}`, none},
		{"isClient null", `{"command":{"type":"isClient","data":null}}`, none},
		{"serverInfo", `{"command":{"type":"serverInfo"}}`, `{"data":{"adminInfo":"call \"me\"","clientCount":"3","listeners":{"listener0":{"address":"tcp4://127.0.0.1:2223"},"listener1":{"address":"unix:///run/bester/hub.sock"}}},"status":"0"}`},
		{"unknown", `{"command":{"type":"explode"}}`, none},
		{"unknown empty", `{"command":{"type":""}}`, none},
		{"no command", `{}`, `{"status":"1"}`},
		{"command is no object", `{"command":"listClients"}`, `{"status":"1"}`},
		{"no type", `{"command":{"data":"bob"}}`, `{"status":"1"}`},
		{"type is no string", `{"command":{"type":3}}`, `{"status":"1"}`},
		{"list", `[]`, `{"status":"1"}`},
		{"more than asked", `{"what":1,"command":{"type":"isClient","data":"ann","what":[]}}`, `{"data":true,"status":"0"}`},
	} {
		if got := p.ask(c.request); got != c.want { // all over one connection
			t.Errorf("%s: got %s", c.name, got)
		}
	}
	if got := p.ask(`{"command":{"type":"quit"}}`); got != `{"data":null,"status":"0"}` {
		t.Errorf("quit: got %s", got)
	}
	if got := p.next(); got != "end" {
		t.Errorf("after quit: got %s", got)
	}
}

func TestServerInfoDefaults(t *testing.T) {
	_, path, _ := start(t, Options{})
	const want = `{"data":{"adminInfo":null,"clientCount":"3","listeners":{}},"status":"0"}`
	if got := dial(t, path).ask(`{"command":{"type":"serverInfo"}}`); got != want {
		t.Errorf("got %s", got)
	}
}

func TestMalformedRequestIsAnsweredThenClosed(t *testing.T) {
	_, path, _ := start(t, Options{})
	for _, request := range []string{"", "{", "nonsense", `{"command":{"type":"listClients"}} `[1:], "\ufeff{}", "{}x", strings.Repeat("[", 4000), `{"command":{"type":"\ud800"`} {
		p := dial(t, path)
		if got := p.ask(request); got != `{"status":"1"}` {
			t.Errorf("%.20q: got %s", request, got)
		}
		if got := p.next(); got != "end" {
			t.Errorf("%.20q: then got %s", request, got)
		}
	}
}

func TestFrameTooLong(t *testing.T) {
	log := make(lines, 10)
	_, path, _ := start(t, Options{Log: slog.New(slog.NewTextHandler(log, nil))})
	p := dial(t, path)
	p.Write([]byte{1, 0x10, 0, 0})
	if got := p.next(); got != "end" {
		t.Errorf("got %s", got)
	}
	if line := <-log; !strings.Contains(line, "4097") {
		t.Errorf("logged %s", line)
	}
}

type lines chan string

func (l lines) Write(b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}

func TestFragmentedRequest(t *testing.T) {
	_, path, _ := start(t, Options{})
	p := dial(t, path)
	request := bformat.Append(nil, []byte(`{"command":{"type":"isClient","data":"ann"}}`))
	for i := range request {
		p.Write(request[i : i+1])
	}
	p.Write(append(request, request...))
	p.Conn.(*net.UnixConn).CloseWrite()
	for range 3 {
		if got := p.next(); got != `{"data":true,"status":"0"}` {
			t.Errorf("got %s", got)
		}
	}
	if got := p.next(); got != "end" {
		t.Errorf("got %s", got)
	}
}

func TestTooManyConnections(t *testing.T) {
	log := make(lines, 10)
	_, path, _ := start(t, Options{MaxConnections: 2, Log: slog.New(slog.NewTextHandler(log, nil))})
	first, second := dial(t, path), dial(t, path)
	for _, p := range []*peer{first, second} {
		p.ask("{}")
	}
	if got := dial(t, path).next(); got != "end" {
		t.Errorf("got %s", got)
	}
	if line := <-log; !strings.Contains(line, "too many") || !strings.Contains(line, "limit=2") {
		t.Errorf("logged %s", line)
	}
	first.ask(`{"command":{"type":"quit"}}`)
	for first.next() != "end" {
	}
	for { // accepted as soon as the server has unregistered the closed connection
		c := dial(t, path)
		c.Write(bformat.Append(nil, []byte("{}")))
		if c.next() == `{"status":"1"}` {
			break
		}
	}
	if got := second.ask("{}"); got != `{"status":"1"}` {
		t.Errorf("the other one got %s", got)
	}
}

func TestIdleConnectionIsClosed(t *testing.T) {
	_, path, _ := start(t, Options{IdleTimeout: time.Second})
	p := dial(t, path)
	p.Write([]byte{9})
	if got := p.next(); got != "end" {
		t.Errorf("got %s", got)
	}
}

func TestPanicEndsOneConnection(t *testing.T) {
	log := make(lines, 10)
	_, path, _ := start(t, Options{Admin: func() []byte { panic("a bug") }, Log: slog.New(slog.NewTextHandler(log, nil))})
	p := dial(t, path)
	if got := p.ask(`{"command":{"type":"serverInfo"}}`); got != "end" {
		t.Errorf("got %s", got)
	}
	if line := <-log; !strings.Contains(line, "a bug") {
		t.Errorf("logged %s", line)
	}
	if got := dial(t, path).ask("{}"); got != `{"status":"1"}` {
		t.Errorf("another got %s", got)
	}
}

func TestShutdown(t *testing.T) {
	s, path, stopped := start(t, Options{})
	p := dial(t, path)
	p.ask("{}")
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("serve: %v", err)
	}
	if got := p.next(); got != "end" {
		t.Errorf("got %s", got)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(l); err != nil {
		t.Error(err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a listener that came late is still open: %v", err)
	}
}

func TestShutdownIsBounded(t *testing.T) {
	inside, goOn := make(chan bool), make(chan bool)
	s, path, _ := start(t, Options{Admin: func() []byte { inside <- true; <-goOn; return nil }})
	p := dial(t, path)
	p.Write(bformat.Append(nil, []byte(`{"command":{"type":"serverInfo"}}`)))
	<-inside
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(goOn)
}

func Example() {
	dir, err := os.MkdirTemp("", "hub")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", filepath.Join(dir, "bInformer"))
	if err != nil {
		fmt.Println(err)
		return
	}
	s := NewServer(Options{Directory: new(hub.Directory)})
	go s.Serve(l)
	defer s.Shutdown(context.Background())

	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	c.Write(bformat.Append(nil, []byte(`{"command":{"type":"isClient","data":"ann"}}`)))
	answer, err := bformat.NewReader(c, 0).Next()
	fmt.Println(string(answer), err)
	// Output: {"data":false,"status":"0"} <nil>
}
