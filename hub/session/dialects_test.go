package session

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/account"
	"github.com/besterhub/bester/hub/tristanable"
	"github.com/besterhub/bester/hub/wire"
)

func TestUnknownKindsAndFieldsAreSkipped(t *testing.T) {
	h := run(t, Options{})
	n := h.native(t, "ann")
	for kind := range byte(128) {
		switch wire.Kind(kind) {
		case wire.KindSend, wire.KindPing, wire.KindGoodbye, wire.KindSubscribe, wire.KindUnsubscribe:
		default:
			n.frames(append(tristanable.Append(nil, 3), kind, 0xc1)) // unknown kinds are not parsed
		}
	}
	body := []byte("\x84\xa1t\xa1t\xa4what\x93\x01\x02\x03\xa1d\x01\xa1r\x91\xa3ann")
	n.frames(append(tristanable.Append(nil, 5), append([]byte{byte(wire.KindSend)}, body...)...))
	n.want("deliver 0: t ann 1", "status 5: good")
}

func TestMalformedFrameEndsTheSession(t *testing.T) {
	h := run(t, Options{})
	h.account(t, "ann", nil)
	count := uint64(0)
	check := func(name string) {
		t.Helper()
		if count++; h.Stats().Malformed != count {
			t.Errorf("%s: counted %d, want %d", name, h.Stats().Malformed, count)
		}
	}
	slow := make(held, 1)
	h.serve(t, "slow", slow)
	for name, bad := range map[string][]byte{
		"no tag":      {1, 2, 3},
		"empty":       {},
		"no kind":     tristanable.Append(nil, 1),
		"kind":        append(tristanable.Append(nil, 1), 0x80),
		"no map":      append(tristanable.Append(nil, 1), byte(wire.KindSend), 0xc0),
		"no type":     append(tristanable.Append(nil, 1), byte(wire.KindSend), 0x80),
		"wrong type":  append(tristanable.Append(nil, 1), "\x02\x82\xa1t\xa3a/+\xa1d\x01"...),
		"cut":         sent(1, "t", `"text"`)[:16],
		"deep":        append(tristanable.Append(nil, 1), "\x02\x82\xa1t\xa1t\xa1d"+strings.Repeat("\x91", 70)+"\x01"...),
		"many people": append(tristanable.Append(nil, 1), "\x02\x83\xa1t\xa1t\xa1d\x01\xa1r\xdd\xff\xff\xff\xff"...),
	} {
		n := h.native(t, "ann")
		n.frames(sent(4, "slow", "1"), bad, sent(2, "t", "1"))
		got := n.next()
		if !strings.HasPrefix(got, "status 0: ") || got == "status 0: good" {
			t.Errorf("%s: got %s", name, got)
		}
		slow.answer(t, nil)
		n.want("status 4: good", "end") // messages in flight are still answered
		check(name)
	}
	h.log.want(t, "no message", "user=ann")
	for _, bad := range []string{"", "[]", "nonsense", `{"header":{}}`, `{"payload":{"type":"t","data":1}}`, `{"header":{},"payload":{"type":"t","id":1,"data":1}}`} {
		c := h.classic(t, "ann")
		c.text(classicMessage("slow", "4", "1"), bad, classicMessage("dummy", "never answered", "1"))
		slow.answer(t, nil)
		c.want(classicGood("4"))
		c.wantIn(`"bad"`, `"reason"`, `"id":""`)
		c.want("end")
		check(bad)
	}
	c := h.classic(t, "ann")
	c.text(`{"header":{},"payload":{"id":"mine","data":1}}`)
	c.wantIn(`"bad"`, `"id":"mine"`)
	c.want("end")
}

func TestPing(t *testing.T) {
	h := run(t, Options{})
	n := h.native(t, "ann")
	n.frames(wire.AppendPing(nil, 7), wire.AppendPing(nil, 0), wire.AppendPing(nil, math.MaxUint64))
	n.want("status 7: good", "status 18446744073709551615: good")
}

func TestGoodbyeIsAnsweredThenClosed(t *testing.T) {
	h := run(t, Options{})
	slow := make(held, 1)
	h.serve(t, "slow", slow)
	n := h.native(t, "ann")
	n.frames(sent(1, "slow", "1"), wire.AppendGoodbye(nil, "bye"), sent(2, "t", "1"))
	slow.answer(t, func(a *hub.Answer) { a.SendClients(data("5"), hub.Address{User: "ann"}) })
	n.want("deliver 0: slow ann 5", "status 1: good", "end")
}

func TestHalfCloseIsAnsweredThenClosed(t *testing.T) {
	h := run(t, Options{})
	h.account(t, "ann", nil)
	slow := make(held, 1)
	h.serve(t, "slow", slow)
	n := h.native(t, "ann")
	n.send(1, "slow", "1")
	n.halfClose()
	slow.answer(t, nil)
	n.want("status 1: good", "end")
	c := h.classic(t, "ann")
	c.text(classicMessage("slow", "1", "1"), classicMessage("dummy", "2", "1"))
	c.Write([]byte{100, 0, 0, 0, '{'}) // and the beginning of one that never comes whole
	c.halfClose()
	slow.answer(t, nil)
	c.want(classicGood("1"))
	c.wantIn("dummy", `"2"`)
	c.want("end")
}

func TestKilledPeer(t *testing.T) {
	h := run(t, Options{})
	h.account(t, "ann", nil)
	slow := make(held, 2)
	h.serve(t, "slow", slow)
	bob := h.native(t, "bob")
	n, c := h.native(t, "ann"), h.classic(t, "ann")
	n.send(1, "slow", "1")
	n.Write([]byte{100, 0, 0, 0, 1})
	n.Close()
	c.text(classicMessage("slow", "1", "1"))
	c.Close()
	for _, a := range []*hub.Answer{<-slow, <-slow} { // what it sent is carried out
		a.Resume(nil)
		a.SendClients(data("1"), hub.Address{User: "bob"}, hub.Address{User: "ann"})
		a.Done(nil)
		bob.want("deliver 0: slow ann 1")
	}
	bob.lives()
}

func TestDataCrossesTheDialects(t *testing.T) {
	h := run(t, Options{})
	h.account(t, "old", nil)
	n, c := h.native(t, "new"), h.classic(t, "old")
	h.route(t, "t", "new", "old")
	for i, value := range []string{
		"null", "true", "-1", "18446744073709551615", "0.1", "1.0", "100000.0", `"ä \" \\ \n"`,
		`[]`, `{}`, `{"b":[1,{"a":null}],"a":"x","a":2}`, "12345678901234567890123", `""`,
	} {
		c.text(classicMessage("t", "1", value))
		n.want(fmt.Sprintf("deliver 0: t old %s", value))
		c.want(received("t", value), classicGood("1"))
		n.send(uint64(1+i), "t", value)
		c.want(received("t", value))
		n.want(fmt.Sprintf("deliver 0: t new %s", value), fmt.Sprintf("status %d: good", 1+i))
	}
	const spaced = `{ "as" : "it was written\u0021", "n": 1.50e0 }` // within one dialect the bytes stay as they are
	c.text(classicMessage("t", "2", spaced))
	c.want(received("t", spaced), classicGood("2"))
	n.next()
}

func TestUnconvertibleData(t *testing.T) {
	h := run(t, Options{})
	h.account(t, "old", nil)
	c, n, m := h.classic(t, "old"), h.native(t, "new"), h.native(t, "newer")
	h.route(t, "t", "old", "newer")
	odd := hub.Message{Type: "t", Data: hub.Data{Encoding: hub.MessagePack, Bytes: []byte("\xd4\x05\x01")}}
	frame, err := wire.AppendMessage(nil, 1, wire.KindSend, &odd)
	if err != nil {
		t.Fatal(err)
	}
	n.frames(frame)
	n.wantIn("status 1: ", "extension 5")
	if f, err := m.in.Next(); err != nil || !strings.HasSuffix(string(f), string(odd.Data.Bytes)) {
		t.Errorf("who can read it got %q, %v", f, err)
	}
	nan := hub.Message{Type: "t", Data: hub.Data{Encoding: hub.MessagePack, Bytes: []byte("\x92\x01\xcb\x7f\xf8\x00\x00\x00\x00\x00\x01")}}
	if frame, err = wire.AppendMessage(nil, 2, wire.KindSend, &nan); err != nil {
		t.Fatal(err)
	}
	n.frames(frame)
	n.want("status 2: good")
	c.want(received("t", "[1,null]"))
	c.text(classicMessage("t", "3", `"\ud800"`)) // half a character
	c.want(received("t", `"\ud800"`))
	c.wantIn(`"bad"`, `surrogate`)
}

func TestBuiltinCommands(t *testing.T) {
	h := run(t, Options{Status: func() []byte { return []byte(`{"all":"well"}`) }})
	h.account(t, "ann", nil)
	h.account(t, "root", func(p *account.Permissions) { p.Admin = true })
	do := func(command, with string) string {
		return fmt.Sprintf(`{"command":{"type":%q,"command":%s}}`, command, with)
	}
	const builtin = "builtin"
	t.Run("native", func(t *testing.T) {
		n, root := h.enter(t, "ann"), h.enter(t, "root")
		n.send(1, builtin, do("login", `{"username":"ann","password":"p"}`))
		n.want("status 1: good")
		n.send(2, builtin, do("status", "null"))
		n.wantIn("status 2: not allowed", "bester account allow --admin ann")
		root.send(3, builtin, do("status", "null"))
		root.want(`deliver 3: builtin  {"all":"well"}`, "status 3: good")
		n.send(4, builtin, do("explode", "null"))
		n.wantIn("status 4:", `unknown builtin command "explode"`)
		n.send(5, builtin, `"what"`)
		n.wantIn("status 5:", "builtin")
		for _, end := range []string{"close", "logout"} {
			n := h.enter(t, "ann")
			n.send(1, builtin, do(end, "null"))
			n.want("end")
		}
	})
	t.Run("classic", func(t *testing.T) {
		c, root := h.classic(t, "ann"), h.classic(t, "root")
		c.text(classicMessage(builtin, "1", do("login", `{"username":"ann","password":"p"}`)))
		c.want(classicGood("1"))
		c.text(classicMessage(builtin, "2", do("status", "null")))
		c.wantIn(`"bad"`, "--admin ann")
		root.text(classicMessage(builtin, "3", do("status", "null")))
		root.want(received(builtin, `{"all":"well"}`), classicGood("3"))
		c.text(classicMessage(builtin, "4", do("explode", "null")), classicMessage(builtin, "5", "null"))
		c.wantIn(`"bad"`, `unknown builtin command \"explode\"`, `"4"`)
		c.wantIn(`"bad"`, `"5"`)
		for _, end := range []string{"close", "logout"} {
			c := h.classic(t, "ann")
			c.text(classicMessage(builtin, "1", do(end, "null")))
			c.want("end")
		}
	})
	change := func(user, old, new string) string {
		return do("changePassword", fmt.Sprintf(`{"username":%q,"password":%q,"newPassword":%q}`, user, old, new))
	}
	t.Run("changePassword", func(t *testing.T) {
		n, c := h.enter(t, "ann"), h.classic(t, "ann")
		n.send(1, builtin, change("", "wrong", "q"))
		n.wantIn("status 1: not allowed")
		n.send(2, builtin, change("root", "p", "q"))
		n.wantIn("status 2: not allowed", "only one's own")
		// Earlier messages are delivered, however long the hashing takes.
		n.frames(sent(3, "chat", "1", "ann"), sent(4, builtin, change("ann", "p", "q")))
		c.want(received("chat", "1"))
		n.want("deliver 0: chat ann 1", "status 3: good", "status 4: good")
		c.text(classicMessage(builtin, "5", change("ann", "q", "")))
		c.wantIn(`"bad"`, `"5"`)
		c.text(classicMessage(builtin, "6", change("ann", "q", "p")))
		c.want(classicGood("6"))
		h.classic(t, "ann")
		h.log.want(t, "password not changed", "user=ann")
	})
}

// A frame over the limit is told to the peer, counted and logged, in both dialects.
func TestTooLongFrameIsLogged(t *testing.T) {
	for _, dialect := range []string{"native", "classic"} {
		t.Run(dialect, func(t *testing.T) {
			h := run(t, Options{Limits: Limits{MaxFrame: 8 << 10}})
			h.account(t, "ann", nil)
			long := make([]byte, 8<<10+1)
			if dialect == "native" {
				p := h.native(t, "ann")
				p.frames(long)
				p.wantIn("status 0: ", "8193")
			} else {
				p := h.classic(t, "ann")
				p.frames(long)
				p.wantIn(`"bad"`, "8193")
			}
			h.log.want(t, "session closed", "hub.frame", "user=ann", "8193")
			if n := h.Stats().TooLong; n != 1 {
				t.Errorf("counted %d", n)
			}
		})
	}
}
