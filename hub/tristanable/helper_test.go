package tristanable

import (
	"net"
	"path/filepath"
	"testing"

	"github.com/besterhub/bester/hub/bformat"
)

// sockets returns the two ends of a UNIX domain socket.
func sockets(t testing.TB) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.Dial("unix", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return a, b
}

// echo answers every request with itself.
func echo(c *Conn, tag uint64, message []byte) {
	_ = c.Send(tag, message) // fails only where the connection ends, which the caller sees
}

// pair returns a connection and a raw peer, which the test plays.
func pair(t *testing.T, o Options) (c *Conn, peer *rawPeer) {
	t.Helper()
	a, b := sockets(t)
	c = NewConn(a, o)
	t.Cleanup(func() {
		c.Close()
		b.Close()
		<-c.Done()
	})
	return c, &rawPeer{t, b, bformat.NewReader(b, 0)}
}

type rawPeer struct {
	t *testing.T
	net.Conn
	r *bformat.Reader
}

func (p *rawPeer) next() (uint64, string) {
	p.t.Helper()
	b, err := p.r.Next()
	if err != nil {
		p.t.Fatal(err)
	}
	tag, m, err := Cut(b)
	if err != nil {
		p.t.Fatal(err)
	}
	return tag, string(m)
}

func (p *rawPeer) send(tag uint64, m string) {
	p.t.Helper()
	if _, err := p.Write(bformat.Append(nil, Append(nil, tag), []byte(m))); err != nil {
		p.t.Fatal(err)
	}
}

// result is what a Call's Done got.
type result struct {
	reply string
	err   error
}

// newCall returns a Call of request and a channel of its results.
func newCall(request string) (*Call, chan result) {
	results := make(chan result, 10)
	return &Call{
		Encode: func(dst []byte) []byte { return append(dst, request...) },
		Done:   func(_ *Call, reply []byte, err error) { results <- result{string(reply), err} },
	}, results
}
