package session

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/account"
	"github.com/besterhub/bester/hub/wire"
)

// One sender floods a receiver that does not read. The others, who send to it what it can
// hold, lose nothing; the flood does, and the log says so, with a sum and the user's name.
func TestFloodLosesAndOthersDoNot(t *testing.T) {
	for _, dialect := range []string{"native", "classic"} {
		t.Run(dialect, func(t *testing.T) {
			h := run(t, Options{})
			h.route(t, "r", "slow")
			h.account(t, "slow", nil)
			var slow *peer
			if dialect == "native" {
				slow = h.native(t, "slow")
			} else {
				slow = h.classic(t, "slow")
			}
			names := []string{"ann", "bob", "cleo"}
			flooder := h.native(t, "flood")
			var ordinary []*peer
			for _, name := range names {
				ordinary = append(ordinary, h.native(t, name))
			}
			const rounds, burst = 40, 500
			for i := range rounds {
				var frames [][]byte
				for k := range burst {
					frames = append(frames, sent(1, "r", fmt.Sprintf("%q", fmt.Sprintf("flood %d %s", i*burst+k, strings.Repeat("x", 100)))))
				}
				flooder.frames(frames...)
				for k, p := range ordinary {
					p.send(1, "r", fmt.Sprintf("%q", fmt.Sprintf("%s %d", names[k], i)))
					p.want("status 1: good")
				}
				for range burst {
					flooder.want("status 1: good")
				}
			}
			h.log.want(t, "deliveries lost", "user=slow", "count=", `why="queue full"`, "session.queue")

			ordinary[0].send(2, "r", `"end"`)
			got := make(map[string]int)
			for {
				frame := slow.next()
				if strings.Contains(frame, `"end"`) {
					break
				}
				for _, name := range append(names, "flood") {
					if strings.Contains(frame, `"`+name+" ") {
						got[name]++
					}
				}
			}
			for _, name := range names {
				if got[name] != rounds {
					t.Errorf("of %s's %d messages came %d", name, rounds, got[name])
				}
			}
			if n := lost(h, "slow"); n == 0 || got["flood"]+n != rounds*burst {
				t.Errorf("of the flood came %d, %d were lost, of %d", got["flood"], n, rounds*burst)
			}
			if want := lost(h, "slow"); dialect == "native" && slow.missed != want || dialect == "classic" && slow.missed != 0 {
				t.Errorf("the receiver was told of %d, want %d", slow.missed, want)
			}
			for _, gap := range slow.gaps {
				if !strings.HasSuffix(gap, ": queue full") {
					t.Errorf("got %q", gap)
				}
			}
		})
	}
}

// A message between the size of a queue and that of a frame arrives, in both dialects, also
// when others wait before it. One that the receiver says it does not take fails at once.
func TestFrameLongerThanQueue(t *testing.T) {
	h := run(t, Options{Limits: Limits{QueueBytes: 64 << 10, MaxFrame: 1 << 20}})
	h.route(t, "r", "ann", "bob")
	h.account(t, "bob", nil)
	ann, bob, sam := h.native(t, "ann"), h.classic(t, "bob"), h.native(t, "sam")
	ann.in.SetLimit(2 << 20)
	bob.in.SetLimit(2 << 20)
	for i, size := range []int{10, 70_000, 300_000, 1<<20 - 100} {
		text := strings.Repeat("x", size)
		sam.frames(sent(1, "r", `"before"`), sent(uint64(2+i), "r", `"`+text+`"`))
		sam.want("status 1: good", fmt.Sprintf("status %d: good", 2+i))
		ann.want(`deliver 0: r sam "before"`, `deliver 0: r sam "`+text+`"`)
		bob.want(received("r", `"before"`), received("r", `"`+text+`"`))
	}
	if n := lost(h, "ann") + lost(h, "bob"); n != 0 {
		t.Errorf("%d lost", n)
	}
}

// A client that only sends is no receiver, but gets replies.
func TestSendOnly(t *testing.T) {
	h := run(t, Options{})
	h.serve(t, "echo", hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error { a.Reply(m.Data); return nil }))
	h.route(t, "r", "ann")
	ann := h.as(t, helloSendOnly("ann"))
	ann.send(1, "r", `1`)
	ann.want("status 1: good")
	ann.send(2, "echo", `2`)
	ann.want(`deliver 2: echo ann 2`, "status 2: good")
	ann.send(3, "none", `3`, "ann")
	ann.want("status 3: good")
	st := h.router.Stats()
	st.AddSink(h.Deliveries())
	if st.Absent != 2 || st.Succeeded != 1 || st.Handed != 1 {
		t.Errorf("counted %+v", st)
	}
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		u := h.Users()[0]
		if u.User == "ann" && u.Sessions == 1 && u.SendOnly == 1 && u.Delivered == 1 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("counted %+v", u)
		}
	}
	h.native(t, "ann")
	ann.send(4, "r", `4`)
	ann.want("status 4: good")
	st = h.router.Stats()
	if st.Handed != 2 {
		t.Errorf("another session of the user is a receiver: %+v", st)
	}
}

// What cannot be converted for a receiver, or is longer than it takes, fails for the sender,
// and the receiver is told of the gap, in order; what it may not receive is no gap.
func TestGapForWhatCannotBeSent(t *testing.T) {
	h := run(t, Options{})
	h.route(t, "r/#", "ann", "eve")
	h.account(t, "sam", nil)
	h.account(t, "eve", func(p *account.Permissions) { p.Receive = []hub.Pattern{"other"} })
	ann, sam := h.as(t, &wire.Hello{Role: wire.RoleClient, User: "ann", MaxFrame: 1000}), h.classic(t, "sam")
	eve := h.as(t, &wire.Hello{Role: wire.RoleClient, User: "eve", Password: "p"})
	sam.text(classicMessage("r/a", "1", `"first"`))
	sam.want(classicGood("1"))
	sam.text(classicMessage("r/b", "2", `"\ud800"`))
	sam.wantIn(`"status":"bad"`, `surrogate`)
	sam.text(classicMessage("r/c", "3", `"`+strings.Repeat("x", 1000)+`"`))
	sam.wantIn(`"status":"bad"`, `are more than the 1000 that \"ann\" takes`)
	sam.text(classicMessage("r/d", "4", `"last"`))
	sam.want(classicGood("4"))
	ann.want(`deliver 0: r/a sam "first"`, `deliver 0: r/d sam "last"`)
	all := strings.Join(ann.gaps, "; ")
	if ann.missed != 2 || !strings.Contains(all, "cannot be converted") || !strings.Contains(all, "too long") {
		t.Errorf("told %q", all)
	}
	eve.lives()
	if eve.missed != 0 {
		t.Errorf("told of %q", eve.gaps)
	}
	st := h.router.Stats()
	if st.Losses[hub.LossEncoding] != 1 || st.Losses[hub.LossTooLong] != 1 || st.Losses[hub.LossDenied] != 4 || st.Failed != 2 || st.Failures["too_long"] != 1 {
		t.Errorf("counted %+v", st)
	}
	h.log.want(t, "deliveries lost", "user=eve", "count=", "may not receive the type", "bester account allow --add --receive")
}

// Losses that are not logged yet when the hub ends are logged then, by user and reason.
func TestLossesAreLoggedAtTheEnd(t *testing.T) {
	h := run(t, Options{})
	h.route(t, "r/#", "eve")
	h.account(t, "sam", nil)
	h.account(t, "eve", func(p *account.Permissions) { p.Receive = []hub.Pattern{"other"} })
	sam := h.classic(t, "sam")
	h.as(t, &wire.Hello{Role: wire.RoleClient, User: "eve", Password: "p"})
	sam.text(classicMessage("r/a", "1", `1`))
	sam.want(classicGood("1"))
	h.log.want(t, "deliveries lost", "user=eve", "count=1")
	for range 7 { // the next line of these would come only after logEvery
		sam.text(classicMessage("r/a", "1", `1`))
		sam.want(classicGood("1"))
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := h.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	h.log.want(t, "deliveries lost", "user=eve", "count=7", "may not receive the type")
}
