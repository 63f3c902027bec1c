package bformat

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// stopped returns the first n bytes of a frame of size bytes of payload.
func stopped(size, n int) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(size)), make([]byte, n)...)[:n]
}

// streams are the two ways in which a Reader reads: a bare socket, and any other stream, as
// that of TLS.
var streams = map[string]func(io.Reader) io.Reader{
	"socket": func(r io.Reader) io.Reader { return r },
	"stream": func(r io.Reader) io.Reader { return struct{ io.Reader }{r} },
}

// eventually waits until f holds.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for late := time.Now().Add(time.Minute); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(late) {
			t.Fatal("it does not come to this: ", what)
		}
	}
}

// A frame that has begun and does not get on is charged for the smallest buffer that holds
// it, and for nothing once it is there.
func TestReaderChargesStoppedFrame(t *testing.T) {
	for name, wrap := range streams {
		for _, c := range []struct{ sent, charge int }{
			{100, 0}, {511, 0}, {600, 4 << 10}, {3 << 10, 4 << 10}, {5 << 10, 16 << 10}, {20 << 10, largeSize}, {50 << 10, largeSize},
		} {
			a, b := sockets(t, "unix")
			budget := NewBudget(1 << 20)
			r := NewReader(wrap(b), 0)
			r.SetBudget(budget)
			got := make(chan []byte, 1)
			go func() {
				p, _ := r.Next()
				got <- bytes.Clone(p)
				r.Next() // waits for the next one
				r.Release()
				close(got)
			}()
			frame := stopped(52<<10, HeaderSize+52<<10)
			frame[len(frame)-1] = 'x'
			for from := 0; from < c.sent; from += 1000 { // in pieces
				if _, err := a.Write(frame[from:min(from+1000, c.sent)]); err != nil {
					t.Fatal(err)
				}
			}
			eventually(t, name+": the frame is charged", func() bool { return r.Progress() != 0 && int(r.Activity()) == c.sent })
			eventually(t, name+": as much as it takes", func() bool { return budget.Used() == c.charge && r.Held() == c.charge })
			if _, err := a.Write(frame[c.sent:]); err != nil {
				t.Fatal(err)
			}
			if p := <-got; len(p) != 52<<10 || p[len(p)-1] != 'x' {
				t.Fatalf("%s, %d bytes: got %d bytes", name, c.sent, len(p))
			}
			eventually(t, name+": all is given back", func() bool { return budget.Used() == 0 && r.Held() == 0 })
			a.Close()
			<-got
		}
	}
}

// A frame that does not get on is refused when the Budget has too little left, unless others
// give way. The Budget is not charged for frames that arrive at once.
func TestReaderReclaims(t *testing.T) {
	for name, wrap := range streams {
		for _, gives := range []bool{false, true} {
			a, b := sockets(t, "unix")
			budget := NewBudget(3 * largeSize)
			budget.acquire(2 * largeSize)
			asked := 0
			r := NewReader(wrap(b), 0)
			budget.SetReclaim(func(who *Reader, n int) bool {
				if who != r || n <= 0 {
					t.Errorf("asked for %d bytes", n)
				}
				asked += n
				return gives
			})
			r.SetBudget(budget)
			if _, err := a.Write(stopped(10, HeaderSize+10)); err != nil {
				t.Fatal(err)
			}
			if _, err := r.Next(); err != nil || asked != 0 {
				t.Fatalf("%s: %v, asked for %d bytes", name, err, asked)
			}
			if _, err := a.Write(stopped(52<<10, 40<<10)); err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() { // ends the frame once it is waited for
				for r.Activity() < 40<<10 {
					select {
					case <-done:
						return
					case <-time.After(time.Millisecond):
					}
				}
				a.(*net.UnixConn).CloseWrite()
			}()
			_, err := r.Next()
			close(done)
			if want := errors.Is(err, ErrMemory); want == gives || asked == 0 {
				t.Errorf("%s, others give way %t: got %v, asked for %d", name, gives, err, asked)
			}
			if budget.Used() != 2*largeSize {
				t.Errorf("%s: %d bytes used in the end", name, budget.Used())
			}
		}
	}
}

// What is held while the caller does not read is charged, also past the limit, until the
// Reader waits again. While the Budget runs out, less is read ahead.
func TestReaderHold(t *testing.T) {
	a, b := sockets(t, "unix")
	budget := NewBudget(16 << 10)
	r := NewReader(b, 0)
	r.SetBudget(budget)
	send := func(n int) {
		t.Helper()
		if _, err := a.Write(bytes.Repeat(stopped(60, HeaderSize+60), n)); err != nil {
			t.Fatal(err)
		}
	}
	next := func(n int) {
		t.Helper()
		for range n {
			if _, err := r.Next(); err != nil {
				t.Fatal(err)
			}
		}
	}
	send(100)
	next(1)
	r.Hold()
	r.Hold()
	if budget.Used() != largeSize || r.Held() != largeSize {
		t.Errorf("charged %d bytes, want %d", budget.Used(), largeSize)
	}
	next(99)
	r.sock.readNow(fd(t, b))
	if budget.Used() != 0 {
		t.Errorf("charged %d bytes while it waits", budget.Used())
	}
	budget.acquire(9 << 10)
	send(100)
	next(1)
	r.Hold()
	if got := budget.Used() - 9<<10; got != 4<<10 {
		t.Errorf("read ahead into %d bytes while memory runs out", got)
	}
	next(99)
	r.Release()
	if budget.Used() != 9<<10 {
		t.Errorf("%d bytes used after Release", budget.Used())
	}
}

// Frames that come in pieces allocate nothing.
func TestReaderStoppedFramesDoNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector empties pools")
	}
	a, b := sockets(t, "unix")
	r := NewReader(b, 0)
	r.SetBudget(NewBudget(1 << 20))
	frame, f := stopped(3000, HeaderSize+3000), fd(t, b)
	got := testing.AllocsPerRun(100, func() {
		a.Write(frame[:1400])
		r.sock.read(len(frame))
		r.sock.readNow(f) // there is nothing: the frame has stopped
		a.Write(frame[1400:])
		if p, err := r.Next(); err != nil || len(p) != 3000 {
			t.Fatal(len(p), err)
		}
	})
	if got > 0.5 {
		t.Errorf("%v allocations a frame", got)
	}
}
