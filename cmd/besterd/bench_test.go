package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/besterhub/bester/devices/senml"
	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/account"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/config"
	"github.com/besterhub/bester/hub/wire"
)

// Messages of 64 bytes over TCP, 64 in one write, through
//
//	Relay    two connections and a 64 KiB buffer: what the machine can do
//	Native   a client, the hub with a filter in its route that passes all on, a client
//	Deadband the same with a filter that reads what it passes on
//
// and, one after the other, from a client through the hub and a handler process to
// another client, in the original's dialect:
//
//	Classic  each message waits for the status of the one before
//	Classic16  16 are sent ahead
const messagesPerWrite = 64

func BenchmarkRelay(b *testing.B) {
	l := listenTCP(b)
	go func() {
		from, err := l.Accept()
		if err != nil {
			return
		}
		to, err := l.Accept()
		if err != nil {
			return
		}
		relay(from, to)
	}()
	from, to := dialTCP(b, l.Addr().String()), dialTCP(b, l.Addr().String())
	var frames []byte
	for range messagesPerWrite {
		frames = bformat.Append(frames, make([]byte, 64))
	}
	measure(b, from, frames, bformat.NewReader(to, 0))
}

// relay passes frames on, reading and writing as much at once as a buffer holds.
func relay(from io.Reader, to io.Writer) error {
	in, out := bufio.NewReaderSize(from, 64<<10), bufio.NewWriterSize(to, 64<<10)
	frame := make([]byte, 64<<10)
	for {
		if _, err := io.ReadFull(in, frame[:4]); err != nil {
			return err
		}
		n := 4 + int(binary.LittleEndian.Uint32(frame))
		if n > len(frame) {
			return io.ErrShortBuffer
		}
		if _, err := io.ReadFull(in, frame[4:n]); err != nil {
			return err
		}
		if _, err := out.Write(frame[:n]); err != nil {
			return err
		}
		if in.Buffered() == 0 {
			if err := out.Flush(); err != nil {
				return err
			}
		}
	}
}

func BenchmarkNative(b *testing.B) {
	d, addr := startHub(b, "")
	pass := hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error {
		a.Pass(m.Data)
		return nil
	})
	route := hub.Route{Match: "reading/#", Through: []hub.Handler{pass}, To: []hub.Address{{User: "ann"}}}
	if err := d.router.SetRoutes([]hub.Route{route}); err != nil {
		b.Fatal(err)
	}
	benchmarkNative(b, addr)
}

func BenchmarkDeadband(b *testing.B) {
	_, addr := startHub(b, `
		[filters.changes]
		kind = "deadband"
		[[route]]
		match = "reading/#"
		through = ["changes"]
		to = ["ann"]`)
	benchmarkNative(b, addr)
}

func benchmarkNative(b *testing.B, addr string) {
	from, _ := loginNative(b, addr, "sam")
	_, to := loginNative(b, addr, "ann")
	measure(b, from, readings(b), to)
}

// readings returns one write: frames of messagesPerWrite readings, each of 64 bytes and none
// like the one before it.
func readings(b *testing.B) (frames []byte) {
	var p senml.Pack
	for i := range messagesPerWrite {
		p.Reset(hub.MessagePack, "greenhouse/bme280/", time.Unix(1_700_000_000, 0))
		p.Number("temperature/inside", "Cel", 20+float64(i)/8, time.Time{})
		d, err := p.Data()
		if err != nil {
			b.Fatal(err)
		}
		if i == 0 && (len(d.Bytes) < 60 || len(d.Bytes) > 68) {
			b.Fatalf("a reading has %d bytes, want about 64", len(d.Bytes))
		}
		start := len(frames)
		frames, err = wire.AppendMessage(bformat.Begin(frames), 0, wire.KindSend, &hub.Message{Type: "reading/greenhouse", Data: d})
		if err != nil {
			b.Fatal(err)
		}
		frames = bformat.End(frames, start)
	}
	return frames
}

// writesInFlight is how many writes the sender is ahead of the receiver at most, so that
// what waits in between fits into the default queue of a session.
const writesInFlight = 24

// measure sends b.N messages, rounded up to whole writes, and takes them from to.
func measure(b *testing.B, from net.Conn, frames []byte, to *bformat.Reader) {
	writes := (b.N + messagesPerWrite - 1) / messagesPerWrite
	window := make(chan struct{}, writesInFlight)
	done := make(chan error, 1)
	b.ReportAllocs()
	b.ResetTimer()
	go func() {
		for range writes {
			for range messagesPerWrite {
				if _, err := to.Next(); err != nil {
					done <- err
					return
				}
			}
			<-window
		}
		done <- nil
	}()
	for range writes {
		select {
		case window <- struct{}{}:
		case err := <-done:
			b.Fatal(err)
		}
		if _, err := from.Write(frames); err != nil {
			b.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(writes*messagesPerWrite)/b.Elapsed().Seconds(), "msg/s")
}

func BenchmarkClassic(b *testing.B)   { benchmarkClassic(b, 1) }
func BenchmarkClassic16(b *testing.B) { benchmarkClassic(b, 16) }

func benchmarkClassic(b *testing.B, inFlight int) {
	socket := filepath.Join(b.TempDir(), "handler.sock")
	startHandler(b, socket)
	_, addr := startHub(b, fmt.Sprintf(`
		[handlers.echo]
		types = ["reading"]
		dialect = "classic"
		socket = %q`, socket))
	from, status := loginClassic(b, addr, "sam")
	_, to := loginClassic(b, addr, "ann")
	frame := bformat.Append(nil, []byte(`{"header":{},"payload":{"type":"reading","id":"1","data":{"n":"greenhouse/bme280/temperature","u":"Cel","v":21.40,"t":17e8}}}`))
	b.ResetTimer()
	for sent, answered := 0, 0; answered < b.N; {
		for ; sent < b.N && sent-answered < inFlight; sent++ {
			if _, err := from.Write(frame); err != nil {
				b.Fatal(err)
			}
		}
		for _, r := range []*bformat.Reader{to, status} {
			if _, err := r.Next(); err != nil {
				b.Fatal(err)
			}
		}
		answered++
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

// startHub starts a hub on the config and returns it and its TCP address. Its users are sam
// and ann, whose password is their name.
func startHub(tb testing.TB, text string) (*daemon, string) {
	tb.Helper()
	folder := tb.TempDir()
	file := filepath.Join(folder, "accounts")
	accounts, err := account.Create(file, account.Options{Cost: 4})
	if err != nil {
		tb.Fatal(err)
	}
	for _, name := range []hub.UserName{"sam", "ann"} {
		if err := accounts.Add(name, string(name), account.DefaultPermissions()); err != nil {
			tb.Fatal(err)
		}
	}
	c, err := config.Parse("bester.toml", fmt.Appendf(nil, `
		[[listen]]
		network = "tcp4"
		address = "127.0.0.1:0"
		[accounts]
		file = %q
		%s`, file, text))
	if err != nil {
		tb.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(tb.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	d, err := start(c, log, func() uint64 { return 0 })
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { d.shutdown(log) })
	for _, l := range d.listeners {
		return d, l.Addr().String()
	}
	tb.Fatal("no listener")
	return nil, ""
}

func listenTCP(tb testing.TB) net.Listener {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { l.Close() })
	return l
}

func dialTCP(tb testing.TB, addr string) net.Conn {
	c, err := net.Dial("tcp4", addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	return c
}

// loginNative logs a native client in.
func loginNative(tb testing.TB, addr, user string) (net.Conn, *bformat.Reader) {
	h := wire.AppendHello(nil, &wire.Hello{Version: wire.Version, Role: wire.RoleClient, User: user, Password: user})
	return logIn(tb, addr, h)
}

// loginClassic logs a classic client in.
func loginClassic(tb testing.TB, addr, user string) (net.Conn, *bformat.Reader) {
	return logIn(tb, addr, fmt.Appendf(nil, `{"header":{"scope":"client","authentication":{"username":%q,"password":%q}},"payload":{}}`, user, user))
}

func logIn(tb testing.TB, addr string, first []byte) (net.Conn, *bformat.Reader) {
	c := dialTCP(tb, addr)
	if _, err := c.Write(bformat.Append(nil, first)); err != nil {
		tb.Fatal(err)
	}
	in := bformat.NewReader(c, 0)
	if _, err := in.Next(); err != nil {
		tb.Fatal(err)
	}
	return c, in
}

// handlerSocket tells this test binary to be a classic handler.
const handlerSocket = "BESTERD_TEST_HANDLER"

// startHandler runs a classic handler, which sends what it gets to ann, as a process
// of its own.
func startHandler(tb testing.TB, socket string) {
	tb.Helper()
	p, err := os.StartProcess(os.Args[0], os.Args[:1], &os.ProcAttr{
		Env: append(os.Environ(), handlerSocket+"="+socket), Files: []*os.File{nil, nil, os.Stderr},
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		p.Kill()
		p.Wait()
	})
	for end := time.Now().Add(timeout); ; time.Sleep(time.Millisecond) {
		if c, err := net.Dial("unix", socket); err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			tb.Fatal("the handler does not listen")
		}
	}
}

// runHandler serves as the classic handler of startHandler.
func runHandler(socket string) error {
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			data, err := bformat.NewReader(c, 0).Next()
			if err != nil {
				return
			}
			c.Write(bformat.Append(nil, fmt.Appendf(nil, `{"header":{"status":"0","command":{"type":"sendClients","data":["ann"]}},"data":%s}`, data)))
		}()
	}
}
