package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/wire"
)

// unreachable returns an address where nobody listens.
func unreachable(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestServerThatCannotBeReached(t *testing.T) {
	address := unreachable(t)
	d := direct(t, Options{})
	r := make(receipts, 100)
	for tag := range uint64(100) {
		put(t, d, "@"+address, tag, r)
	}
	for tag := range uint64(100) {
		r.want(t, tag, "server "+address, "refused")
	}
	if s := d.Stats(); s.Failed != 100 || s.Sent != 0 {
		t.Errorf("got %+v", s)
	}
	put(t, d, "@"+address, 100, r) // the next message is tried again
	r.want(t, 100, "refused")
}

func TestServerThatNeverCloses(t *testing.T) {
	proceed := make(chan bool)
	s := listen(t, "tcp4", "127.0.0.1:0", nil)
	stuck := listen(t, "tcp4", "127.0.0.1:0", func(c *net.TCPConn, f string) {
		if f == frame(1) {
			io.Copy(io.Discard, c) // until the other end gives up
			<-proceed
		}
	})
	d := direct(t, Options{AnswerTimeout: 20 * time.Millisecond})
	r := make(receipts, 10)
	put(t, d, "@"+stuck.address, 1, r)
	put(t, d, "@"+stuck.address, 2, r)
	put(t, d, "@"+s.address, 3, r)
	var got []uint64
	for range 3 {
		res := <-r
		if res.err != nil {
			t.Error(res.err) // it was reached
		}
		got = append(got, res.tag)
		if res.tag == 1 {
			close(proceed)
		}
	}
	if slices.Index(got, 1) > slices.Index(got, 2) {
		t.Errorf("got receipts in the order %v", got)
	}
}

func TestServerStatus(t *testing.T) {
	status := func(err error) []byte {
		return bformat.Append(nil, wire.AppendClassicStatus(nil, []byte(`"x"`), err))
	}
	for name, c := range map[string]struct {
		do   func(c *net.TCPConn)
		want string
	}{
		"nothing":   {func(c *net.TCPConn) {}, ""},
		"good":      {func(c *net.TCPConn) { c.Write(status(nil)) }, ""},
		"bad":       {func(c *net.TCPConn) { c.Write(status(hub.ErrNoHandler)) }, "refused: no handler for this type"},
		"reset":     {func(c *net.TCPConn) { c.SetLinger(0) }, "reset"},
		"garbage":   {func(c *net.TCPConn) { c.Write(bformat.Append(nil, []byte("{"))) }, ""},
		"half":      {func(c *net.TCPConn) { c.Write([]byte{9, 0}) }, ""},
		"too long":  {func(c *net.TCPConn) { c.Write([]byte{0xff, 0xff, 0xff, 0x7f}) }, ""},
		"for ever":  {func(c *net.TCPConn) { endless(c, status(nil)) }, ""},
		"bad, more": {func(c *net.TCPConn) { endless(c, status(errors.New("no room"))) }, "refused: no room"},
	} {
		t.Run(name, func(t *testing.T) {
			s := listen(t, "tcp4", "127.0.0.1:0", func(conn *net.TCPConn, _ string) { c.do(conn) })
			d := direct(t, Options{AnswerTimeout: 50 * time.Millisecond})
			r := make(receipts, 1)
			put(t, d, "@"+s.address, 1, r)
			if c.want == "" {
				r.want(t, 1)
			} else {
				r.want(t, 1, "server "+s.address, c.want)
			}
		})
	}
}

func endless(c net.Conn, frame []byte) {
	for {
		if _, err := c.Write(frame); err != nil {
			return
		}
	}
}

func TestShutdownSendsWhatWaits(t *testing.T) {
	proceed := make(chan bool)
	s := listen(t, "tcp4", "127.0.0.1:0", func(*net.TCPConn, string) { <-proceed })
	d := NewDirect(Options{AnswerTimeout: testTimeout, Servers: 1})
	r := make(receipts, 10)
	for tag := range uint64(3) {
		put(t, d, "@"+s.address, tag, r)
	}
	<-s.got
	ended := make(chan error)
	go func() { ended <- d.Shutdown(context.Background()) }()
	for { // once it ends nothing more is taken
		err := d.Put(message("@"+unreachable(t), 9, nil))
		if errors.Is(err, hub.ErrClosed) {
			break
		}
		if !errors.Is(err, hub.ErrFull) {
			t.Errorf("got %v", err)
			break
		}
	}
	close(proceed)
	for tag := range uint64(3) {
		r.want(t, tag)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestShutdownIsBounded(t *testing.T) {
	proceed := make(chan bool)
	s := listen(t, "tcp4", "127.0.0.1:0", func(*net.TCPConn, string) { <-proceed })
	d := NewDirect(Options{AnswerTimeout: time.Hour})
	r := make(receipts, 10)
	put(t, d, "@"+s.address, 1, r)
	<-s.got
	put(t, d, "@"+s.address, 2, r)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if got := <-r; got.tag != 1 { // sent whole, as far as can be told
		t.Errorf("got %+v", got)
	}
	r.want(t, 2, "server "+s.address)
	close(proceed)
}

func ExampleDirect() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	got := make(chan string)
	go func() { // the other server
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		frame, _ := bformat.NewReader(c, 0).Next()
		got <- string(frame)
	}()

	d := NewDirect(Options{Addresses: map[hub.ServerName]string{"barn": l.Addr().String()}})
	defer d.Shutdown(context.Background())
	directory := new(hub.Directory)
	directory.SetServers(map[hub.ServerName]hub.Sink{"barn": d}, d) // d also takes any host:port
	err = directory.Server("barn").Put(&hub.Message{
		Type: "alarm/frost",
		To:   []hub.Address{{User: "farmer", Server: "barn"}},
		Data: hub.Data{Encoding: hub.JSON, Bytes: []byte(`-0.5`)},
	})
	fmt.Println(<-got, err)
	// Output: {"header":{"scope":"server","to":["farmer"]},"payload":{"data":-0.5,"type":"alarm/frost"}} <nil>
}
