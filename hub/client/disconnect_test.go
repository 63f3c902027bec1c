package client

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/besterhub/bester/hub"
)

// A message whose status has not come when the connection ends has an error that says so;
// one that the hub has refused has not.
func TestDisconnectedIsTold(t *testing.T) {
	c := connect(t, nil, func(s *fakeHub) {
		tag, _ := s.read()
		s.status(tag, hub.ErrNoHandler)
		s.read()
	})
	if err := c.Send(t.Context(), message("refused")); !errors.Is(err, hub.ErrNoHandler) || errors.Is(err, ErrDisconnected) {
		t.Errorf("got %v, want %v", err, hub.ErrNoHandler)
	}
	err := c.Send(t.Context(), message("lost"))
	if !errors.Is(err, ErrDisconnected) || !errors.Is(err, hub.ErrClosed) {
		t.Errorf("got %v, want %v for the reason %v", err, ErrDisconnected, hub.ErrClosed)
	}
	if strings.Contains(err.Error(), ErrDisconnected.Error()) {
		t.Errorf("%q: the reason alone is the text", err)
	}
	if err := c.Go(message("late"), nil, func(error) { t.Error("done is called") }); !errors.Is(err, ErrDisconnected) {
		t.Errorf("got %v, want %v", err, ErrDisconnected)
	}
}

// Deliveries may be as long as any hub can be set to take.
func TestLongDelivery(t *testing.T) {
	const size = 5 << 20
	got := make(chan int, 1)
	connect(t, func(m *hub.Message) { got <- len(m.Data.Bytes) }, func(s *fakeHub) {
		s.deliver(0, "long", `"`+strings.Repeat("x", size)+`"`)
		s.read()
	})
	select {
	case n := <-got:
		if n < size {
			t.Errorf("got %d bytes, want %d", n, size)
		}
	case <-time.After(time.Minute):
		t.Error("no delivery")
	}
}

// A UNIX socket tells at once why there is no hub, even when the time is over.
func TestReasonAfterTheTimeIsOver(t *testing.T) {
	ctx, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer cancel()
	for range 100 {
		_, err := Dial(ctx, "unix", filepath.Join(t.TempDir(), "none"), Options{User: "ann"})
		if !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("got %v, want %v", err, os.ErrNotExist)
		}
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Dial(cancelled, "unix", "none", Options{User: "ann"}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}
