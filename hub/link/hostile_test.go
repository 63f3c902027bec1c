package link

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/besterhub/bester/handlers"
	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/hubtest"
	"github.com/besterhub/bester/hub/wire"
)

func TestGarbageClosesTheProcessAlone(t *testing.T) {
	for name, frames := range map[string][][]byte{
		"short frame":         {{1, 2, 3}},
		"no kind":             {make([]byte, 8)},
		"kind no number":      {append(make([]byte, 8), 0xc0)},
		"second hello":        {wire.AppendHello(nil, &wire.Hello{Version: 1, Role: "handler"})},
		"a frame over limits": {make([]byte, 10001)},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t, Options{MaxFrame: 10000})
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

// An answer that belongs to no message in flight is dropped and counted; the process and
// what it has in flight stay.
func TestUnmatchedAnswersAreDropped(t *testing.T) {
	h := newHub(t, Options{})
	p := h.peer(hello(4))
	var as hubtest.Answers
	ask(&as, h.Group("x"), "anna", 2)
	one, _ := p.handle()
	two, _ := p.handle()
	unmatched := []uint64{one, 3, 0, 99, 1 << 40, 1<<64 - 1}
	p.pass(one)
	for range 10 {
		for _, tag := range unmatched {
			p.write(answerTo(tag))
		}
	}
	p.pass(two)
	for i, a := range as.Wait(t, 2) {
		if a.Err != nil {
			t.Errorf("message %d: %v", i, a.Err)
		}
	}
	s := h.until("x", "all answers seen", func(s Stats) bool { return s.Answered == 2 })
	if s.Unmatched != uint64(10*len(unmatched)) || s.Processes != 1 || s.Failed != 0 || s.Malformed != 0 {
		t.Errorf("stats %+v", s)
	}
	h.log.wait(t, 1, func(l string) bool {
		return contains(l, "handler answer dropped handler=x reason=no message in flight has its tag, 1")
	})
}

// An answer that comes again is not taken for that of a later message, however few credits
// the process has.
func TestDuplicateAnswers(t *testing.T) {
	for _, credits := range []int{1, 4} {
		h := newHub(t, Options{})
		p := h.peer(hello(credits))
		var as hubtest.Answers
		const n = 2 * reuseDistance
		ask(&as, h.Group("x"), "anna", n)
		var last []uint64 // the latest reuseDistance tags
		for i := range n {
			tag, m := p.handle()
			if slices.Contains(last, tag) {
				t.Fatalf("message %d has a tag that was used %d messages ago", i, len(last)-slices.Index(last, tag))
			}
			if len(last) > 0 {
				p.reply(last[len(last)-1], "again")
			}
			p.reply(tag, fmt.Sprint(m.ID.Number))
			last = append(last, tag)
			last = last[max(0, len(last)-reuseDistance):]
		}
		for i, a := range as.Wait(t, n) {
			if a.Err != nil || a.Text(0)[1:] != fmt.Sprint(i) { // a string of MessagePack
				t.Fatalf("message %d got %q (%v)", i, a.Text(0), a.Err)
			}
		}
		h.until("x", "the duplicates were noticed", func(s Stats) bool { return s.Unmatched == n-1 && s.Answered == n })
	}
}

// An answer that does not parse fails its message; the connection goes on.
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
	if s := h.Stats()[0]; s.Malformed != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestHalfFrame(t *testing.T) {
	h := newHub(t, Options{})
	p := h.peer(hello(4))
	var as hubtest.Answers
	ask(&as, h.Group("x"), "anna", 2)
	tag, _ := p.handle()
	p.handle() // also read: what is left unread makes the end a reset
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

// A process that does not read blocks nobody: its messages queue within bounds.
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
	p := h.peer(wire.Hello{Name: "x", Types: []string{"reading/#"}, MaxFrame: 200})
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
