package session

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestRateLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		for _, c := range []struct {
			rate Rate
			size int
			want time.Duration // for 50 messages
		}{
			{Rate{}, 1000, 0},
			{Rate{Messages: 10}, 1000, 4 * time.Second}, // the first second's worth goes at once
			{Rate{Bytes: 10_000}, 1000, 4 * time.Second},
			{Rate{Messages: 25, Bytes: 10_000}, 1000, 4 * time.Second},
			{Rate{Messages: 10, Bytes: 1 << 30}, 1000, 4 * time.Second},
			{Rate{Messages: 1000000, Bytes: 1 << 30}, 1000, 0},
		} {
			var l rateLimiter
			begin := time.Now()
			for range 50 {
				time.Sleep(l.reserve(c.rate, time.Since(start), c.size))
			}
			if got := time.Since(begin); (got - c.want).Abs() > time.Millisecond {
				t.Errorf("%+v: 50 messages of %d bytes took %v, want %v", c.rate, c.size, got, c.want)
			}
			time.Sleep(time.Minute)
			if w := l.reserve(c.rate, time.Since(start), c.size); w != 0 {
				t.Errorf("%+v: a pause is not enough, %v to wait", c.rate, w)
			}
		}
	})
}

// A sender over the rate is slowed down and loses nothing, its other session shares the
// limit, others are as fast as before, and the log and the counters say so.
func TestRateSlowsDown(t *testing.T) {
	h := run(t, Options{Limits: Limits{Rate: Rate{Messages: 20}}})
	h.route(t, "r", "dash")
	dash, a, b, other := h.native(t, "dash"), h.native(t, "flood"), h.native(t, "flood"), h.native(t, "other")
	began := time.Now()
	for i := range 20 {
		a.send(1, "r", fmt.Sprint(i))
		b.send(1, "r", fmt.Sprint(i))
	}
	for range 10 {
		other.send(1, "r", "1")
		other.want("status 1: good")
	}
	for range 20 {
		a.want("status 1: good")
		b.want("status 1: good")
	}
	// 40 messages at 20 a second, of which 20 come at once.
	if took := time.Since(began); took < 900*time.Millisecond {
		t.Errorf("40 messages took %v", took)
	}
	for range 50 {
		dash.wantIn("deliver 0: r")
	}
	if n := h.Stats().Slowed; n == 0 {
		t.Error("not counted")
	}
	h.log.want(t, "slowed", "user=flood", "session.rate")
}

// A sender that waits for a long time does not hold up a shutdown, nor its own end.
func TestRateEnds(t *testing.T) {
	h := run(t, Options{Limits: Limits{TotalRate: Rate{Bytes: 1}}})
	p := h.native(t, "ann")
	p.send(1, "none", `"a message of more than a second's worth"`, "bob")
	p.send(2, "none", `"a message of more than a second's worth"`, "bob")
	h.log.want(t, "slowed", "user=ann", "session.total_rate")
	for _, s := range h.sessionList() {
		s.terminate(errRemoved)
	}
	for frame := p.next(); frame != "end"; frame = p.next() {
	}
	slowed := h.Stats().Slowed
	p = h.native(t, "ann")
	p.send(1, "none", `"a message of more than a second's worth"`, "bob")
	for end := time.Now().Add(patience); h.Stats().Slowed == slowed; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not slowed down")
		}
	} // and the end of the test shuts down
}
