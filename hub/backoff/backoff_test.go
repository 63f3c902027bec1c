package backoff_test

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"
	"time"

	"github.com/besterhub/bester/hub/backoff"
)

// A hub that nobody serves at the moment is asked again within half a second, one that does
// not answer within five; the waits grow, and are not shorter than half their limit.
func TestDelay(t *testing.T) {
	for _, c := range []struct {
		err  error
		most time.Duration
	}{
		{fmt.Errorf("dial: %w", fs.ErrNotExist), 500 * time.Millisecond},
		{fmt.Errorf("dial: %w", syscall.ECONNREFUSED), 500 * time.Millisecond},
		{syscall.EAGAIN, backoff.Max},
		{syscall.EHOSTUNREACH, backoff.Max},
		{errors.New("dial: i/o timeout"), backoff.Max},
		{nil, backoff.Max},
	} {
		var b backoff.Backoff
		for i := range 20 {
			want := min(50*time.Millisecond<<min(i, 10), c.most)
			if got := b.Delay(c.err, false); got <= want/2 || got > want {
				t.Errorf("%v: attempt %d after %v, want %v at most, and more than half of it", c.err, i, got, want)
			}
		}
		b.Reset()
		if got := b.Delay(c.err, false); got > 50*time.Millisecond {
			t.Errorf("%v: after Reset it waits %v", c.err, got)
		}
	}
}

// Clients that lose a hub come back spread over a second; one that is lost again and again
// waits as after any other failure.
func TestDelayAfterLoss(t *testing.T) {
	var early, late int
	for range 1000 {
		var b backoff.Backoff
		switch d := b.Delay(nil, true); {
		case d < 0 || d >= time.Second:
			t.Fatalf("waits %v after a loss, want less than a second", d)
		case d < time.Second/2:
			early++
		default:
			late++
		}
		if d := b.Delay(nil, true); d <= 25*time.Millisecond || d > 50*time.Millisecond {
			t.Fatalf("waits %v after the next loss", d)
		}
	}
	if early < 300 || late < 300 {
		t.Errorf("%d of 1000 come back in the first half of the second, %d in the other", early, late)
	}
}
