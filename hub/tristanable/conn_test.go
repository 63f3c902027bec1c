package tristanable

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/besterhub/bester/hub/bformat"
)

func TestCall(t *testing.T) {
	defer goleak.VerifyNone(t)
	a, b := sockets(t)
	server := NewConn(b, Options{Incoming: echo})
	client := NewConn(a, Options{})
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			var buf []byte
			for i := range 200 {
				want := fmt.Sprintf("%d/%d", g, i)
				got, err := client.Call(context.Background(), []byte(want), buf)
				if err != nil || string(got) != want {
					t.Errorf("got %q, %v; want %q", got, err, want)
					return
				}
				buf = got
			}
		})
	}
	wg.Wait()
	client.Close()
	<-client.Done()
	<-server.Done()
	if client.Err() != ErrClosed || server.Err() != io.EOF {
		t.Errorf("ended with %v and %v, want ErrClosed and io.EOF", client.Err(), server.Err())
	}
	if _, err := client.Call(context.Background(), nil, nil); err != ErrClosed {
		t.Errorf("Call after Close: %v", err)
	}
}

func TestRepliesOutOfOrderTwiceAndUnasked(t *testing.T) {
	c, peer := pair(t, Options{})
	one, oneDone := newCall("one")
	two, twoDone := newCall("two")
	if err := errors.Join(c.Go(one), c.Go(two)); err != nil {
		t.Fatal(err)
	}
	c.Flush()
	tag1, m1 := peer.next()
	tag2, m2 := peer.next()
	if m1 != "one" || m2 != "two" || tag1 == tag2 || tag1 == 0 || tag2 == 0 {
		t.Fatalf("peer got %d %q and %d %q", tag1, m1, tag2, m2)
	}
	peer.send(tag2, "TWO")
	peer.send(tag1, "ONE")
	peer.send(tag1, "again")
	peer.send(0, "push")
	peer.send(1<<40|tag1, "far")
	if r := <-oneDone; r != (result{"ONE", nil}) {
		t.Errorf("one: got %v", r)
	}
	if r := <-twoDone; r != (result{"TWO", nil}) {
		t.Errorf("two: got %v", r)
	}
	for _, want := range []message{{tag1, "again"}, {0, "push"}, {1<<40 | tag1, "far"}} {
		tag, m, err := c.Default().Dequeue(context.Background(), nil)
		if err != nil || (message{tag, string(m)}) != want {
			t.Errorf("default queue: got %d %q, %v; want %v", tag, m, err, want)
		}
	}
}

func TestCallIsCancelled(t *testing.T) {
	c, peer := pair(t, Options{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { _, err := c.Call(ctx, []byte("slow"), nil); done <- err }()
	tag, _ := peer.next()
	cancel()
	if err := <-done; err != context.Canceled {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if _, err := c.Call(ctx, nil, nil); err != context.Canceled {
		t.Errorf("Call with an ended context: %v", err)
	}
	for range 2 * reuseDistance { // the tag must not come back before its late reply
		call, results := newCall("x")
		if err := c.Go(call); err != nil {
			t.Fatal(err)
		}
		c.Flush()
		other, _ := peer.next()
		if other == tag {
			t.Fatal("the tag of an unanswered request was used again")
		}
		peer.send(other, "")
		<-results
	}
	if c.Late() != 0 {
		t.Error("counted a late reply that never came")
	}
	peer.send(tag, "late")
	peer.send(0, "after")
	if _, m, err := c.Default().Dequeue(context.Background(), nil); err != nil || string(m) != "after" {
		t.Errorf("got %q, %v; the late reply should be discarded", m, err)
	}
	if c.Late() != 1 {
		t.Errorf("%d late replies, want 1", c.Late())
	}
}

func TestBusy(t *testing.T) {
	a, b := net.Pipe() // nothing is read
	defer b.Close()
	c := NewConn(a, Options{Out: bformat.QueueOptions{Limit: 4 << 20}})
	call := &Call{Encode: func(dst []byte) []byte { return dst }}
	var told atomic.Int64
	call.Done = func(_ *Call, _ []byte, err error) {
		if err != ErrClosed {
			t.Errorf("Done: got %v, want ErrClosed", err)
		}
		told.Add(1)
	}
	if _, err := c.Register(7); err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; c.Go(call) == nil; n++ {
	}
	if err := c.Go(call); err != ErrBusy || n != MaxTag-1 {
		t.Errorf("%d in flight, then %v; want %d (one tag has a queue) and ErrBusy", n, err, MaxTag-1)
	}
	c.Close()
	<-c.Done()
	if told.Load() != int64(n) {
		t.Errorf("%d calls were told of the end, want %d", told.Load(), n)
	}

	a, b = net.Pipe()
	defer b.Close()
	c = NewConn(a, Options{Out: bformat.QueueOptions{Limit: 1000}})
	var err error
	for n = 0; err == nil; n++ {
		err = c.Go(&Call{Encode: func(dst []byte) []byte { return append(dst, make([]byte, 300)...) }, Done: func(*Call, []byte, error) {}})
	}
	if err != ErrBusy || c.Err() != nil {
		t.Errorf("with the way out full: got %v, connection %v; want ErrBusy and nil", err, c.Err())
	}
	c.Close()
	<-c.Done()
}

func TestTagsAreRecycled(t *testing.T) {
	var ts tags
	call := new(Call)
	seen := make(map[uint16]int)
	for range 3 * MaxTag {
		tag := ts.take(call, nil)
		if tag == 0 || ts.get(uint64(tag)) != call {
			t.Fatalf("took tag %d", tag)
		}
		seen[tag]++
		ts.release(tag)
	}
	if len(seen) != reuseDistance {
		t.Errorf("%d tags used one at a time, want %d", len(seen), reuseDistance)
	}
	for n := 1; ; n++ {
		tag := ts.take(call, nil)
		if tag == 0 {
			if n != MaxTag+1 {
				t.Errorf("out of tags after %d, want %d", n-1, MaxTag)
			}
			break
		}
	}
}

func TestRegister(t *testing.T) {
	c, peer := pair(t, Options{QueueCount: 3})
	q, err := c.Register(300)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Register(300); err != ErrTagInUse {
		t.Errorf("registered twice: %v", err)
	}
	call, _ := newCall("x")
	if err := c.Go(call); err != nil {
		t.Fatal(err)
	}
	c.Flush()
	tag, _ := peer.next()
	if _, err := c.Register(tag); err != ErrTagInUse {
		t.Errorf("registered the tag of a request in flight: %v", err)
	}
	for i := range 5 {
		peer.send(300, fmt.Sprint(i))
	}
	peer.send(301, "elsewhere")
	if _, m, err := c.Default().Dequeue(context.Background(), nil); err != nil || string(m) != "elsewhere" {
		t.Fatalf("default queue: got %q, %v", m, err)
	}
	if q.Len() != 3 || q.Dropped() != 2 {
		t.Errorf("%d wait, %d dropped; want 3 and 2", q.Len(), q.Dropped())
	}
	c.Unregister(q)
	c.Unregister(q)
	for _, want := range []string{"2", "3", "4"} {
		if _, m, err := q.Dequeue(context.Background(), nil); err != nil || string(m) != want {
			t.Errorf("got %q, %v; want %q", m, err, want)
		}
	}
	if _, _, err := q.Dequeue(context.Background(), nil); err != ErrUnregistered {
		t.Errorf("got %v, want ErrUnregistered", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := c.Default().Dequeue(ctx, nil); err != context.Canceled {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestQueueWhenFull(t *testing.T) {
	for _, c := range []struct {
		full bformat.OverflowPolicy
		want string
		err  error
	}{
		{bformat.DropOldest, "cde", nil},
		{bformat.DropNewest, "abc", nil},
		{bformat.Close, "abc", bformat.ErrFull},
	} {
		q := newQueue(0, &Options{QueueLimit: 3 * 13, QueueCount: 100, QueueFull: c.full})
		var err error
		for _, m := range "abcde" {
			err = errors.Join(err, q.put(append(Append(nil, 0), byte(m))))
		}
		if !errors.Is(err, c.err) {
			t.Errorf("%v: got %v, want %v", c.full, err, c.err)
		}
		got := ""
		for q.Len() > 0 {
			_, m, _ := q.Dequeue(context.Background(), nil)
			got += string(m)
		}
		if got != c.want {
			t.Errorf("%v: got %q, want %q", c.full, got, c.want)
		}
		if c.full != bformat.Close {
			_ = q.put(make([]byte, 100))
			if q.Len() != 0 || q.Dropped() != 3 {
				t.Errorf("%v: %d wait, %d dropped; want 0 and 3", c.full, q.Len(), q.Dropped())
			}
		}
	}
}

// Frames that a listener has read to detect the dialect are not lost.
func TestTakesOverReader(t *testing.T) {
	a, b := sockets(t)
	var stream []byte
	for i := range 3 {
		stream = bformat.Append(stream, Append(nil, 0), []byte{'0' + byte(i)})
	}
	if _, err := b.Write(stream); err != nil {
		t.Fatal(err)
	}
	r := bformat.NewReader(a, 0)
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	idle := make(chan struct{}, 10)
	c := NewConn(a, Options{Reader: r, Idle: func(*Conn) { idle <- struct{}{} }})
	for _, want := range []string{"1", "2"} {
		if _, m, err := c.Default().Dequeue(context.Background(), nil); err != nil || string(m) != want {
			t.Errorf("got %q, %v; want %q", m, err, want)
		}
	}
	<-idle
	b.Close()
	<-c.Done()
}

// A peer that closes its sending side still gets its answers.
func TestHalfClose(t *testing.T) {
	defer goleak.VerifyNone(t)
	a, b := sockets(t)
	c := NewConn(a, Options{Incoming: echo})
	if _, err := b.Write(bytes.Repeat(bformat.Append(nil, Append(nil, 5), []byte("x")), 100)); err != nil {
		t.Fatal(err)
	}
	if err := b.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(b)
	if err != nil || len(got) != 100*13 {
		t.Errorf("got %d bytes, %v; want 1300", len(got), err)
	}
	<-c.Done()
	b.Close()
}

func TestShutdownWritesWhatWaits(t *testing.T) {
	defer goleak.VerifyNone(t)
	a, b := sockets(t)
	c := NewConn(a, Options{})
	for range 100 {
		if err := c.Send(0, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	call, results := newCall("never answered")
	if err := c.Go(call); err != nil {
		t.Fatal(err)
	}
	c.Shutdown()
	got, err := io.ReadAll(b)
	if err != nil || len(got) != 100*13+26 {
		t.Errorf("got %d bytes, %v; want 1326", len(got), err)
	}
	<-c.Done()
	if r := <-results; r.err != ErrClosed {
		t.Errorf("got %v, want ErrClosed", r.err)
	}
	b.Close()
}
