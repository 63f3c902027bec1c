package session

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/account"
	"github.com/besterhub/bester/hub/wire"
)

// subscribe sends a subscribe frame, for each pattern, and wants it to be good.
func (p *peer) subscribe(patterns ...hub.Pattern) {
	p.t.Helper()
	for _, pattern := range patterns {
		p.frames(wire.AppendSubscribe(nil, 9, wire.Subscription{Pattern: pattern}))
		p.want("status 9: good")
	}
}

// A client is delivered what it has subscribed to until it unsubscribes, whatever routes
// there are; others are not.
func TestSubscribe(t *testing.T) {
	h := run(t, Options{})
	h.route(t, "routed", "ann")
	ann, bob, sam := h.native(t, "ann"), h.native(t, "bob"), h.native(t, "sam")
	ann.subscribe("routed", "a/#", "a/+")
	bob.subscribe("#")
	sam.send(1, "a/b", "1")
	sam.send(2, "routed", "2")
	sam.send(3, "c", "3", "ann")
	sam.want("status 1: good", "status 2: good", "status 3: good")
	ann.want("deliver 0: a/b sam 1", "deliver 0: routed sam 2", "deliver 0: c sam 3")
	bob.want("deliver 0: a/b sam 1", "deliver 0: routed sam 2")
	if n := h.Stats().Subscriptions; n != 4 {
		t.Errorf("%d subscriptions are counted, want 4", n)
	}
	bob.frames(wire.AppendUnsubscribe(nil, 1, "#"), wire.AppendUnsubscribe(nil, 2, "#"), wire.AppendUnsubscribe(nil, 0, "never"))
	bob.want("status 1: good", "status 2: good")
	sam.send(4, "a/b", "4")
	sam.want("status 4: good")
	ann.want("deliver 0: a/b sam 4")
	bob.lives()

	ann.Close()
	until(t, "the subscriptions have ended", func() bool { return h.Stats().Subscriptions == 0 && h.Stats().Sessions == 2 })
	sam.send(5, "a/b", "5")
	sam.want(`status 5: no handler or route serves type "a/b"`)
	if s := h.router.Stats(); s.Lost != 0 || s.Delivered != 6 {
		t.Errorf("got %+v", s)
	}
}

// What cannot be subscribed to is refused by itself, with a reason; the session goes on.
func TestSubscriptionsThatAreRefused(t *testing.T) {
	h := run(t, Options{Limits: Limits{MaxSubscriptions: 3}})
	h.account(t, "ann", func(p *account.Permissions) { p.Receive = []hub.Pattern{"mine/#", "ours/+"} })
	ann := h.enter(t, "ann")
	refused := 0
	for _, c := range []struct {
		frame []byte
		want  string
	}{
		{wire.AppendSubscribe(nil, 1, wire.Subscription{Pattern: "a#"}), `subscription: p: pattern "a#"`},
		{wire.AppendSubscribe(nil, 1, wire.Subscription{}), `subscription: p: pattern ""`},
		{wire.AppendSubscribe(nil, 1, wire.Subscription{Pattern: hub.Pattern(strings.Repeat("x", 256))}), "256 bytes, at most 255"},
		{append(wire.AppendSubscribe(nil, 1, wire.Subscription{Pattern: "a"})[:9], 0xc1), "subscription: "},
		{wire.AppendSubscribe(nil, 1, wire.Subscription{Pattern: "#"}), `"ann" may not receive "#": bester account allow --add --receive '#' ann`},
		{wire.AppendSubscribe(nil, 1, wire.Subscription{Pattern: "ours/#"}), `may not receive "ours/#"`},
	} {
		ann.frames(c.frame)
		ann.wantIn("status 1: ", c.want)
		refused++
	}
	ann.subscribe("mine/#", "ours/+", "ours/a", "mine/#")
	ann.frames(wire.AppendSubscribe(nil, 1, wire.Subscription{Pattern: "ours/b"}))
	ann.want("status 1: this session has 3 subscriptions, as many as one may have: session.subscriptions")
	ann.frames(wire.AppendUnsubscribe(nil, 2, "a#"))
	ann.wantIn("status 2: subscription: p: ")
	sendOnly := h.as(t, helloSendOnly("bob"))
	server := h.as(t, &wire.Hello{Role: wire.RoleServer, User: "far"})
	for _, p := range []*peer{sendOnly, server} {
		p.frames(wire.AppendSubscribe(nil, 1, wire.Subscription{Pattern: "x"}))
		p.want("status 1: a session that takes no deliveries cannot subscribe")
		p.lives()
	}
	if s := h.Stats(); s.SubscriptionsRefused != uint64(refused+3) || s.Subscriptions != 3 {
		t.Errorf("%d refused, %d subscriptions, want %d and 3", s.SubscriptionsRefused, s.Subscriptions, refused+3)
	}
}

// One account cannot take all the memory that the hub has for subscriptions, in whatever
// form; patterns of many levels take more of it.
func TestSubscriptionsAreBoundedInBytes(t *testing.T) {
	deep := hub.Pattern(strings.Repeat("a/", 120) + "b")
	for _, p := range []hub.Pattern{"short", deep} {
		h := run(t, Options{})
		s := h.Server
		all, ofAccount := s.limits.Load().subscriptions()
		take := func(user hub.UserName) (n int, err error) {
			for ; err == nil; n++ {
				err = s.countSubscription(user, p)
			}
			return n - 1, err
		}
		n, err := take("greedy")
		if n != ofAccount/subscriptionCost(p) || !strings.Contains(err.Error(), "as those of one account may") {
			t.Errorf("%.20s: %d subscriptions, then %v", p, n, err)
		}
		for i := 0; ; i++ {
			if n, err = take(hub.UserName(fmt.Sprint(i))); n == 0 {
				break
			}
		}
		if !strings.Contains(err.Error(), "as much memory as they may") || s.subscriptions.bytes > all || s.subscriptions.number != all/subscriptionCost(p) {
			t.Errorf("%.20s: %+v of %d bytes, then %v", p, s.subscriptions, all, err)
		}
		s.uncountSubscription("greedy", p)
		if err := s.countSubscription("last", p); err != nil {
			t.Error(err)
		}
	}
}

// What the bound counts for a pattern is at least what it takes.
func TestSubscriptionCost(t *testing.T) {
	r := hub.NewRouter(hub.RouterOptions{})
	for name, pattern := range map[string]func(i int) hub.Pattern{
		"short":      func(i int) hub.Pattern { return hub.Pattern(fmt.Sprint("t", i)) },
		"one prefix": func(i int) hub.Pattern { return hub.Pattern(fmt.Sprint("site/house/", i, "/+")) },
		"deep":       func(i int) hub.Pattern { return hub.Pattern(fmt.Sprint(i, strings.Repeat("/a", 60))) },
	} {
		const n = 500
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		cost := 0
		for i := range n {
			p := pattern(i)
			cost += subscriptionCost(p)
			r.Subscribe(p, "ann", &native{})
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		took := int(after.HeapAlloc) - int(before.HeapAlloc) - n*int(unsafe.Sizeof(native{}))
		if took > cost {
			t.Errorf("%s: %d subscriptions take %d bytes, counted with %d", name, n, took, cost)
		}
	}
	runtime.KeepAlive(r)
}

// An account that changes subscriptions all the time is read slowly; others are not.
func TestSubscriptionsAreLimitedInRate(t *testing.T) {
	h := run(t, Options{})
	h.account(t, "ann", nil)
	ann, bob := h.enter(t, "ann"), h.native(t, "bob")
	ann.subscribe("a")
	for range 3 * subscriptionRate.Messages / 2 {
		ann.frames(wire.AppendSubscribe(nil, 0, wire.Subscription{Pattern: "a"}))
	}
	bob.subscribe("b")
	bob.lives()
	ann.lives()
	if waited := time.Since(h.started); waited < 400*time.Millisecond {
		t.Errorf("%d changes were read in %v", 3*subscriptionRate.Messages/2, waited)
	}
}

// Subscriptions end with the permission to receive the types; the peer is told.
func TestSubscriptionEndsWithItsPermission(t *testing.T) {
	h := run(t, Options{})
	h.account(t, "ann", nil)
	ann, sam := h.enter(t, "ann"), h.native(t, "sam")
	ann.subscribe("a/#", "b")
	if err := h.accounts.Allow("ann", func(p *account.Permissions) { p.Receive = []hub.Pattern{"b", "a/x"} }); err != nil {
		t.Fatal(err)
	}
	h.Recheck()
	ann.wantIn("hello ", "Types:[b a/x]")
	sam.send(1, "a/x", "1")
	sam.send(2, "b", "2")
	sam.want(`status 1: no handler or route serves type "a/x"`, "status 2: good")
	ann.want("deliver 0: b sam 2")
	if s := h.Stats(); s.Subscriptions != 1 {
		t.Errorf("%d subscriptions, want 1", s.Subscriptions)
	}
}

// What status shows of a session: who it is, what it has subscribed to, and what it got.
// An administrator can end it, and nobody else.
func TestSessionsAndKick(t *testing.T) {
	h := run(t, Options{})
	h.account(t, "ann", nil)
	ann, c, sam := h.enter(t, "ann"), h.classic(t, "ann"), h.native(t, "sam")
	ann.subscribe("a", "b/#")
	sam.send(1, "a", "1")
	sam.want("status 1: good")
	ann.want("deliver 0: a sam 1")
	tcp := h.peer(t, "tcp", h.tcp)
	tcp.hello(&wire.Hello{Role: wire.RoleClient, User: "ann", Password: "p", SendOnly: true})
	tcp.wantIn("hello ")
	until(t, "all four are listed", func() bool {
		all := h.Sessions()
		return len(all) == 4 && all[0].Delivered == 1
	})
	var got []string
	for _, s := range h.Sessions() {
		from, _, _ := strings.Cut(s.From, ":")
		got = append(got, fmt.Sprintf("%s %s %s %v %v %d", s.User, s.Role, from, s.SendOnly, s.Subscriptions, s.Lost))
	}
	want := []string{"ann client unix false [a b/#] 0", "ann client unix false [] 0", "sam client unix false [] 0", "ann client 127.0.0.1 true [] 0"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q, want %q", got, want)
	}

	kick := func(p *peer, user string) {
		p.send(7, "builtin", fmt.Sprintf(`{"command":{"type":"kick","command":{"username":%q}}}`, user))
	}
	kick(ann, "sam")
	ann.wantIn(`status 7: not allowed: account "ann" is no administrator`)
	kick(sam, "sam") // not itself
	sam.want(`deliver 7: builtin  {"sessions":0}`, "status 7: good")
	kick(sam, "ann")
	sam.want(`deliver 7: builtin  {"sessions":3}`, "status 7: good")
	for _, p := range []*peer{ann, tcp} {
		p.want("goodbye: an administrator has ended the session", "end")
	}
	c.want("end")
	until(t, "they are gone", func() bool { return len(h.Sessions()) == 1 && h.Stats().Subscriptions == 0 })
	h.log.want(t, "sessions ended by an administrator", "user=sam", "kicked=ann", "sessions=3")
}

// Who asks for it gets the last message of each type before those to come, however many
// there are, and though the peer reads them late.
func TestSubscribeWithLast(t *testing.T) {
	h := run(t, Options{Limits: Limits{QueueBytes: 16 << 10}})
	h.router.SetLastValues(16 << 20)
	ann, bob, sam := h.native(t, "ann"), h.native(t, "bob"), h.native(t, "sam")
	ann.subscribe("t/#")
	const types = 2000
	for i := range types {
		sam.send(0, hub.Type(fmt.Sprintf("t/%04d", i)), `"`+strings.Repeat("x", 100)+`"`)
		ann.wantIn(fmt.Sprintf("deliver 0: t/%04d ", i))
	}
	sam.send(1, "t/0000", `"new"`)
	sam.want("status 1: good")
	bob.frames(wire.AppendSubscribe(nil, 5, wire.Subscription{Pattern: "t/+", Last: true}))
	bob.want(`deliver 0: t/0000 sam "new"`)
	for i := 1; i < types; i++ {
		bob.wantIn(fmt.Sprintf("deliver 0: t/%04d ", i))
	}
	bob.want("status 5: good")
	sam.send(2, "t/0001", "2")
	sam.want("status 2: good")
	bob.want("deliver 0: t/0001 sam 2")
	ann.want(`deliver 0: t/0000 sam "new"`, "deliver 0: t/0001 sam 2")
	ann.subscribe("t/#") // without last, and again
	ann.lives()
	if bob.missed > 0 || lost(h, "bob") > 0 {
		t.Errorf("%d were lost", lost(h, "bob"))
	}
	s := h.router.Stats()
	s.AddSink(h.Deliveries())
	if s.Handed != s.Delivered+s.Queued+s.Lost || s.Handed != 2*types+3 || s.LastValues != types {
		t.Errorf("got %+v", s)
	}
}
