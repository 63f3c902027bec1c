package upstream

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testTimeout = time.Minute

// A server is the other end: it sends each connection's frame to got, and then calls do.
type server struct {
	address string
	got     chan string
}

func listen(t *testing.T, network, address string, do func(c *net.TCPConn, frame string)) *server {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{l.Addr().String(), make(chan string, 1000)}
	done := make(chan bool)
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(testTimeout))
			frame, err := bformat.NewReader(c, 0).Next()
			if err != nil {
				t.Errorf("server: %v", err)
			}
			text := string(frame)
			s.got <- text
			if do != nil {
				do(c.(*net.TCPConn), text)
			}
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return s
}

func forwarder(t *testing.T, o Options) *ClassicForwarder {
	t.Helper()
	if o.Unnamed.Hosts == nil && o.Unnamed.Ranges == nil {
		o.Unnamed.All = true // these tests run on loopback
	}
	d := NewClassicForwarder(o)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		defer cancel()
		if err := d.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	return d
}

// receipts records the outcome of messages.
type receipts chan result

type result struct {
	tag   uint64
	err   error
	notes hub.Notes
}

func (r receipts) Done(m *hub.Message, err error) { r <- result{m.Tag, err, m.Notes} }

func (r receipts) want(t *testing.T, tag uint64, parts ...string) {
	t.Helper()
	select {
	case got := <-r:
		if got.tag != tag || (got.err == nil) != (len(parts) == 0) {
			t.Fatalf("got %d: %v, want %d: %q", got.tag, got.err, tag, parts)
		}
		for _, part := range parts {
			if !strings.Contains(got.err.Error(), part) {
				t.Errorf("got %v without %q", got.err, part)
			}
		}
	case <-time.After(testTimeout):
		t.Fatal("no receipt came")
	}
}

func message(to string, tag uint64, r hub.Receipt) *hub.Message {
	a, err := hub.ParseAddress(to)
	if err != nil {
		panic(err)
	}
	return &hub.Message{
		Type: "t", To: []hub.Address{a}, Tag: tag, Receipt: r,
		Data: hub.Data{Encoding: hub.JSON, Bytes: fmt.Append(nil, tag)},
	}
}

func put(t *testing.T, d *ClassicForwarder, to string, tag uint64, r hub.Receipt) {
	t.Helper()
	if err := d.Put(message(to, tag, r)); err != nil {
		t.Fatalf("message %d: %v", tag, err)
	}
}

func frame(tag uint64) string {
	return fmt.Sprintf(`{"header":{"scope":"server"},"payload":{"data":%d,"type":"t"}}`, tag)
}
