package tristanable

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/besterhub/bester/hub/bformat"
)

func TestPeerBreaksTheProtocol(t *testing.T) {
	defer goleak.VerifyNone(t)
	var le *bformat.LimitError
	for name, c := range map[string]struct {
		sent string
		is   func(error) bool
	}{
		"no tag":     {"\x07\x00\x00\x001234567", func(err error) bool { return err == ErrShort }},
		"empty":      {"\x00\x00\x00\x00", func(err error) bool { return err == ErrShort }},
		"over limit": {"\xff\xff\xff\xff", func(err error) bool { return errors.As(err, &le) }},
		"cut":        {"\x08\x00\x00\x00abc", func(err error) bool { return err == io.ErrUnexpectedEOF }},
		"nothing":    {"", func(err error) bool { return err == io.EOF }},
	} {
		a, b := sockets(t)
		c0 := NewConn(a, Options{})
		q, err := c0.Register(9)
		if err != nil {
			t.Fatal(err)
		}
		call, results := newCall("x")
		if err := c0.Go(call); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(b, c.sent); err != nil {
			t.Fatal(err)
		}
		if err := b.(*net.UnixConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		<-c0.Done()
		b.Close()
		if !c.is(c0.Err()) {
			t.Errorf("%s: ended with %v", name, c0.Err())
		}
		if r := <-results; r.err != c0.Err() || len(results) != 0 {
			t.Errorf("%s: the call got %v, and %d more", name, r.err, len(results))
		}
		for _, q := range []*Queue{q, c0.Default()} {
			if _, _, err := q.Dequeue(context.Background(), nil); err != c0.Err() {
				t.Errorf("%s: a queue got %v", name, err)
			}
		}
		if _, err := c0.Register(10); err != c0.Err() {
			t.Errorf("%s: Register got %v", name, err)
		}
	}
}

// Many goroutines use Call and Go while the connection dies. Each request gets exactly one
// outcome.
func TestDiesUnderLoad(t *testing.T) {
	defer goleak.VerifyNone(t)
	for round := range 20 {
		a, b := sockets(t)
		server := NewConn(b, Options{Incoming: echo}) // there is room for 8 times 100 replies
		client := NewConn(a, Options{})
		var wg sync.WaitGroup
		var started, told, answered atomic.Int64
		dying := make(chan struct{})
		for range 8 {
			wg.Go(func() {
				for {
					if _, err := client.Call(context.Background(), []byte("ping"), nil); err != nil {
						return
					}
					if answered.Add(1) == 100 {
						close(dying)
					}
				}
			})
			wg.Go(func() {
				call := &Call{Encode: func(dst []byte) []byte { return append(dst, "pong"...) }}
				credits := make(chan struct{}, 100)
				call.Done = func(*Call, []byte, error) { told.Add(1); <-credits }
				for {
					credits <- struct{}{}
					if err := client.Go(call); err != nil {
						return
					}
					started.Add(1)
					client.Flush()
				}
			})
		}
		<-dying
		switch round % 4 {
		case 0:
			client.Close()
		case 1:
			server.Close()
		case 2:
			b.Close()
		case 3:
			client.Shutdown()
		}
		wg.Wait()
		<-client.Done()
		<-server.Done()
		b.Close()
		if started.Load() != told.Load() {
			t.Errorf("round %d: %d started, %d told", round, started.Load(), told.Load())
		}
	}
}

func TestGoAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("pools forget under the race detector")
	}
	a, b := sockets(t)
	server := NewConn(b, Options{Incoming: echo})
	client := NewConn(a, Options{})
	const batch = 64
	var replies int
	done := make(chan struct{})
	call := &Call{Encode: func(dst []byte) []byte { return append(dst, "a reading of some forty bytes, or a few.."...) }}
	call.Done = func(*Call, []byte, error) {
		if replies++; replies == batch {
			replies = 0
			done <- struct{}{}
		}
	}
	if got := testing.AllocsPerRun(2000, func() {
		for range batch {
			if err := client.Go(call); err != nil {
				t.Fatal(err)
			}
		}
		client.Flush()
		<-done
	}); got > 0 {
		t.Errorf("%v allocations for %d requests and replies over a socket, want 0", got, batch)
	}
	var buf []byte
	request, ctx := []byte("x"), context.Background()
	if got := testing.AllocsPerRun(2000, func() {
		var err error
		if buf, err = client.Call(ctx, request, buf); err != nil {
			t.Fatal(err)
		}
	}); got > 0 {
		t.Errorf("%v allocations a Call, want 0", got)
	}
	client.Close()
	<-client.Done()
	<-server.Done()
}

// Whatever a peer sends, the connection ends, every call and queue gets the error once, and
// complete messages are dispatched.
func FuzzConn(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		a, b := net.Pipe()
		c := NewConn(a, Options{Limit: 1000, QueueLimit: 2000, QueueCount: 10})
		call, results := newCall("x")
		if err := c.Go(call); err != nil {
			t.Fatal(err)
		}
		go io.Copy(io.Discard, b)
		_, _ = b.Write(stream) // the connection may refuse it half-way
		b.Close()
		<-c.Done()
		if c.Err() == nil || len(results) != 1 {
			t.Fatalf("ended with %v; the call was told %d times", c.Err(), len(results))
		}
		for range 11 {
			if _, _, err := c.Default().Dequeue(context.Background(), nil); err != nil {
				return
			}
		}
		t.Fatal("the default queue holds more than it may")
	})
}

func BenchmarkGo(b *testing.B) {
	x, y := sockets(b)
	server := NewConn(y, Options{Incoming: echo})
	client := NewConn(x, Options{})
	const batch = 64
	done := make(chan struct{}, batch)
	call := &Call{Encode: func(dst []byte) []byte { return append(dst, make([]byte, 64)...) }}
	replies := 0
	call.Done = func(*Call, []byte, error) {
		if replies++; replies%batch == 0 {
			done <- struct{}{}
		}
	}
	b.ReportAllocs()
	for i := 0; i < b.N; i += batch {
		for range batch {
			if err := client.Go(call); err != nil {
				b.Fatal(err)
			}
		}
		client.Flush()
		<-done
	}
	b.StopTimer()
	client.Close()
	<-client.Done()
	<-server.Done()
}
