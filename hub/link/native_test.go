package link

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/hubtest"
	"github.com/besterhub/bester/hub/wire"
)

var errReset = error(syscall.ECONNRESET)

func hello(credits int) wire.Hello {
	return wire.Hello{Name: "x", Types: []string{"reading/#"}, Credits: credits}
}

// ask gives h n messages of one sender, with their numbers as data.
func ask(as *hubtest.Answers, h hub.Handler, from string, n int) {
	for i := range n {
		as.Ask(h, message("reading/a", from, i, fmt.Sprint(i)))
	}
}

func TestHelloIsAnsweredWithTheHubs(t *testing.T) {
	h := newHub(t, Options{MaxFrame: 5000})
	p := h.peer(hello(0))
	if p.hub.Role != wire.RoleHub || p.hub.Name != "test" || p.hub.MaxFrame != 5000 {
		t.Errorf("got %+v", p.hub)
	}
	if s := h.Stats(); len(s) != 1 || s[0].Processes != 1 || !slices.Equal(s[0].Types, []string{"reading/#"}) {
		t.Errorf("stats %+v", s)
	}
}

func TestOutOfOrderAnswersAreExecutedInOrder(t *testing.T) {
	h := newHub(t, Options{})
	p := h.peer(hello(10))
	var as hubtest.Answers
	g := h.Group("x")
	ask(&as, g, "anna", 4)
	as.Ask(g, message("reading/a", "bert", 0, "0"))
	tags := make(map[string]uint64)
	for range 5 {
		tag, m := p.handle()
		tags[m.From.String()+fmt.Sprint(m.ID.Number)] = tag
	}
	p.reply(tags["anna3"], "three")
	p.reply(tags["anna1"], "one")
	p.reply(tags["bert0"], "bert") // another stream does not wait
	if a := as.Wait(t, 1)[0]; a.Message.From.User != "bert" {
		t.Fatalf("first came %+v", a)
	}
	h.until("x", "held answers", func(s Stats) bool { return s.Waiting == 4-s.InFlight && s.InFlight == 2 })
	p.pass(tags["anna2"])
	p.reply(tags["anna0"], "zero")
	var got []string
	for _, a := range as.Wait(t, 5)[1:] {
		got = append(got, fmt.Sprintf("%d:%v:%s", a.Message.ID.Number, a.Commands[0].Verb, a.Text(0)))
	}
	// A pass without data passes on what was handled, in its own encoding.
	if want := []string{"0:reply:\xa4zero", "1:reply:\xa3one", "2:pass:2", "3:reply:\xa5three"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCreditsAreRespected(t *testing.T) {
	h := newHub(t, Options{})
	p := h.peer(hello(3))
	var as hubtest.Answers
	ask(&as, h.Group("x"), "anna", 5)
	var tags []uint64
	for i := range 3 {
		tag, m := p.handle()
		if m.ID.Number != uint64(i) {
			t.Fatalf("message %d came where %d was due", m.ID.Number, i)
		}
		tags = append(tags, tag)
	}
	p.silent()
	p.reply(tags[1], "one") // its credit comes back although its answer has to wait
	if _, m := p.handle(); m.ID.Number != 3 {
		t.Errorf("got message %d, want 3", m.ID.Number)
	}
	s := h.Stats()[0]
	if s.InFlight != 3 || s.Waiting != 2 || s.Sent != 4 || s.Answered != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestDefaultAndHighestCredits(t *testing.T) {
	h := newHub(t, Options{QueueMessages: 10000, QueueBytes: 64 << 20})
	p := h.peer(hello(1 << 30))
	var as hubtest.Answers
	ask(&as, h.Group("x"), "anna", MaxCredits+10)
	for range MaxCredits {
		p.handle()
	}
	p.silent()
	q := h.peer(wire.Hello{Name: "y", Types: []string{"other"}})
	ask(&as, h.Group("y"), "anna", DefaultCredits+10)
	for range DefaultCredits {
		q.handle()
	}
	q.silent()
}

func TestProcessEndsWithMessagesInFlight(t *testing.T) {
	h := newHub(t, Options{})
	first := h.peer(hello(2))
	var as hubtest.Answers
	g := h.Group("x")
	ask(&as, g, "anna", 4)
	first.handle()
	first.handle()
	second := h.peer(hello(4))
	second.silent() // the stream stays with the first process while any of it is in flight there
	first.conn.Close()
	// What was sent has failed; what waited goes to the second process, after it.
	for i := 2; i < 4; i++ {
		tag, m := second.handle()
		if m.ID.Number != uint64(i) {
			t.Errorf("the second process got message %d, want %d", m.ID.Number, i)
		}
		second.reply(tag, "ok")
	}
	for i, a := range as.Wait(t, 4) {
		if a.Message.ID.Number != uint64(i) {
			t.Errorf("answer %d is to message %d", i, a.Message.ID.Number)
		}
		if i < 2 {
			wantErr(t, a.Err, hub.ErrHandler, `handler "x" ended before it answered`)
		} else if a.Err != nil {
			t.Errorf("message %d: %v", i, a.Err)
		}
	}
	if s := h.Stats()[0]; s.Failed != 2 || s.Processes != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestHungHandlerFailsOnlyTheHungMessage(t *testing.T) {
	h := newHub(t, Options{Timeout: time.Second})
	p := h.peer(hello(3))
	var as hubtest.Answers
	g := h.Group("x")
	as.Ask(g, message("reading/a", "anna", 0, "0"))
	hung, _ := p.handle()
	as.Ask(g, message("reading/a", "anna", 1, "1"))
	as.Ask(g, message("reading/a", "bert", 0, "0"))
	for range 2 {
		tag, m := p.handle()
		if m.From.User == "bert" {
			p.reply(tag, "ok")
		} else {
			p.reply(tag, "out of turn")
		}
	}
	if a := as.Wait(t, 1)[0]; a.Message.From.User != "bert" || a.Err != nil {
		t.Errorf("first came %+v", a)
	}
	a := as.Wait(t, 3)
	wantErr(t, a[1].Err, hub.ErrTimeout, "no answer for 1s")
	if a[2].Err != nil || a[2].Text(0) != "\xabout of turn" {
		t.Errorf("what was answered behind it: %+v", a[2])
	}
	// The tag is not used again, and its credit is gone, until the late answer has come.
	ask(&as, g, "carl", 3)
	for range 2 {
		if tag, _ := p.handle(); tag == hung {
			t.Errorf("tag %d was used again while its answer was owed", tag)
		} else {
			defer p.reply(tag, "ok")
		}
	}
	p.silent()
	p.reply(hung, "late")
	if tag, m := p.handle(); m.From.User != "carl" || m.ID.Number != 2 {
		t.Errorf("got %+v", m)
	} else {
		p.reply(tag, "ok")
	}
	if s := h.Stats()[0]; s.Late != 1 || s.Timeouts < 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestProcessWithAllCreditsOverdueIsClosed(t *testing.T) {
	h := newHub(t, Options{Timeout: 30 * time.Millisecond})
	p := h.peer(hello(2))
	var as hubtest.Answers
	ask(&as, h.Group("x"), "anna", 2)
	for _, a := range as.Wait(t, 2) {
		wantErr(t, a.Err, hub.ErrTimeout, "no answer")
	}
	p.closed()
	h.log.wait(t, 1, func(l string) bool {
		return contains(l, "handler closed") && contains(l, "2 messages, all its credits, are not answered")
	})
}

func TestMessagesThatNobodyTakesTimeOut(t *testing.T) {
	h := newHub(t, Options{})
	g, err := h.Add(Config{Name: "x", Options: Options{Timeout: 30 * time.Millisecond}, Types: []hub.Pattern{"reading/#"}})
	if err != nil {
		t.Fatal(err)
	}
	var as hubtest.Answers
	ask(&as, g, "anna", 3)
	for i, a := range as.Wait(t, 3) {
		if a.Message.ID.Number != uint64(i) {
			t.Errorf("answer %d is to %v", i, a.Message.ID)
		}
		wantErr(t, a.Err, hub.ErrTimeout, `handler "x": took no message for 30ms`)
	}
	if s := h.Stats()[0]; s.Timeouts != 3 || s.Failed != 3 || s.Waiting != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestConfiguredHandlerWaitsForItsProcess(t *testing.T) {
	h := newHub(t, Options{})
	g, err := h.Add(Config{Name: "x", Types: []hub.Pattern{"alpha"}})
	if err != nil {
		t.Fatal(err)
	}
	var as hubtest.Answers
	ask(&as, g, "anna", 3)
	p := h.peer(wire.Hello{Name: "x", Types: []string{"beta"}}) // the config's types count
	for range 3 {
		tag, _ := p.handle()
		p.reply(tag, "ok")
	}
	as.Wait(t, 3)
	if !h.router.Serves("alpha") || h.router.Serves("beta") {
		t.Error("want the types of the config to be served, and no others")
	}
	if _, err := h.Add(Config{Name: "x"}); err == nil || !contains(err.Error(), "there are two") {
		t.Errorf("added twice: %v", err)
	}
}

func TestBoundedQueueRefuses(t *testing.T) {
	h := newHub(t, Options{})
	for _, c := range []struct {
		name, want string
		o          Options
		size       int
	}{
		{"messages", "5 messages wait for it already", Options{QueueMessages: 5}, 10},
		{"bytes", "messages of 10000 bytes wait for it already", Options{QueueBytes: 10000}, 1500},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, err := h.Add(Config{Name: c.name, Options: c.o})
			if err != nil {
				t.Fatal(err)
			}
			var as hubtest.Answers
			data := `"` + strings.Repeat("x", c.size) + `"`
			for i := range 6 {
				as.Ask(g, message("reading/a", "anna", i, data))
			}
			a := as.Wait(t, 1)
			wantErr(t, a[0].Err, hub.ErrFull, c.want)
			if s := g.Stats(); s.Refused != uint64(len(a)) || s.Waiting != 6-len(a) {
				t.Errorf("stats %+v", s)
			}
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			g.Shutdown(ctx)
			for _, a := range as.Wait(t, 6)[len(a):] {
				wantErr(t, a.Err, hub.ErrClosed, "is being ended")
			}
		})
	}
}

func TestUnknownKindsAreSkippedAndPingsAnswered(t *testing.T) {
	h := newHub(t, Options{})
	p := h.peer(hello(4))
	p.write(append(make([]byte, 8), 0x2a, 0x80))
	p.write(wire.AppendPing(nil, 0))
	p.write(wire.AppendPing(nil, 7))
	tag, kind, body := p.next()
	if tag != 7 || kind != wire.KindStatus || wire.ParseStatus(body) != nil {
		t.Errorf("ping: got tag %d kind %d", tag, kind)
	}
	send, _ := wire.AppendMessage(nil, 8, wire.KindSend, message("reading/a", "anna", 0, "0"))
	p.write(send)
	_, _, body = p.next()
	wantErr(t, wire.ParseStatus(body), hub.ErrDenied, "log in as a client")
}
