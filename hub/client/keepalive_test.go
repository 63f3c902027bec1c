package client

import (
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/wire"
)

// A pingedHub is a hub on a connection in memory. It answers pings until it is gone.
type pingedHub struct {
	*fakeHub
	gone  atomic.Bool
	pings atomic.Int32
	end   chan bool
}

func newPingedHub(t *testing.T, o Options) (*Client, *pingedHub) {
	t.Helper()
	near, far := net.Pipe()
	h := &pingedHub{fakeHub: &fakeHub{far, t, bformat.NewReader(far, 0)}, end: make(chan bool)}
	go func() {
		defer close(h.end)
		h.read()
		h.hello()
		for {
			tag, rest := h.read()
			kind, _, err := wire.CutKind(rest)
			if err != nil {
				return
			}
			if kind != wire.KindPing {
				continue
			}
			h.pings.Add(1)
			if !h.gone.Load() {
				h.write(wire.AppendStatus(nil, tag, nil))
			}
		}
	}()
	o.User, o.Timeout = "ann", time.Minute
	c, err := login(t.Context(), near, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		far.Close()
		<-c.Done()
		<-h.end
	})
	return c, h
}

// A hub that answers pings keeps its idle connection; one that does not loses it.
func TestKeepalive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, h := newPingedHub(t, Options{})
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := h.pings.Load(); c.Err() != nil || n < 59 || n > 121 {
			t.Fatalf("after an hour: %v, %d pings", c.Err(), n)
		}
		h.gone.Store(true)
		start := time.Now()
		<-c.Done()
		if d := time.Since(start); d > 90*time.Second {
			t.Errorf("noticed after %v", d)
		}
		if err := c.Err(); !errors.Is(err, hub.ErrClosed) || !strings.Contains(err.Error(), "does not answer") {
			t.Errorf("got %v", err)
		}
	})
}

// While messages come, the hub is not pinged.
func TestKeepaliveOfABusyConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := 0
		c, h := newPingedHub(t, Options{Deliver: func(*hub.Message) { got++ }})
		for range 100 {
			time.Sleep(20 * time.Second)
			h.deliver(0, "t", "1")
		}
		synctest.Wait()
		if n := h.pings.Load(); c.Err() != nil || n != 0 || got != 100 {
			t.Errorf("%v, %d pings, %d messages", c.Err(), n, got)
		}
	})
}

// A hub that answers is not given up while this side is busy with a message, however long.
func TestKeepaliveWhileDeliverBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := 0
		c, h := newPingedHub(t, Options{Deliver: func(*hub.Message) { time.Sleep(10 * time.Minute); got++ }})
		h.gone.Store(true) // its answers would block on the pipe, which has no buffer
		h.deliver(0, "t", "1")
		time.Sleep(10*time.Minute + time.Second)
		h.gone.Store(false)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if c.Err() != nil || got != 1 {
			t.Errorf("%v, %d messages", c.Err(), got)
		}
	})
}

// A hub that may not have read the ping yet, since messages are before it, is not given up.
func TestKeepaliveWithMessagesOutstanding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, h := newPingedHub(t, Options{})
		h.gone.Store(true)
		if err := c.Post(message("t")); err != nil {
			t.Fatal(err)
		}
		c.Flush()
		time.Sleep(time.Hour)
		synctest.Wait()
		if c.Err() != nil || h.pings.Load() == 0 {
			t.Fatalf("%v, %d pings", c.Err(), h.pings.Load())
		}
		h.gone.Store(false)
		time.Sleep(time.Minute)
		h.gone.Store(true) // now all that was sent has been read
		<-c.Done()
	})
}

// Without a keepalive the hub is not pinged.
func TestNoKeepalive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, h := newPingedHub(t, Options{Keepalive: -1})
		h.gone.Store(true)
		time.Sleep(time.Hour)
		if c.Err() != nil || h.pings.Load() != 0 {
			t.Errorf("%v, %d pings", c.Err(), h.pings.Load())
		}
	})
}
