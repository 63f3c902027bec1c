//go:build unix

package bformat

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// sockets returns the two ends of a connection.
func sockets(t testing.TB, network string) (a, b net.Conn) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Skip(err)
	}
	defer l.Close()
	if a, err = net.Dial(network, l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func TestReaderSocket(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			defer goleak.VerifyNone(t)
			a, b := sockets(t, network)
			want, stream := frames(2000, 0, 64, 511, 513, 70000, 5, 200000, 508)
			wrote := make(chan error, 1)
			go func() {
				_, err := a.Write(stream)
				wrote <- errors.Join(err, a.Close())
			}()
			r := NewReader(b, 0)
			if r.sock == nil {
				t.Fatal("not read as a socket")
			}
			for i, w := range want {
				got, err := r.Next()
				if err != nil || !bytes.Equal(got, w) {
					t.Fatalf("frame %d: got %d bytes, %v; want %d", i, len(got), err, len(w))
				}
			}
			if _, err := r.Next(); err != io.EOF || r.pooled != nil {
				t.Errorf("at the end: %v, want io.EOF", err)
			}
			if err := <-wrote; err != nil {
				t.Error(err)
			}
			b.Close()
		})
	}
}

// A burst written at once is read at once, and no large buffer is held while waiting.
func TestReaderSocketBurst(t *testing.T) {
	a, b := sockets(t, "unix")
	_, stream := frames(500, 64)
	r := NewReader(b, 0)
	idle := 0
	r.SetIdle(func() { idle++ })
	for range 3 {
		idle = 0
		if _, err := a.Write(append(stream, 1, 0, 0)); err != nil { // and the beginning of one more
			t.Fatal(err)
		}
		for i := range 500 {
			if _, err := r.Next(); err != nil {
				t.Fatal(err)
			}
			if idle != 1 {
				t.Fatalf("the burst was split before frame %d", i)
			}
		}
		go a.Write([]byte{0, 'x'})
		if p, err := r.Next(); err != nil || string(p) != "x" {
			t.Fatalf("got %q, %v", p, err)
		}
		if idle == 1 {
			t.Fatal("not idle with half a frame")
		}
	}
	if err := b.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); !errors.Is(err, os.ErrDeadlineExceeded) || r.pooled != nil {
		t.Errorf("past the deadline: got %v with large buffer %t", err, r.pooled != nil)
	}
}

func TestReaderSocketIdleAndClosed(t *testing.T) {
	defer goleak.VerifyNone(t)
	a, b := sockets(t, "unix")
	r := NewReader(b, 0)
	if r.sock.readNow(fd(t, b)) || len(r.buf) != smallSize {
		t.Error("waits with a large buffer")
	}
	done := make(chan error)
	go func() { _, err := r.Next(); done <- err }()
	b.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want net.ErrClosed", err)
	}
	a.Close()
}

func TestReaderProgressOnSocket(t *testing.T) {
	a, c := sockets(t, "unix")
	r := NewReader(c, 0)
	next := func() { r.sock.readNow(fd(t, c)) }
	next()
	if r.Progress() != 0 {
		t.Error("progress without a frame")
	}
	a.Write([]byte{5, 0, 0, 0, 'h', 'a'})
	next()
	next()
	first := r.Progress()
	a.Write([]byte("lf"))
	next()
	next()
	if first == 0 || r.Progress() != first {
		t.Errorf("progress %d, then %d", first, r.Progress())
	}
	a.Write([]byte{'!', 0, 0, 0, 0})
	if p, err := r.Next(); err != nil || string(p) != "half!" || r.Progress() != 0 {
		t.Errorf("got %q, %v, progress %d", p, err, r.Progress())
	}
	r.Next()
	a.Write([]byte{1})
	next()
	next()
	if r.Progress() == 0 || r.Progress() == first {
		t.Errorf("the next frame has progress %d after %d", r.Progress(), first)
	}
}

// fd returns a socket's descriptor, which stays with it.
func fd(t *testing.T, c net.Conn) (fd uintptr) {
	t.Helper()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err == nil {
		err = raw.Control(func(f uintptr) { fd = f })
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}
