package session

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/wire"
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
				time.Sleep(l.add(c.rate, 1, time.Since(start), 1, c.size).longest())
			}
			if got := time.Since(begin); (got - c.want).Abs() > time.Millisecond {
				t.Errorf("%+v: 50 messages of %d bytes took %v, want %v", c.rate, c.size, got, c.want)
			}
			time.Sleep(time.Minute)
			if w := l.add(c.rate, 1, time.Since(start), 1, c.size).longest(); w != 0 {
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
	if n := h.Stats().SendsSlowed; n == 0 {
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
	slowed := h.Stats().SendsSlowed
	p = h.native(t, "bob")
	p.send(1, "none", `"a message of more than a second's worth"`, "bob")
	for end := time.Now().Add(patience); h.Stats().SendsSlowed == slowed; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not slowed down")
		}
	} // and the end of the test shuts down
}

// rated logs a client in with a password over a network.
func (h *running) rated(t *testing.T, network, name string) *peer {
	t.Helper()
	p := h.peer(t, network, map[string]string{"tcp": h.tcp, "tls": h.tls, "unix": h.closed}[network])
	p.hello(&wire.Hello{Role: wire.RoleClient, User: name, Password: "p"})
	p.wantIn("hello")
	return p
}

// A message over the rate is taken at once. While its session waits it holds no memory, and
// it ends when the peer hangs up.
func TestRateHoldsNoMemory(t *testing.T) {
	for _, network := range []string{"tcp", "tls", "unix"} {
		for _, dialect := range []string{"native", "classic"} {
			t.Run(network+" "+dialect, func(t *testing.T) {
				h := run(t, Options{Limits: Limits{Rate: Rate{Bytes: 1}}})
				h.account(t, "ann", nil)
				h.route(t, "r", "dash")
				dash := h.native(t, "dash")
				text := `"` + strings.Repeat("x", 600<<10) + `"`
				var p *peer
				if dialect == "native" {
					p = h.rated(t, network, "ann")
					p.send(1, "r", text)
					p.want("status 1: good")
				} else {
					p = h.peer(t, network, map[string]string{"tcp": h.tcp, "tls": h.tls, "unix": h.closed}[network])
					p.text(classicLogin("ann", "p"))
					p.want(classicIn)
					p.text(classicMessage("r", "1", text))
					p.want(classicGood("1"))
				}
				dash.want("deliver 0: r ann " + text)
				until(t, "the memory is released", func() bool { return h.Stats().Memory == 0 })
				if network == "tcp" {
					p.send(2, "r", `"never read"`) // and the close is a reset
					p.Conn.(*net.TCPConn).SetLinger(0)
				}
				p.Close()
				until(t, "its session ends", func() bool { return h.Stats().Sessions == 1 })
			})
		}
	}
}

// What has been read ahead waits in a buffer that suits it, and is charged. It is not taken at
// once when the peer closes, but until session.write has passed.
func TestRateOfAPeerThatCloses(t *testing.T) {
	h := run(t, Options{Limits: Limits{Rate: Rate{Bytes: 1}, WriteTimeout: 2 * time.Second}})
	h.account(t, "ann", nil)
	other := h.native(t, "other")
	p := h.rated(t, "unix", "ann")
	const n = 100
	frames := bytes.Repeat(bformat.Append(nil, sent(0, "dummy", `"`+strings.Repeat("x", 70)+`"`)), n)
	p.Write(frames)
	until(t, "what was read ahead is charged", func() bool { return h.Stats().Memory == 16<<10 })
	p.Close()
	until(t, "its session ends", func() bool { return h.Stats().Open == 1 })
	if m := h.Stats().Memory; m != 0 {
		t.Errorf("%d bytes are still charged", m)
	}
	// A new session waits before its first message, and what comes with the hello is not
	// taken either.
	p = h.peer(t, "unix", h.closed)
	hello := bformat.Append(nil, wire.AppendHello(nil, &wire.Hello{Version: wire.Version, Role: wire.RoleClient, User: "ann", Password: "p"}))
	p.Write(append(hello, frames...))
	p.wantIn("hello")
	for range 100 {
		other.lives()
	}
	p.Close()
	until(t, "its session ends", func() bool { return h.Stats().Open == 1 })
	if n := h.Stats().SendsSlowed; n != 1 {
		t.Errorf("%d messages were taken that exceed the rate, want 1", n)
	}
}

// A peer may close before all that it sent has been taken.
func TestRateLosesNothingOfAPeerThatCloses(t *testing.T) {
	for _, network := range []string{"tcp", "tls", "unix"} {
		h := run(t, Options{Limits: Limits{Rate: Rate{Messages: 100}}})
		h.account(t, "ann", nil)
		h.route(t, "r", "dash")
		dash, p := h.native(t, "dash"), h.rated(t, network, "ann")
		const n = 150
		p.Write(bytes.Repeat(bformat.Append(nil, sent(0, "r", "1")), n))
		p.Close()
		for range n {
			dash.want("deliver 0: r ann 1")
		}
		until(t, "its session ends", func() bool { return h.Stats().Open == 1 })
	}
}

// A sender over the total rate does not hold up those who keep to their share.
func TestTotalRateHoldsUpWhoExceedsIt(t *testing.T) {
	h := run(t, Options{Limits: Limits{TotalRate: Rate{Bytes: 1000}}})
	h.route(t, "r", "dash")
	dash, before := h.native(t, "dash"), h.native(t, "before")
	flood := h.native(t, "flood")
	flood.send(1, "r", `"`+strings.Repeat("x", 600_000)+`"`) // ten minutes' worth
	flood.want("status 1: good")
	dash.wantIn("deliver 0: r flood")
	after := h.native(t, "after")
	for i := range 5 {
		for _, p := range []*peer{before, after} {
			p.send(uint64(1+i), "r", "1")
			p.want(fmt.Sprintf("status %d: good", 1+i))
			dash.wantIn("deliver 0: r")
		}
	}
	if n := h.Stats().SendsSlowed; n != 1 {
		t.Errorf("%d messages exceeded the rate, want 1", n)
	}
}

// The total rate is kept, is used up, and is shared: who sends less than the share never
// waits, the others get equal parts of the rest.
func TestTotalRateIsShared(t *testing.T) {
	const (
		rate  = 100_000
		light = 20 // accounts that send a tenth of their share
		heavy = 5
		run   = 1000 * time.Second
	)
	var total totalRate
	type account struct {
		accountRate
		next  time.Duration
		bytes int
	}
	random := rand.New(rand.NewPCG(1, 2))
	all := make([]*account, light+heavy)
	for i := range all {
		all[i] = &account{next: time.Duration(random.IntN(int(time.Second)))}
	}
	sum := 0
	for {
		i := 0
		for k := range all {
			if all[k].next < all[i].next {
				i = k
			}
		}
		a := all[i]
		now := a.next
		if now > run {
			break
		}
		if i < light {
			const size = rate / (light + heavy) / 10
			if w := total.add(Rate{Bytes: rate}, &a.accountRate, now, 1, size); w > 0 {
				t.Fatalf("at %v: light account %d waits %v", now, i, w)
			}
			a.next, a.bytes = now+time.Second, a.bytes+size
			sum += size
		} else {
			size := 1 + random.IntN(5000*(i-light+1)) // the last sends longer messages
			a.next, a.bytes = now+total.add(Rate{Bytes: rate}, &a.accountRate, now, 1, size), a.bytes+size
			sum += size
		}
	}
	want := rate * int(run/time.Second)
	if sum < want-want/100 || sum > want+want/100 {
		t.Errorf("%d bytes were sent, want %d", sum, want)
	}
	rest := (want - want*light/(light+heavy)/10) / heavy
	for i, a := range all[light:] {
		t.Logf("heavy account %d: %d bytes, a fair part is %d", i, a.bytes, rest)
		if a.bytes < rest/4 {
			t.Errorf("heavy account %d sent %d bytes, a fair part is %d", i, a.bytes, rest)
		}
	}

	// One that is alone may send at the whole rate, also after there were many.
	now := 2 * run
	alone := new(accountRate)
	sent := 0
	for begin := now; now < begin+run; sent += 1000 {
		now += total.add(Rate{Bytes: rate}, alone, now, 1, 1000)
	}
	if sent < want-want/100 || sent > want+want/100 {
		t.Errorf("alone, an account sent %d bytes, want %d", sent, want)
	}
	if n := len(total.active); n != 1 {
		t.Errorf("%d accounts are active, want 1", n)
	}
}
