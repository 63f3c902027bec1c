package handlers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/hubtest"
	"github.com/besterhub/bester/hub/wire"
)

func TestKitKeepsTheContractOfHandlers(t *testing.T) {
	for _, concurrency := range []int{1, 4} {
		t.Run(fmt.Sprint("concurrency ", concurrency), func(t *testing.T) {
			hubtest.TestHandler(t, func(t *testing.T) hub.Handler {
				f, _ := serve(t, hub.HandlerFunc(hubtest.Pass), Options{Concurrency: concurrency, Credits: 4096})
				return f
			})
		})
	}
}

func TestHelloSaysWhatTheOptionsDo(t *testing.T) {
	f, _ := serve(t, hub.HandlerFunc(hubtest.Pass), Options{Name: "x", User: "u", Password: "p", Credits: 9000, MaxFrame: 5000})
	want := wire.Hello{Version: 1, Role: "handler", Name: "x", User: "u", Password: "p", Types: []string{"reading/#"}, Credits: 4096, MaxFrame: 5000}
	if got := fmt.Sprintf("%+v", *f.hello); got != fmt.Sprintf("%+v", want) {
		t.Errorf("got %s, want %+v", got, want)
	}
}

// The handler gets the message as the hub has it, and the hub gets the handler's commands unchanged.
func TestMessageAndCommandsArriveUnchanged(t *testing.T) {
	sent := message("anna", 7, `{"v":[1,2.5,"x"]}`)
	sent.To = []hub.Address{{User: "bert"}, {User: "carl", Server: "there"}}
	sent.Time = time.Unix(1700000000, 123)
	sent.Hops = 3
	f, _ := serve(t, hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error {
		if m.Type != sent.Type || m.From != sent.From || fmt.Sprint(m.To) != fmt.Sprint(sent.To) ||
			m.ID != sent.ID || !m.Time.Equal(sent.Time) || m.Hops != 3 {
			t.Errorf("got %+v, want %+v", m, sent)
		}
		a.Pass(m.Data) // as the sender wrote it
		a.Pass(hub.Data{Encoding: hub.MessagePack, Bytes: []byte("\x07")})
		a.Drop()
		a.Reply(hub.Data{Bytes: []byte(`"r"`)})
		a.SendClients(m.Data, hub.Address{User: "dora"}, hub.Address{User: "e", Server: "s"})
		a.SendServers(m.Data, hub.Address{Server: "s:1"})
		a.SendHandler(m.Data, "other")
		return errors.New("and yet it failed")
	}), Options{})
	var as hubtest.Answers
	as.Ask(f, sent)
	a := as.Wait(t, 1)[0]
	var got []string
	for _, c := range a.Commands {
		got = append(got, fmt.Sprint(c.Verb, c.To, c.Type, len(c.Data.Bytes)))
	}
	want := "pass [] 17|pass [] 1|drop [] 0|reply [] 2|sendClients [dora e@s] 16|sendServers [@s:1] 16|sendHandler [] other 16"
	if g := strings.Join(got, "|"); strings.ReplaceAll(g, " ", "") != strings.ReplaceAll(want, " ", "") {
		t.Errorf("got %s\nwant %s", g, want)
	}
	if a.Err == nil || a.Err.Error() != "and yet it failed" {
		t.Errorf("failed with %v", a.Err)
	}
}

func TestPanicFailsItsMessageAlone(t *testing.T) {
	for _, concurrency := range []int{1, 2} {
		t.Run(fmt.Sprint("concurrency ", concurrency), func(t *testing.T) {
			var log bytes.Buffer
			f, stop := serve(t, hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error {
				a.Pass(m.Data)
				if m.ID.Number%2 == 0 {
					panic("oh no")
				}
				return nil
			}), Options{Concurrency: concurrency, Log: slog.New(slog.NewTextHandler(&log, nil))})
			var as hubtest.Answers
			for i := range 6 {
				as.Ask(f, message("anna", i, "0"))
			}
			for i, a := range as.Wait(t, 6) {
				switch {
				case i%2 == 1 && a.Err != nil:
					t.Errorf("message %d: %v", i, a.Err)
				case i%2 == 0 && (a.Err == nil || a.Err.Error() != "panic: oh no" || len(a.Commands) > 0):
					t.Errorf("message %d: %v with %d commands", i, a.Err, len(a.Commands))
				}
			}
			stop()
			if n := strings.Count(log.String(), "handler panicked"); n != 1 || !contains(log.String(), "serve_test.go") {
				t.Errorf("%d lines about it, want one with the stack:\n%s", n, log.String())
			}
		})
	}
}

// handlerFunc is a Handler that calls Done itself.
type handlerFunc func(m *hub.Message, a *hub.Answer)

func (f handlerFunc) Handle(m *hub.Message, a *hub.Answer) { f(m, a) }

// If a handler panics after Detach, its later answer is ignored. If it panics after Done, its
// answer stands.
func TestPanicAroundDone(t *testing.T) {
	late := make(chan func(), 1)
	f, _ := serve(t, handlerFunc(func(m *hub.Message, a *hub.Answer) {
		switch m.ID.Number {
		case 0:
			a.Detach()
			late <- func() { a.Resume(nil); a.Drop(); a.Done(nil) }
			panic("detached")
		case 1:
			a.Pass(m.Data)
			a.Done(nil)
			panic("done")
		}
		a.Done(nil)
	}), Options{})
	var as hubtest.Answers
	as.Ask(f, message("anna", 0, "0"))
	as.Wait(t, 1)
	(<-late)()
	as.Ask(f, message("anna", 1, "1"))
	as.Ask(f, message("anna", 2, "2"))
	a := as.Wait(t, 3)
	if a[0].Err == nil || a[0].Err.Error() != "panic: detached" || a[1].Err != nil || a[2].Err != nil || len(a[1].Commands) != 1 {
		t.Errorf("got %+v", a)
	}
}

func TestAnswersMayComeLater(t *testing.T) {
	held := hubtest.NewManualHandler(10)
	f, _ := serve(t, held, Options{})
	var as hubtest.Answers
	for i := range 3 {
		as.Ask(f, message("anna", i, fmt.Sprint(i)))
	}
	ms := []hubtest.ManualMessage{held.Next(t), held.Next(t), held.Next(t)}
	for _, i := range []int{2, 0, 1} {
		ms[i].Answer.Resume(nil)
		ms[i].Answer.Reply(ms[i].Data)
		ms[i].Answer.Done(nil)
	}
	for i, a := range as.Wait(t, 3) {
		if want := []uint64{2, 0, 1}[i]; a.Message.ID.Number != want || a.Commands[0].Data.Bytes[0] != byte(want) {
			t.Errorf("answer %d is %+v", i, a)
		}
	}
}

func TestConcurrency(t *testing.T) {
	const concurrency = 64
	worker := func(m *hub.Message) uint64 { return orderHash(m) % concurrency }
	senders := [2]string{"sender", "other"}
	for worker(message(senders[0], 0, "0")) == worker(message(senders[1], 0, "0")) {
		senders[1] += "x"
	}
	var now [2]atomic.Int32 // messages of each sender in flight
	both := make(chan struct{})
	var once sync.Once
	f, _ := serve(t, hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error {
		me := m.ID.Number
		if now[me].Add(1) != 1 {
			t.Error("two messages of one sender at once")
		}
		if m.Hops == 0 { // the first: waits until the other sender's is in flight too
			if now[1-me].Load() == 1 {
				once.Do(func() { close(both) })
			}
			<-both
		}
		now[me].Add(-1)
		a.Pass(m.Data)
		return nil
	}), Options{Concurrency: concurrency})
	var as hubtest.Answers
	for i := range 40 {
		m := message(senders[i%2], i%2, "0")
		m.Hops = i / 2
		as.Ask(f, m)
	}
	as.Wait(t, 40)
}

func TestAnswersThatCannotBeSent(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(m *hub.Message, a *hub.Answer)
		want string
	}{
		"no JSON": {func(m *hub.Message, a *hub.Answer) { a.Pass(hub.Data{Bytes: []byte(`{"a":`)}) }, "JSON"},
		"too long": {func(m *hub.Message, a *hub.Answer) {
			a.Pass(hub.Data{Bytes: []byte(`"` + strings.Repeat("x", 100000) + `"`)})
		}, "the hub takes 100000"},
		"unknown verb": {func(m *hub.Message, a *hub.Answer) { a.Do(hub.Command{Verb: 99}) }, "unknown command 99"},
		"too many verbs": {func(m *hub.Message, a *hub.Answer) {
			for range 1000 {
				a.Drop()
			}
		}, "more than 256 commands"},
	} {
		t.Run(name, func(t *testing.T) {
			f, _ := serve(t, hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error { c.do(m, a); return nil }), Options{})
			var as hubtest.Answers
			as.Ask(f, message("anna", 0, "0"))
			if a := as.Wait(t, 1)[0]; a.Err == nil || !contains(a.Err.Error(), c.want) {
				t.Errorf("got %v, want %q", a.Err, c.want)
			}
		})
	}
}

func TestPingsUnknownKindsAndMalformedMessages(t *testing.T) {
	f, _ := serve(t, hub.HandlerFunc(hubtest.Pass), Options{})
	f.raw(0, 42, "\x80")
	f.raw(0, wire.KindPing, "\x80")
	f.raw(9, wire.KindPing, "\x80")
	if got := <-f.frames; got.tag != 9 || got.kind != wire.KindStatus {
		t.Errorf("ping: got %+v", got)
	}
	var as hubtest.Answers
	held := handlerFunc(func(m *hub.Message, a *hub.Answer) {
		f.mu.Lock()
		f.inFlight[77] = inFlightMessage{a: a}
		f.mu.Unlock()
		a.Detach()
		f.raw(77, wire.KindHandle, "\x81\xa1t\xa1x") // no data
	})
	as.Ask(held, message("anna", 0, "0"))
	if a := as.Wait(t, 1)[0]; a.Err == nil || !contains(a.Err.Error(), "data missing") {
		t.Errorf("got %v", a.Err)
	}
}

func TestSlowHandlerDoesNotDelayItsFirstAnswers(t *testing.T) {
	var n atomic.Int32
	release := make(chan struct{})
	f, _ := serve(t, hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error {
		a.Drop()
		if n.Add(1) < 3 {
			time.Sleep(2 * maxFlushDelay)
			return nil
		}
		<-release
		return nil
	}), Options{})
	var as hubtest.Answers
	// In one write, so that there is input until the third message.
	all := []byte{}
	f.batched = &all
	for i := range 5 {
		as.Ask(f, message("anna", i, "0"))
	}
	f.conn.Write(all)
	as.Wait(t, 2)
	close(release)
	as.Wait(t, 5)
}

func TestGoodbyeOfTheHub(t *testing.T) {
	kit, fake := pair(t)
	result := make(chan error, 1)
	go func() {
		result <- Serve(context.Background(), kit, hub.HandlerFunc(hubtest.Pass), []string{"a"}, Options{})
	}()
	f := newFake(t, fake)
	f.welcome()
	f.write(wire.AppendGoodbye(nil, "closing"))
	fake.Close()
	if err := <-result; err != nil {
		t.Errorf("got %v, want nil after a goodbye", err)
	}
	<-f.ended
}

func TestStopSaysGoodbyeAndFinishes(t *testing.T) {
	held := hubtest.NewManualHandler(1)
	f, stop := serve(t, held, Options{})
	var as hubtest.Answers
	as.Ask(f, message("anna", 0, "0"))
	m := held.Next(t)
	result := make(chan error)
	go func() { result <- stop() }()
	if got := <-f.frames; got.kind != wire.KindGoodbye {
		t.Errorf("got kind %d, want goodbye", got.kind)
	}
	m.Answer.Resume(nil)
	m.Answer.Done(nil)
	if a := as.Wait(t, 1)[0]; a.Err != nil {
		t.Error(a.Err)
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func TestGracePeriod(t *testing.T) {
	held := hubtest.NewManualHandler(1)
	f, stop := serve(t, held, Options{Grace: 20 * time.Millisecond})
	var as hubtest.Answers
	as.Ask(f, message("anna", 0, "0"))
	held.Next(t) // never answered, so the hub does not close
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestConnectionErrors(t *testing.T) {
	for name, c := range map[string]struct {
		hub  func(f *fakeHub)
		want error
		text string
	}{
		"refused": {func(f *fakeHub) {
			f.write(wire.AppendStatus(nil, 0, hub.ErrDenied))
		}, hub.ErrDenied, "refused by the hub: not allowed"},
		"closed before hello": {func(f *fakeHub) { f.conn.Close() }, ErrRefused, "EOF"},
		"hello that is none":  {func(f *fakeHub) { f.raw(0, wire.KindHello, "\xc0") }, wire.ErrMalformed, "hello"},
		"no hub at all":       {func(f *fakeHub) { f.write([]byte(`{"header":{}}`)) }, nil, "hello"},
		"closed": {func(f *fakeHub) {
			f.write(wire.AppendHello(nil, &wire.Hello{Version: 1, Role: "hub"}))
			f.conn.Close()
		}, nil, "the hub closed it"},
		"thrown out": {func(f *fakeHub) {
			f.write(wire.AppendHello(nil, &wire.Hello{Version: 1, Role: "hub"}))
			f.write(wire.AppendStatus(nil, 0, hub.ErrFull))
		}, hub.ErrFull, "queue is full"},
		"short frame": {func(f *fakeHub) {
			f.write(wire.AppendHello(nil, &wire.Hello{Version: 1, Role: "hub"}))
			f.write([]byte("xyz"))
		}, nil, "tag"},
		"frame over the limit": {func(f *fakeHub) {
			f.write(wire.AppendHello(nil, &wire.Hello{Version: 1, Role: "hub"}))
			f.conn.Write([]byte("\xff\xff\xff\xff"))
		}, nil, "exceeds the limit"},
	} {
		t.Run(name, func(t *testing.T) {
			kit, fake := pair(t)
			defer fake.Close()
			result := make(chan error, 1)
			go func() {
				result <- Serve(context.Background(), kit, hub.HandlerFunc(hubtest.Pass), []string{"a"}, Options{})
			}()
			c.hub(newFake(t, fake))
			err := <-result
			if err == nil || !contains(err.Error(), c.text) || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("got %v, want one that wraps %v and says %q", err, c.want, c.text)
			}
		})
	}
}
