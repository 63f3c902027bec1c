package session

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/wire"
)

func TestSessionIsNotReadPastItsCredits(t *testing.T) {
	h := run(t, Options{Limits: Limits{Credits: 2}})
	slow := make(held, 10)
	h.serve(t, "slow", slow)
	n := h.native(t, "ann")
	n.frames(sent(1, "slow", "1"), sent(2, "slow", "2"), sent(3, "slow", "3"), wire.AppendPing(nil, 9))
	first, second := <-slow, <-slow
	other := h.native(t, "bob") // other sessions go on
	other.send(1, "t", "1", "ann")
	other.want("status 1: good")
	n.want("deliver 0: t bob 1") // and deliveries from others arrive
	other.lives()
	if len(slow) != 0 {
		t.Error("a third message was taken")
	}
	second.Done(nil)
	n.want("status 2: good")
	third := <-slow
	n.want("status 9: good") // a ping takes no credit
	first.Done(nil)
	n.want("status 1: good")
	third.Done(nil)
	n.want("status 3: good")
}

func TestClassicSessionHasOneInFlight(t *testing.T) {
	h := run(t, Options{})
	h.account(t, "ann", nil)
	slow := make(held, 10)
	h.serve(t, "slow", slow)
	c, d := h.classic(t, "ann"), h.classic(t, "ann")
	c.text(classicMessage("slow", "1", "1"), classicMessage("dummy", "2", "2"))
	pending := <-slow
	d.text(classicMessage("dummy", "3", "3"))
	d.wantIn("dummy", `"3"`) // the same user's other connection goes on
	pending.Done(nil)
	c.want(classicGood("1"))
	c.wantIn("dummy", `"2"`)
}

// numbered makes the data of message i, some bytes long.
func numbered(i int) string {
	return fmt.Sprintf("%q", fmt.Sprintf("%d %s", i, strings.Repeat("x", 800)))
}

func number(t *testing.T, frame string) int {
	t.Helper()
	_, rest, _ := strings.Cut(frame, ` "`)
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatalf("frame %.80q: %v", frame, err)
	}
	return n
}

// lost returns how many deliveries to a user were lost.
func lost(h *running, user hub.UserName) int {
	for _, u := range h.Users() {
		if u.User == user {
			return int(u.Lost)
		}
	}
	return 0
}

func TestSlowReaderPolicies(t *testing.T) {
	for name, full := range map[string]bformat.OverflowPolicy{"drop oldest": bformat.DropOldest, "drop newest": bformat.DropNewest, "close": bformat.Close} {
		t.Run(name, func(t *testing.T) {
			const limit, n, batch = 64 << 10, 1200, 20
			h := run(t, Options{Limits: Limits{QueueBytes: limit, Overflow: full}})
			h.route(t, "r", "slow", "quick")
			slow, quick, sam := h.native(t, "slow"), h.native(t, "quick"), h.native(t, "sam")
			for i := 0; i < n; i += batch {
				var frames [][]byte
				for k := range batch {
					frames = append(frames, sent(uint64(1+k), "r", numbered(i+k)))
				}
				sam.frames(frames...)
				for k := range batch { // nobody else waits for it
					sam.want(fmt.Sprintf("status %d: good", 1+k))
					if got := number(t, quick.next()); got != i+k {
						t.Fatalf("quick got %d, want %d", got, i+k)
					}
				}
			}
			for _, s := range h.sessionList() {
				if _, waiting := s.out.Waiting(); waiting > limit {
					t.Errorf("%d bytes wait for %q", waiting, s.name)
				}
			}
			if full == bformat.Close {
				h.log.want(t, "does not read", fmt.Sprintf("queue=%d", limit))
				last := -1
				for frame := slow.next(); frame != "end"; frame = slow.next() {
					if last++; number(t, frame) != last {
						t.Fatalf("got %d, want %d", number(t, frame), last)
					}
				}
				if st := h.Stats(); st.SlowReaders != 1 || last == n-1 {
					t.Errorf("got %+v after message %d", st, last)
				}
				return
			}
			sam.send(1, "end", `"end"`, "slow")
			sam.want("status 1: good")
			var got []int
			frame := slow.next()
			for ; !strings.Contains(frame, `"end"`) && len(got) < n; frame = slow.next() {
				got = append(got, number(t, frame))
				if k := len(got); k > 1 && got[k-1] <= got[k-2] {
					t.Fatalf("got %d after %d", got[k-1], got[k-2])
				}
				if full == bformat.DropNewest && len(got)+lost(h, "slow") >= n {
					break // the end was the newest
				}
			}
			if full == bformat.DropOldest && got[len(got)-1] != n-1 {
				t.Errorf("the newest was dropped: got %d last", got[len(got)-1])
			}
			if dropped := lost(h, "slow"); full == bformat.DropOldest && (dropped == 0 || len(got)+dropped != n || slow.missed != dropped) {
				t.Errorf("got %d, dropped %d, told of %d, of %d", len(got), dropped, slow.missed, n)
			}
		})
	}
}

// A session that reads nothing at all is closed after Limits.WriteTimeout, and counted, also if
// its queue drops frames.
func TestSlowReaderIsClosed(t *testing.T) {
	h := run(t, Options{Limits: Limits{WriteTimeout: 2 * time.Second}})
	h.route(t, "r", "slow")
	h.native(t, "slow")
	sam := h.native(t, "sam")
	for i := uint64(1); h.Stats().Sessions == 2; i++ { // until the kernel's buffers are full, and then some
		sam.send(i, "r", fmt.Sprintf("%q", strings.Repeat("x", 50_000)))
		sam.next() // good, or, once slow is gone, that nobody is there
	}
	h.log.want(t, "does not read", "queue=", "write=2s")
	if s := h.Stats(); s.SlowReaders != 1 {
		t.Errorf("got %+v", s)
	}
}

func TestRepliesAreNeverDropped(t *testing.T) {
	h := run(t, Options{Limits: Limits{QueueBytes: 16 << 10}})
	h.serve(t, "ask", hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error { a.Reply(m.Data); return nil }))
	c := h.native(t, "ann")
	const n = 2000
	written := make(chan error, 1)
	go func() { // the hub does not read on while nobody reads what it answers
		for i := range n {
			if _, err := c.Write(bformat.Append(nil, sent(uint64(1+i), "ask", numbered(i)))); err != nil {
				written <- err
				return
			}
		}
		written <- nil
	}()
	other := h.native(t, "bob")
	for range 100 {
		other.lives()
	}
	for i := range n {
		if got := c.next(); !strings.HasPrefix(got, fmt.Sprintf("deliver %d: ask ann \"%d ", i+1, i)) {
			t.Fatalf("message %d: got %.60s", i, got)
		}
		c.want(fmt.Sprintf("status %d: good", i+1))
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
	if s := h.Stats(); s.Dropped != 0 || s.SlowReaders != 0 {
		t.Errorf("got %+v", s)
	}
}

func TestStatusesComeInOrder(t *testing.T) {
	h := run(t, Options{})
	h.serve(t, "t", hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error { a.Drop(); return nil }))
	n := h.native(t, "ann")
	var frames [][]byte
	for i := range 1000 {
		typ := hub.Type("t")
		if i%3 == 0 {
			typ = "nobody's"
		}
		frames = append(frames, sent(uint64(1+i), typ, "1"))
	}
	n.frames(frames...)
	for i := range frames {
		if i%3 == 0 {
			n.wantIn(fmt.Sprintf("status %d: no handler", 1+i))
		} else {
			n.want(fmt.Sprintf("status %d: good", 1+i))
		}
	}
}

func TestStatusComesAfterTheDeliveries(t *testing.T) {
	h := run(t, Options{})
	h.account(t, "ann", nil)
	slow := make(held, 1)
	h.serve(t, "slow", slow)
	n, c := h.native(t, "ann"), h.classic(t, "ann")
	to := func(a *hub.Answer) { a.SendClients(data(`"x"`), hub.Address{User: "ann"}, hub.Address{User: "ann"}) }
	n.send(1, "slow", "1")
	slow.answer(t, to)
	n.want(`deliver 0: slow ann "x"`, `deliver 0: slow ann "x"`, "status 1: good")
	c.want(received("slow", `"x"`), received("slow", `"x"`))
	c.text(classicMessage("slow", "2", "1"))
	slow.answer(t, to)
	c.want(received("slow", `"x"`), received("slow", `"x"`), classicGood("2"))
}

// The frames that one burst causes for one session stay in order: short deliveries, which
// are staged, long ones, replies and statuses.
func TestBurstStaysInOrder(t *testing.T) {
	h := run(t, Options{Limits: Limits{QueueBytes: 16 << 20}})
	h.serve(t, "ask", hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error { a.Reply(m.Data); return nil }))
	n := h.native(t, "ann")
	long := `"` + strings.Repeat("x", bformat.MaxStaged) + `"`
	var frames [][]byte
	var want []string
	for i := range 1000 {
		switch text := strconv.Itoa(i); i % 7 {
		case 3:
			frames = append(frames, sent(0, "t", long, "ann"))
			want = append(want, "deliver 0: t ann "+long)
		case 5:
			frames = append(frames, sent(uint64(i), "ask", text))
			want = append(want, fmt.Sprintf("deliver %d: ask ann %s", i, text), fmt.Sprintf("status %d: good", i))
		case 6:
			frames = append(frames, sent(uint64(i), "t", text, "ann"))
			want = append(want, "deliver 0: t ann "+text, fmt.Sprintf("status %d: good", i))
		default:
			frames = append(frames, sent(0, "t", text, "ann"))
			want = append(want, "deliver 0: t ann "+text)
		}
	}
	go n.frames(frames...)
	n.want(want...)
}

// The status follows the deliveries also if another goroutine queues it while the goroutine
// that staged the deliveries is still inside its burst.
func TestStatusFromOtherGoroutineComesAfterDeliveries(t *testing.T) {
	h := run(t, Options{})
	first := hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error {
		a.SendClients(m.Data, hub.Address{User: "ann"})
		a.Pass(m.Data)
		return nil
	})
	later, busy, free := make(held, 3), make(chan bool), make(chan bool)
	defer close(free)
	h.serve(t, "busy", hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error { a.Drop(); busy <- true; <-free; return nil }))
	h.serve(t, "alone", hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error {
		a.SendClients(m.Data, hub.Address{User: "ann"})
		return nil
	}))
	if err := h.router.SetRoutes([]hub.Route{{Match: "both", Through: []hub.Handler{first, later}, To: []hub.Address{{User: "ann"}}}}); err != nil {
		t.Fatal(err)
	}
	n := h.native(t, "ann")
	n.frames(sent(0, "alone", "0"), sent(1, "both", "1"), sent(0, "alone", "2"), sent(3, "both", "3"), sent(0, "busy", "4"))
	<-busy
	for range 2 {
		later.answer(t, func(a *hub.Answer) { a.Pass(data("9")) })
	}
	n.want("deliver 0: alone ann 0", "deliver 0: both ann 1", "deliver 0: alone ann 2", "deliver 0: both ann 3")
	n.want("deliver 0: both ann 9", "status 1: good", "deliver 0: both ann 9", "status 3: good")
}

func TestTagZeroGetsNoStatus(t *testing.T) {
	h := run(t, Options{})
	n := h.native(t, "ann")
	n.frames(sent(0, "t", "1", "ann"), sent(0, "nobody's", "2"), sent(0, "dummy", "3"), wire.AppendPing(nil, 0))
	n.want("deliver 0: t ann 1")
	n.lives()
}

func TestOrderUnderLoad(t *testing.T) {
	h := run(t, Options{Limits: Limits{QueueBytes: 64 << 20}})
	echo := hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error { a.Pass(m.Data); return nil })
	later := make(held, 1000)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan bool)
	go func() { // a handler that answers from another goroutine
		defer close(done)
		var b hub.Batch
		for {
			select {
			case a := <-later:
				a.Resume(&b)
				a.SendClients(data(strconv.FormatUint(a.Message().Tag, 10)), hub.Address{User: "all"})
				a.Done(nil)
				if len(later) == 0 {
					b.Flush()
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	defer func() { stop(); <-done }()
	h.serve(t, "later", later)
	if err := h.router.SetRoutes([]hub.Route{{Match: "now", Through: []hub.Handler{echo}, To: []hub.Address{{User: "all"}}}}); err != nil {
		t.Fatal(err)
	}
	all := h.native(t, "all")
	const senders, n = 4, 500
	var read atomic.Int32
	for s := range senders {
		p := h.native(t, fmt.Sprint("sender", s))
		go func() {
			var out []byte
			for i := 1; i <= n; i++ {
				out = bformat.Append(out, sent(uint64(i), "now", strconv.Itoa(i)))
				out = bformat.Append(out, sent(uint64(i), "later", "0"))
			}
			p.Write(out)
			for range 2 * n {
				if f, err := p.in.Next(); err != nil || !isGood(f) {
					return
				}
			}
			read.Add(1)
		}()
	}
	last := make(map[string]int)
	for range 2 * senders * n {
		f := strings.Fields(all.next()) // deliver 0: type from number
		stream := f[2] + " " + f[3]
		if i, _ := strconv.Atoi(f[4]); i != last[stream]+1 {
			t.Fatalf("%s: got %d after %d", stream, i, last[stream])
		}
		last[stream]++
	}
	if len(last) != 2*senders {
		t.Errorf("got %v", last)
	}
}

func isGood(f []byte) bool {
	s, err := describe(f)
	return err == nil && strings.HasSuffix(s, ": good")
}

// Replies may be longer than the queue's limit: a client that reads gets them.
func TestLongRepliesAreRead(t *testing.T) {
	h := run(t, Options{})
	h.serve(t, "ask", hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error { a.Reply(m.Data); return nil }))
	n := h.native(t, "ann")
	for i := range 20 {
		long := `"` + strings.Repeat("x", 400_000+30_000*i) + `"`
		n.send(uint64(1+i), "ask", long)
		n.want(fmt.Sprintf("deliver %d: ask ann %s", 1+i, long), fmt.Sprintf("status %d: good", 1+i))
	}
}

// The status that ends a session comes after everything queued before.
func TestFinalStatusComesLast(t *testing.T) {
	h := run(t, Options{})
	n := h.native(t, "ann")
	n.frames(sent(0, "t", "1", "ann"), sent(0, "t", "2", "ann"), sent(0, "t", "3", "ann"), []byte{1})
	n.want("deliver 0: t ann 1", "deliver 0: t ann 2", "deliver 0: t ann 3")
	n.wantIn("status 0: malformed")
	n.want("end")
}
