package link

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/besterhub/bester/handlers"
	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/hubtest"
	"github.com/besterhub/bester/hub/wire"
)

var (
	errTimeout = os.ErrDeadlineExceeded
	errReset   = error(syscall.ECONNRESET)
)

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
	h := newHub(t, Options{Frame: 5000})
	p := h.peer(hello(0))
	if p.hub.Role != wire.RoleHub || p.hub.Name != "test" || p.hub.Frame != 5000 {
		t.Errorf("got %+v", p.hub)
	}
	if s := h.Stats(); len(s) != 1 || s[0].Processes != 1 || !slices.Equal(s[0].Types, []string{"reading/#"}) {
		t.Errorf("stats %+v", s)
	}
}

func TestOutOfTurnAnswersAreCarriedOutInOrder(t *testing.T) {
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
	p.silent(50 * time.Millisecond)
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
	h := newHub(t, Options{Waiting: 10000, Bytes: 64 << 20})
	p := h.peer(hello(1 << 30))
	var as hubtest.Answers
	ask(&as, h.Group("x"), "anna", MaxCredits+10)
	for range MaxCredits {
		p.handle()
	}
	p.silent(20 * time.Millisecond)
	q := h.peer(wire.Hello{Name: "y", Types: []string{"other"}})
	ask(&as, h.Group("y"), "anna", DefaultCredits+10)
	for range DefaultCredits {
		q.handle()
	}
	q.silent(20 * time.Millisecond)
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
	second.silent(20 * time.Millisecond) // the stream stays with the first while it has any of it
	first.conn.Close()
	// What was sent has failed; what waited has moved, and comes after.
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

func TestHungHandlerFailsOnlyWhatItHas(t *testing.T) {
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
	p.silent(20 * time.Millisecond)
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

func TestProcessThatOwesEverythingIsClosed(t *testing.T) {
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
		{"messages", "5 messages wait for it already", Options{Waiting: 5}, 10},
		{"bytes", "messages of 10000 bytes wait for it already", Options{Bytes: 10000}, 1500},
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
				wantErr(t, a.Err, hub.ErrClosed, "closing")
			}
		})
	}
}

func TestGarbageClosesTheProcessAlone(t *testing.T) {
	for name, frames := range map[string][][]byte{
		"short frame":         {{1, 2, 3}},
		"no kind":             {make([]byte, 8)},
		"kind no number":      {append(make([]byte, 8), 0xc0)},
		"answer to nothing":   {answerTo(99)},
		"answer under tag 0":  {answerTo(0)},
		"answer twice":        {answerTo(1), answerTo(1)},
		"answer to the past":  {answerTo(1 << 40)},
		"second hello":        {wire.AppendHello(nil, &wire.Hello{Version: 1, Role: "handler"})},
		"a frame over limits": {make([]byte, 10001)},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t, Options{Frame: 10000})
			other := h.peer(wire.Hello{Name: "other", Types: []string{"other"}})
			p := h.peer(hello(4))
			var as hubtest.Answers
			ask(&as, h.Group("x"), "anna", 2)
			p.handle()
			p.handle()
			for _, f := range frames {
				p.write(f)
			}
			p.closed()
			wantErr(t, as.Wait(t, 2)[1].Err, hub.ErrHandler, "ended before it answered")
			h.log.wait(t, 1, func(l string) bool { return contains(l, "handler closed handler=x reason=breach of protocol") })
			as.Ask(h.Group("other"), message("other", "anna", 0, "0"))
			tag, _ := other.handle()
			other.reply(tag, "ok")
			as.Wait(t, 3)
		})
	}
}

func answerTo(tag uint64) []byte {
	var e wire.AnswerEncoder
	e.Begin(nil, tag)
	return e.End(nil)
}

// An answer that does not parse is the failure of its message; the connection is still in step.
func TestMalformedAnswerFailsItsMessage(t *testing.T) {
	h := newHub(t, Options{})
	p := h.peer(hello(4))
	var as hubtest.Answers
	ask(&as, h.Group("x"), "anna", 2)
	one, _ := p.handle()
	two, _ := p.handle()
	p.write(append(binary.LittleEndian.AppendUint64(nil, one), byte(wire.KindAnswer), 0x81, 0xa1, 'a', 0x91, 0x81, 0xa1, 'c', 0xa4, 'b', 'o', 'o', 'm'))
	p.pass(two)
	a := as.Wait(t, 2)
	wantErr(t, a[0].Err, hub.ErrHandler, `unknown command "boom"`)
	if a[1].Err != nil {
		t.Errorf("the next one: %v", a[1].Err)
	}
	if s := h.Stats()[0]; s.Garbage != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestHalfFrame(t *testing.T) {
	h := newHub(t, Options{})
	p := h.peer(hello(4))
	var as hubtest.Answers
	ask(&as, h.Group("x"), "anna", 2)
	tag, _ := p.handle()
	frame := bformat.Append(nil, answerTo(tag))
	for _, b := range frame { // any split reads right
		p.conn.Write([]byte{b})
	}
	if a := as.Wait(t, 1)[0]; a.Err != nil || a.Commands[0].Verb != hub.Drop {
		t.Errorf("got %+v", a)
	}
	p.conn.Write(frame[:7])
	p.conn.Close()
	wantErr(t, as.Wait(t, 2)[1].Err, hub.ErrHandler, "ended before it answered")
	h.log.wait(t, 1, func(l string) bool { return contains(l, "closed inside a frame") })
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

func TestConflictsAreRefusedWithAStatus(t *testing.T) {
	h := newHub(t, Options{})
	h.peer(hello(1))
	for name, c := range map[string]struct {
		hello wire.Hello
		want  string
	}{
		"type of another":        {wire.Hello{Name: "y", Types: []string{"b", "reading/#"}}, `pattern "reading/#": another handler serves it already`},
		"other types, same name": {wire.Hello{Name: "x", Types: []string{"reading/#", "b"}}, "give it another name"},
		"no types":               {wire.Hello{Name: "z"}, "names no types"},
	} {
		t.Run(name, func(t *testing.T) {
			p := h.dial(c.hello)
			tag, kind, body := p.next()
			if tag != 0 || kind != wire.KindStatus {
				t.Fatalf("got tag %d kind %d, want a status about the connection", tag, kind)
			}
			wantErr(t, wire.ParseStatus(body), hub.ErrDenied, c.want)
			p.closed()
			if h.router.Serves("b") || len(h.Stats()) != 1 {
				t.Error("something of the refused handler was left behind")
			}
		})
	}
}

func TestTypesAreServedWhileAProcessIsThere(t *testing.T) {
	h := newHub(t, Options{})
	one, two := h.peer(hello(1)), h.peer(hello(1))
	one.conn.Close()
	h.until("x", "first gone", func(s Stats) bool { return s.Processes == 1 })
	if !h.router.Serves("reading/a") {
		t.Error("not served though a process is there")
	}
	two.conn.Close()
	h.until("x", "forgotten", func(s Stats) bool { return s.Name == "" })
	if h.router.Serves("reading/a") {
		t.Error("served though no process is there")
	}
}

func TestGoodbyeOfAProcess(t *testing.T) {
	h := newHub(t, Options{})
	p := h.peer(hello(2))
	var as hubtest.Answers
	g := h.Group("x")
	ask(&as, g, "anna", 3)
	one, _ := p.handle()
	two, _ := p.handle()
	p.write(wire.AppendGoodbye(nil, "enough"))
	p.pass(one)
	p.silent(20 * time.Millisecond) // no third message
	q := h.peer(hello(2))
	p.pass(two)
	p.closed()
	tag, m := q.handle()
	if m.ID.Number != 2 {
		t.Errorf("got message %d", m.ID.Number)
	}
	q.pass(tag)
	for _, a := range as.Wait(t, 3) {
		if a.Err != nil {
			t.Error(a.Err)
		}
	}
}

func TestShutdownWaitsForWhatIsInFlight(t *testing.T) {
	h := newHub(t, Options{})
	p := h.peer(hello(1))
	var as hubtest.Answers
	g := h.Group("x")
	ask(&as, g, "anna", 2)
	tag, _ := p.handle()
	ended := make(chan error, 1)
	go func() { ended <- h.Shutdown(context.Background()) }()
	for { // until it takes no more
		var probe hubtest.Answers
		probe.Ask(g, message("reading/probe", "bert", 0, "0"))
		if as := probe.Wait(t, 0); len(as) == 1 {
			wantErr(t, as[0].Err, hub.ErrClosed, "closing")
			break
		}
		defer probe.Wait(t, 1)
	}
	p.pass(tag)
	for {
		tag, kind, _ := p.next()
		if kind == wire.KindGoodbye {
			break
		}
		p.pass(tag)
	}
	p.closed()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for _, a := range as.Wait(t, 2) {
		if a.Err != nil {
			t.Error(a.Err)
		}
	}
	late := h.dial(hello(1))
	_, _, body := late.next()
	wantErr(t, wire.ParseStatus(body), hub.ErrClosed, "closing")
}

func TestShutdownEndsWithItsContext(t *testing.T) {
	h := newHub(t, Options{})
	p := h.peer(hello(1))
	var as hubtest.Answers
	ask(&as, h.Group("x"), "anna", 2)
	p.handle()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := h.Shutdown(ctx); err == nil {
		t.Error("got nil, want the context's error")
	}
	a := as.Wait(t, 2)
	wantErr(t, a[0].Err, hub.ErrHandler, "ended before it answered")
	wantErr(t, a[1].Err, hub.ErrClosed, "closing")
}

// A process that does not read holds up nobody: what is for it waits within bounds.
func TestSlowReader(t *testing.T) {
	h := newHub(t, Options{Timeout: time.Minute})
	slow := h.peer(wire.Hello{Name: "slow", Types: []string{"slow"}, Credits: MaxCredits})
	h.kit(hub.HandlerFunc(hubtest.Pass), handlers.Options{Name: "x"}, "reading/#")
	var stuck, as hubtest.Answers
	big := `"` + strings.Repeat("x", 100<<10) + `"`
	for i := range 100 {
		stuck.Ask(h.Group("slow"), message("slow", "anna", i, big))
	}
	full := stuck.Wait(t, 50)
	wantErr(t, full[0].Err, hub.ErrFull, "wait for it already")
	ask(&as, h.Group("x"), "anna", 500)
	as.Wait(t, 500)
	// It reads again: what was taken is all there.
	for n := len(full); n < 100; n++ {
		tag, _ := slow.handle()
		slow.pass(tag)
	}
	stuck.Wait(t, 100)
}

func TestMessageLargerThanTheProcessTakes(t *testing.T) {
	h := newHub(t, Options{})
	p := h.peer(wire.Hello{Name: "x", Types: []string{"reading/#"}, Frame: 200})
	var as hubtest.Answers
	g := h.Group("x")
	as.Ask(g, message("reading/a", "anna", 0, `"`+strings.Repeat("x", 300)+`"`))
	wantErr(t, as.Wait(t, 1)[0].Err, hub.ErrHandler, "takes frames of at most 200 bytes")
	as.Ask(g, message("reading/a", "anna", 1, `{"cannot":`))
	wantErr(t, as.Wait(t, 2)[1].Err, hub.ErrEncoding, "")
	as.Ask(g, message("reading/a", "anna", 2, "2"))
	tag, _ := p.handle()
	p.pass(tag)
	as.Wait(t, 3)
}
