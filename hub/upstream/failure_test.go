package upstream

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
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
	d := forwarder(t, Options{})
	r := make(receipts, 100)
	for tag := range uint64(100) {
		put(t, d, "@"+address, tag, r)
	}
	for tag := range uint64(100) {
		r.want(t, tag, "server "+address, "refused")
	}
	if s := d.Stats(); s.Failed != 100 || s.Confirmed != 0 {
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
	d := forwarder(t, Options{AnswerTimeout: time.Second})
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
		do    func(c *net.TCPConn)
		want  string // in the error; "" is none
		notes hub.Notes
	}{
		"nothing":      {func(c *net.TCPConn) {}, "", hub.NoteUnconfirmed},
		"good":         {func(c *net.TCPConn) { c.Write(status(nil)) }, "", 0},
		"bad":          {func(c *net.TCPConn) { c.Write(status(hub.ErrNoHandler)) }, "refused: no handler for this type", 0},
		"reset":        {func(c *net.TCPConn) { c.SetLinger(0) }, "reset", 0},
		"no status":    {func(c *net.TCPConn) { c.Write(bformat.Append(nil, []byte("{}"))) }, "is no Bester hub", 0},
		"not JSON":     {func(c *net.TCPConn) { c.Write(bformat.Append(nil, []byte("{"))) }, "is no Bester hub", 0},
		"native hello": {func(c *net.TCPConn) { c.Write(bformat.Append(nil, make([]byte, 9))) }, "is no Bester hub", 0},
		"half":         {func(c *net.TCPConn) { c.Write([]byte{9, 0}) }, "is no Bester hub", 0},
		"too long":     {func(c *net.TCPConn) { c.Write([]byte{0xff, 0xff, 0xff, 0x7f}) }, "is no Bester hub", 0},
		"TLS alert":    {func(c *net.TCPConn) { c.Write([]byte("\x15\x03\x03\x00\x02\x02\x46")) }, "a TLS port answered", 0},
		"HTTP":         {func(c *net.TCPConn) { c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) }, "a web server answered", 0},
		"SSH":          {func(c *net.TCPConn) { c.Write([]byte("SSH-2.0-OpenSSH_9.2\r\n")) }, "an SSH server answered", 0},
		"SMTP":         {func(c *net.TCPConn) { c.Write([]byte("220 mail ESMTP\r\n")) }, `"220 mail ESMTP\r\n"`, 0},
		"one byte":     {func(c *net.TCPConn) { c.Write([]byte{0}) }, "is no Bester hub", 0},
		"for ever":     {func(c *net.TCPConn) { endless(c, status(nil)) }, "", 0},
		"bad, more":    {func(c *net.TCPConn) { endless(c, status(errors.New("no room"))) }, "refused: no room", 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := listen(t, "tcp4", "127.0.0.1:0", func(conn *net.TCPConn, _ string) { c.do(conn) })
			d := forwarder(t, Options{AnswerTimeout: testTimeout})
			r := make(receipts, 1)
			put(t, d, "@"+s.address, 1, r)
			got := <-r
			if c.want == "" && got.err != nil || c.want != "" && (got.err == nil || !strings.Contains(got.err.Error(), c.want)) {
				t.Errorf("got %v, want %q", got.err, c.want)
			}
			if got.notes != c.notes {
				t.Errorf("got note %q, want %q", got.notes, c.notes)
			}
			want := Stats{}
			switch {
			case c.want != "":
				want.Failed = 1
			case c.notes != 0:
				want.Unconfirmed = 1
			default:
				want.Confirmed = 1
			}
			if got := d.Stats(); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

// A port that speaks TLS is found out, whatever of it answers.
func TestServerAtATLSPort(t *testing.T) {
	l, err := tls.Listen("tcp4", "127.0.0.1:0", &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		return nil, errors.New("none")
	}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan bool)
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		c.(*tls.Conn).Handshake()
	}()
	defer func() { l.Close(); <-done }()
	d := forwarder(t, Options{Addresses: map[hub.ServerName]string{"far": l.Addr().String()}})
	r := make(receipts, 1)
	put(t, d, "@far", 1, r)
	if got := <-r; got.err == nil && got.notes != hub.NoteUnconfirmed {
		t.Error("the message counts as delivered")
	}
	if s := d.Servers()[0]; s.State == Works || s.Confirmed > 0 {
		t.Errorf("got %+v", s)
	}
}

// A server that has confirmed messages and then closes without an answer has failed.
func TestServerThatFallsSilent(t *testing.T) {
	s := listen(t, "tcp4", "127.0.0.1:0", func(c *net.TCPConn, f string) {
		if f == frame(1) {
			c.Write(bformat.Append(nil, wire.AppendClassicStatus(nil, nil, nil)))
		}
	})
	var log bytes.Buffer
	d := forwarder(t, Options{Addresses: map[hub.ServerName]string{"far": s.address}, Log: slog.New(slog.NewTextHandler(&log, nil))})
	r := make(receipts, 1)
	put(t, d, "@far", 1, r)
	r.want(t, 1)
	put(t, d, "@far", 2, r)
	r.want(t, 2, "without the status")
	for _, want := range []string{`msg="server works" server=far`, `msg="message not handed over" server=far type=t err="server far (`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log without %s:\n%s", want, &log)
		}
	}
}

// A server that has confirmed messages and then takes longer than AnswerTimeout may still do
// what it was sent: that is no failure, and so its sender does not send it again.
func TestServerThatGetsSlow(t *testing.T) {
	proceed := make(chan bool)
	s := listen(t, "tcp4", "127.0.0.1:0", func(c *net.TCPConn, f string) {
		if f != frame(1) {
			<-proceed
		}
		confirm(c)
	})
	var log bytes.Buffer
	d := forwarder(t, Options{
		Addresses: map[hub.ServerName]string{"far": s.address}, AnswerTimeout: testTimeout,
		Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	r := make(receipts, 1)
	put(t, d, "@far", 1, r)
	r.want(t, 1)
	d.o.AnswerTimeout = time.Millisecond // the server does not answer before proceed is closed
	put(t, d, "@far", 2, r)
	if got := <-r; got.err != nil || got.notes != hub.NoteUnconfirmed {
		t.Errorf("got %+v", got)
	}
	close(proceed)
	if got, want := d.Stats(), (Stats{Confirmed: 1, Unconfirmed: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := d.Servers()[0]; got.State != Unconfirmed || got.Error != "" {
		t.Errorf("got %+v", got)
	}
	if want := `msg="server took a message and did not confirm it in time" server=far`; !strings.Contains(log.String(), want) {
		t.Errorf("log without %s:\n%s", want, &log)
	}
}

// A message that comes round again, with more hops, does not wait for the answer to the one
// before, which may depend on it.
func TestMessageThatComesRoundAgain(t *testing.T) {
	far := make(chan func(hops int), 1)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		back := <-far
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			served.Go(func() {
				defer c.Close()
				f, err := bformat.NewReader(c, 0).Next()
				if err != nil {
					t.Error(err)
					return
				}
				var d wire.Decoder
				first, err := wire.ParseClassicFirst(f, &d)
				if err != nil {
					t.Error(err)
					return
				}
				if first.Message.Hops < 16 {
					back(first.Message.Hops + 2) // returns when the other round has ended
				}
				c.Write(bformat.Append(nil, wire.AppendClassicStatus(nil, nil, nil)))
			})
		}
	})
	d := forwarder(t, Options{Addresses: map[hub.ServerName]string{"far": l.Addr().String()}, AnswerTimeout: testTimeout})
	send := func(hops int) {
		r := make(receipts, 1)
		m := message("@far", uint64(hops), r)
		m.Hops = hops
		if err := d.Put(m); err != nil {
			t.Error(err)
			return
		}
		if got := <-r; got.err != nil || got.notes != 0 {
			t.Errorf("%d hops: got %v %v", hops, got.err, got.notes)
		}
	}
	far <- send
	send(0)
	l.Close()
	served.Wait()
	if s := d.Stats(); s.Confirmed != 9 {
		t.Errorf("got %+v", s)
	}
}

// The hubs on the way of a message that went round do not each add their name to the reason.
func TestReasonOfACircle(t *testing.T) {
	reason := hub.Reason(hub.ErrHops, "server a (10.0.0.1:2223): refused: more than 16 hops")
	s := listen(t, "tcp4", "127.0.0.1:0", func(c *net.TCPConn, _ string) {
		c.Write(bformat.Append(nil, wire.AppendClassicStatus(nil, nil, reason)))
	})
	d := forwarder(t, Options{Addresses: map[hub.ServerName]string{"b": s.address}})
	r := make(receipts, 1)
	put(t, d, "@b", 1, r)
	if got := <-r; !errors.Is(got.err, hub.ErrHops) || got.err.Error() != reason.Error() {
		t.Errorf("got %v", got.err)
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
	d := NewClassicForwarder(Options{AnswerTimeout: testTimeout, MaxServers: 1, Unnamed: Unnamed{All: true}})
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
	d := NewClassicForwarder(Options{AnswerTimeout: time.Hour, Unnamed: Unnamed{All: true}})
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

func ExampleClassicForwarder() {
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

	d := NewClassicForwarder(Options{Addresses: map[hub.ServerName]string{"barn": l.Addr().String()}})
	defer d.Shutdown(context.Background())
	directory := new(hub.Directory)
	directory.SetServers(map[hub.ServerName]hub.Sink{"barn": d}, d) // d also takes what Options.Unnamed allows
	err = directory.Server("barn").Put(&hub.Message{
		Type: "alarm/frost",
		To:   []hub.Address{{User: "farmer", Server: "barn"}},
		Data: hub.Data{Encoding: hub.JSON, Bytes: []byte(`-0.5`)},
	})
	fmt.Println(<-got, err)
	// Output: {"header":{"scope":"server","to":["farmer"]},"payload":{"data":-0.5,"type":"alarm/frost"}} <nil>
}
