package link

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/hubtest"
)

// good is what a classic handler answers when all is well.
const good = `{"header":{"status":"0","command":{"type":"sendClients","data":["anna"]}},"data":7}`

// classicServer is a classic handler in this process: serve acts on each connection.
func classicServer(t testing.TB, path string, serve func(c net.Conn)) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
}

// readFrame returns the data of the message that came over c.
func readFrame(c net.Conn) string {
	in := bformat.NewReader(c, 0)
	defer in.Release()
	b, _ := in.Next()
	return string(b)
}

// answering returns what to serve to read the message and answer with these bytes.
func answering(frame string) func(c net.Conn) {
	return func(c net.Conn) {
		readFrame(c)
		io.WriteString(c, frame)
	}
}

func frame(s string) string { return string(bformat.Append(nil, []byte(s))) }

// newClassic makes a Classic that is shut down when the test ends; it must leave no goroutine.
func newClassic(t testing.TB, c ClassicConfig) *Classic {
	leaks := goleak.IgnoreCurrent()
	if c.Name == "" {
		c.Name = "old"
	}
	if c.Path == "" {
		c.Path = filepath.Join(shortDir(t), "old")
	}
	h := NewClassic(c)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), hubtest.WaitTimeout)
		defer cancel()
		if err := h.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		goleak.VerifyNone(t, leaks)
	})
	return h
}

func TestClassicKeepsTheContractOfHandlers(t *testing.T) {
	hubtest.TestHandler(t, func(t *testing.T) hub.Handler {
		dir := shortDir(t)
		classicServer(t, filepath.Join(dir, "s"), answering(frame(good)))
		return newClassic(t, ClassicConfig{Path: filepath.Join(dir, "s")})
	})
}

func TestClassicSendsOnlyTheData(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	got := make(chan string, 2)
	classicServer(t, path, func(c net.Conn) {
		got <- readFrame(c)
		io.WriteString(c, frame(good))
	})
	c := newClassic(t, ClassicConfig{Path: path})
	var as hubtest.Answers
	as.Ask(c, message("t", "anna", 0, `{"b": 1.0, "a":"\u00e9"}`))
	if g := <-got; g != `{"b": 1.0, "a":"\u00e9"}` {
		t.Errorf("JSON went out as %q", g)
	}
	m := message("t", "anna", 1, "")
	m.Data = hub.Data{Encoding: hub.MessagePack, Bytes: []byte("\x81\xa1a\x07")}
	as.Ask(c, m)
	if g := <-got; g != `{"a":7}` {
		t.Errorf("MessagePack went out as %q", g)
	}
	a := as.Wait(t, 2)[1]
	if a.Err != nil || a.Commands[0].Verb != hub.SendClients || a.Commands[0].To[0].User != "anna" || a.Text(0) != "7" {
		t.Errorf("got %+v", a)
	}
}

// Every failure that the page on the classic dialect lists. The handler stays usable after each.
func TestClassicFailures(t *testing.T) {
	header := func(s string) string { return frame(`{"header":` + s + `,"data":7}`) }
	command := `"command":{"type":"sendClients","data":["anna"]}`
	for name, c := range map[string]struct {
		serve func(net.Conn)
		want  error
		text  string
	}{
		"other status":         {answering(header(`{"status":"1",` + command + `}`)), hub.ErrHandler, `status "1"`},
		"status a number":      {answering(header(`{"status":0,` + command + `}`)), hub.ErrHandler, "header.status"},
		"status missing":       {answering(header(`{` + command + `}`)), hub.ErrHandler, "header.status missing"},
		"malformed":            {answering(frame(`{"header"`)), hub.ErrHandler, "handler's answer"},
		"empty frame":          {answering(frame("")), hub.ErrHandler, "handler's answer"},
		"short frame":          {answering(frame(good)[:20]), hub.ErrHandler, "ended inside its answer"},
		"no answer":            {answering(""), hub.ErrHandler, "ended before it answered"},
		"closed unread":        {func(net.Conn) {}, hub.ErrHandler, "ended before it answered"},
		"command not object":   {answering(header(`{"status":"0","command":[]}`)), hub.ErrHandler, "header.command"},
		"data missing":         {answering(frame(`{"header":{"status":"0",` + command + `}}`)), hub.ErrHandler, "data missing"},
		"unknown command":      {answering(header(`{"status":"0","command":{"type":"boom","data":[]}}`)), hub.ErrHandler, "unknown command"},
		"C of the wrong type":  {answering(header(`{"status":"0","command":{"type":"sendClients","data":7}}`)), hub.ErrHandler, "header.command.data"},
		"an entry w/o port":    {answering(header(`{"status":"0","command":{"type":"sendServers","data":["1.2.3.4:"]}}`)), hub.ErrHandler, "header.command.data"},
		"frame over the limit": {answering("\xff\xff\xff\xffxx"), hub.ErrHandler, "an answer of 4294967295 bytes"},
		"hung":                 {func(c net.Conn) { io.Copy(io.Discard, c) }, hub.ErrTimeout, "no answer for 2s"},
		"dribbling": {func(c net.Conn) {
			readFrame(c)
			c.Write([]byte{200, 0, 0, 0})
			for {
				if _, err := c.Write([]byte{'{'}); err != nil {
					return
				}
				time.Sleep(30 * time.Millisecond)
			}
		}, hub.ErrTimeout, "no answer for 2s"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(shortDir(t), "s")
			var n atomic.Int32
			classicServer(t, path, func(conn net.Conn) {
				if n.Add(1) == 1 {
					c.serve(conn)
				} else {
					answering(frame(good))(conn)
				}
			})
			timeout := hubtest.WaitTimeout
			if c.want == hub.ErrTimeout {
				timeout = 2 * time.Second
			}
			h := newClassic(t, ClassicConfig{Path: path, Options: Options{Timeout: timeout}})
			var as hubtest.Answers
			as.Ask(h, message("t", "anna", 0, "0"))
			a := as.Wait(t, 1)[0]
			wantErr(t, a.Err, c.want, c.text)
			if !contains(a.Err.Error(), `"old"`) || len(a.Commands) > 0 {
				t.Errorf("got %v with %d commands", a.Err, len(a.Commands))
			}
			as.Ask(h, message("t", "anna", 1, "1"))
			if a := as.Wait(t, 2)[1]; a.Err != nil {
				t.Errorf("the next message: %v", a.Err)
			}
		})
	}
}

func TestClassicBytesAfterTheFirstFrameAreIgnored(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	classicServer(t, path, func(c net.Conn) { // also answers without reading
		io.WriteString(c, frame(good)+frame("garbage")+"\xff\xff\xff\xff")
	})
	var as hubtest.Answers
	as.Ask(newClassic(t, ClassicConfig{Path: path}), message("t", "anna", 0, `"`+strings.Repeat("x", 500000)+`"`))
	if a := as.Wait(t, 1)[0]; a.Err != nil || a.Text(0) != "7" {
		t.Errorf("got %+v", a)
	}
}

func TestClassicNobodyListens(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	h := newClassic(t, ClassicConfig{Path: path, Options: Options{Timeout: time.Hour}})
	var as hubtest.Answers
	as.Ask(h, message("t", "anna", 0, "0"))
	wantErr(t, as.Wait(t, 1)[0].Err, hub.ErrHandler, fmt.Sprintf("nobody listens on %q", path))
	stale(t, path)
	as.Ask(h, message("t", "anna", 1, "1"))
	wantErr(t, as.Wait(t, 2)[1].Err, hub.ErrHandler, fmt.Sprintf("nobody listens on %q", path))
}

// stale leaves a socket file behind which nobody listens.
func stale(t testing.TB, path string) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
}

func TestClassicConnectionsAreBoundedAndStreamsInTurn(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	var now, most atomic.Int32
	streams := make([]atomic.Int32, 10)
	classicServer(t, path, func(c net.Conn) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		var s int
		fmt.Sscan(readFrame(c), &s)
		if streams[s].Add(1) != 1 {
			t.Error("two messages of one stream at once")
		}
		time.Sleep(time.Millisecond)
		streams[s].Add(-1)
		now.Add(-1)
		io.WriteString(c, frame(good))
	})
	h := newClassic(t, ClassicConfig{Path: path, MaxConnections: 3})
	var as hubtest.Answers
	for i := range 100 {
		as.Ask(h, message("t", fmt.Sprint("s", i%10), i/10, fmt.Sprint(i%10)))
	}
	as.Wait(t, 100)
	if m := most.Load(); m > 3 || m < 2 {
		t.Errorf("%d connections at once, want up to 3", m)
	}
	if s := h.Stats(); s.Sent != 100 || s.Answered != 100 || s.Failed != 0 || s.Waiting != 0 {
		t.Errorf("stats %+v", s)
	}
}

// A hung message blocks its own stream alone, and what waits too long behind it fails.
func TestClassicHungStream(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	classicServer(t, path, func(c net.Conn) {
		if readFrame(c) == "0" {
			io.Copy(io.Discard, c)
		}
		io.WriteString(c, frame(good))
	})
	h := newClassic(t, ClassicConfig{Path: path, Options: Options{Timeout: 2 * time.Second}})
	var as hubtest.Answers
	as.Ask(h, message("t", "anna", 0, "0"))
	as.Ask(h, message("t", "anna", 1, "0")) // may be sent when the first is over, just in time
	as.Ask(h, message("t", "anna", 2, "0")) // so this one is not
	as.Ask(h, message("t", "bert", 0, "1"))
	a := as.Wait(t, 4)
	if a[0].Message.From.User != "bert" || a[0].Err != nil {
		t.Errorf("first came %+v", a[0])
	}
	wantErr(t, a[1].Err, hub.ErrTimeout, "no answer")
	waited := 0
	for _, a := range a[2:] {
		if !errors.Is(a.Err, hub.ErrTimeout) {
			t.Errorf("got error %v", a.Err)
		} else if strings.Contains(a.Err.Error(), "took no message") {
			waited++
		}
	}
	if waited == 0 {
		t.Error("none waited too long")
	}
}

func TestClassicFullBacklogIsWaitedFor(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	next := make(chan struct{})
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := l.(*net.UnixListener).SyscallConn()
	raw.Control(func(fd uintptr) { listen(int(fd), 0) }) // as small as it gets
	var wg sync.WaitGroup
	wg.Go(func() {
		<-next
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			answering(frame(good))(c)
			c.Close()
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	h := newClassic(t, ClassicConfig{Path: path})
	var as hubtest.Answers
	for i := range 16 {
		as.Ask(h, message("t", fmt.Sprint("s", i), 0, "0"))
	}
	until(t, "16 exchanges", func() (Stats, bool) { s := h.Stats(); return s, s.Processes == 16 })
	close(next)
	for _, a := range as.Wait(t, 16) {
		if a.Err != nil {
			t.Error(a.Err)
		}
	}
}

func TestClassicRefusesWhenFullAndShutDown(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	hold := make(chan struct{})
	classicServer(t, path, func(c net.Conn) {
		<-hold
		answering(frame(good))(c)
	})
	h := newClassic(t, ClassicConfig{Path: path, MaxConnections: 1, Options: Options{QueueMessages: 2}})
	var as hubtest.Answers
	as.Ask(h, message("t", "anna", 0, "0"))
	until(t, "the first is with the handler", func() (Stats, bool) { s := h.Stats(); return s, s.Sent == 1 })
	for i := range 3 {
		as.Ask(h, message("t", "anna", i+1, "0"))
	}
	wantErr(t, as.Wait(t, 1)[0].Err, hub.ErrFull, "2 messages wait for it already")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := h.Shutdown(ctx); err == nil {
		t.Error("shutdown: got nil, want the context's error")
	}
	for _, a := range as.Wait(t, 4)[1:] {
		wantErr(t, a.Err, hub.ErrClosed, "is being ended")
	}
	as.Ask(h, message("t", "anna", 9, "0"))
	wantErr(t, as.Wait(t, 5)[4].Err, hub.ErrClosed, "is being ended")
	close(hold)
}

func TestClassicSplitFrames(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	classicServer(t, path, func(c net.Conn) {
		var head [4]byte
		io.ReadFull(c, head[:])
		io.CopyN(io.Discard, c, int64(binary.LittleEndian.Uint32(head[:])))
		for _, b := range []byte(frame(good)) {
			c.Write([]byte{b})
		}
	})
	var as hubtest.Answers
	as.Ask(newClassic(t, ClassicConfig{Path: path}), message("t", "anna", 0, "0"))
	if a := as.Wait(t, 1)[0]; a.Err != nil {
		t.Error(a.Err)
	}
}

// BenchmarkClassic is one connection a message, 16 senders at once.
func BenchmarkClassic(b *testing.B) {
	path := filepath.Join(shortDir(b), "s")
	classicServer(b, path, answering(frame(good)))
	router := hub.NewRouter(hub.RouterOptions{})
	if _, err := router.Serve("t", newClassic(b, ClassicConfig{Path: path})); err != nil {
		b.Fatal(err)
	}
	defer router.Directory().Join("anna", sink{})()
	var y burstSender
	var ms [16]*hub.Message
	for i := range ms {
		ms[i] = message("t", fmt.Sprint("s", i), 0, "0")
		ms[i].Receipt = &y
	}
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += len(ms) {
		y.wg.Add(len(ms))
		for _, m := range ms {
			router.Put(m)
		}
		y.wg.Wait()
	}
	if y.er != nil {
		b.Fatal(y.er)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}
