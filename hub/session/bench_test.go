package session

import (
	"encoding/binary"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/account"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/wire"
)

// sendFrames returns n send frames of one reading of 64 bytes in all.
func sendFrames(n int) []byte {
	pack := make([]byte, 0, 64)
	pack = append(pack, 0xd9, 60)
	pack = append(pack, make([]byte, 60)...)
	var out []byte
	for range n {
		at := len(out)
		out = bformat.Begin(out)
		var err error
		out, err = wire.AppendMessage(out, 0, wire.KindSend, &hub.Message{Type: "r/x", Data: hub.Data{Encoding: hub.MessagePack, Bytes: pack}})
		if err != nil {
			panic(err)
		}
		out = bformat.End(out, at)
	}
	return out
}

func rawDial(tb testing.TB, addr, user string) (net.Conn, *bformat.Reader) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	c.Write(bformat.Append(nil, wire.AppendHello(nil, &wire.Hello{Version: 1, Role: "client", User: user, Password: "p"})))
	r := bformat.NewReader(c, 0)
	if _, err := r.Next(); err != nil {
		tb.Fatal(err)
	}
	return c, r
}

func BenchmarkNative(b *testing.B) {
	store, err := account.Create(b.TempDir()+"/accounts", account.Options{Cost: 4})
	if err != nil {
		b.Fatal(err)
	}
	for _, u := range []hub.UserName{"a", "b"} {
		if err := store.Add(u, "p", account.DefaultPermissions()); err != nil {
			b.Fatal(err)
		}
	}
	r := hub.NewRouter(hub.RouterOptions{Name: "h"})
	pass := hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error { a.Pass(m.Data); return nil })
	r.SetRoutes([]hub.Route{{Match: "r/#", Through: []hub.Handler{pass}, To: []hub.Address{{User: "b"}}}})
	s := NewServer(Options{Router: r, Accounts: store, Hub: "h", Limits: Limits{Queue: 64 << 20}})
	l, err := Listen("tcp4", "127.0.0.1:0", ListenOptions{})
	if err != nil {
		b.Fatal(err)
	}
	go s.Serve(l)
	defer s.Shutdown(b.Context())
	addr := l.Addr().String()
	from, _ := rawDial(b, addr, "a")
	defer from.Close()
	to, in := rawDial(b, addr, "b")
	defer to.Close()
	pump(b, from, to, in, 64)
	b.Logf("stats %+v %+v", r.Stats(), s.Stats())
}

func pump(b *testing.B, from net.Conn, to net.Conn, in *bformat.Reader, batch int) {
	frames := sendFrames(batch)
	var got atomic.Int64
	done := make(chan struct{})
	total := int64((b.N + batch - 1) / batch * batch)
	go func() {
		defer close(done)
		for got.Load() < total {
			if _, err := in.Next(); err != nil {
				return
			}
			got.Add(1)
		}
	}()
	b.ReportAllocs()
	b.ResetTimer()
	sent := int64(0)
	for sent < total {
		from.Write(frames)
		sent += int64(batch)
	}
	<-done
	b.ReportMetric(float64(total)/b.Elapsed().Seconds()/1e6, "M/s")
}

func BenchmarkRelay(b *testing.B) {
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	defer l.Close()
	go func() {
		x, _ := l.Accept()
		y, _ := l.Accept()
		relay(x, y)
	}()
	from, _ := net.Dial("tcp", l.Addr().String())
	defer from.Close()
	to, _ := net.Dial("tcp", l.Addr().String())
	defer to.Close()
	pump(b, from, to, bformat.NewReader(to, 0), 64)
}

func relay(x, y net.Conn) {
	buf := make([]byte, 64<<10)
	out := make([]byte, 0, 64<<10)
	n := 0
	for {
		k, err := x.Read(buf[n:])
		n += k
		if err != nil {
			return
		}
		i := 0
		out = out[:0]
		for n-i >= 4 {
			l := 4 + int(binary.LittleEndian.Uint32(buf[i:]))
			if n-i < l {
				break
			}
			out = append(out, buf[i:i+l]...)
			i += l
		}
		copy(buf, buf[i:n])
		n -= i
		if _, err := y.Write(out); err != nil {
			return
		}
	}
}

var _ = io.EOF
