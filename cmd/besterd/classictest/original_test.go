package classictest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Clients, handlers and servers as somebody has them from before, in Python: each a
// process of its own.
func TestOriginalPrograms(t *testing.T) {
	t.Parallel()
	modes := map[string][]string{
		"users": {"alice", "bob", "nobody"}, "everyone": nil, "chain": {"users"}, "status": {"1"}, "number": nil, "malformed": nil,
		"short": nil, "silent": nil, "hang": nil, "text": nil, "extra": {"alice"},
	}
	kinds := []string{"absent", "servers"}
	for mode := range modes {
		kinds = append(kinds, mode)
	}
	hub := start(t, serverConf{handlers: kinds, peers: []string{"127.0.0.1"}})
	handlers := make(map[string]*program)
	for mode, args := range modes {
		handlers[mode] = python(t, hub.dir, "handler.py", append([]string{socketOf(mode), mode}, args...)...)
	}
	there := python(t, hub.dir, "server.py", "listen")
	alice, bob := hub.chat("alice"), hub.chat("bob")
	for _, h := range handlers {
		h.want("listening")
	}

	t.Run("a_message_to_users", func(t *testing.T) {
		alice.write(`users m1 {"text": "good morning"}`)
		alice.want(`message users {"text": "good morning"}`, `status good m1`)
		bob.want(`message users {"text": "good morning"}`)
		handlers["users"].want(`got {"text": "good morning"}`)
	})
	t.Run("a_message_to_everyone_the_informer_knows", func(t *testing.T) {
		bob.write(`everyone m2 "hello all"`)
		bob.want(`message everyone "hello all"`, `status good m2`)
		alice.want(`message everyone "hello all"`)
		handlers["everyone"].want(`got "hello all"`)
	})
	t.Run("a_chain_of_handlers", func(t *testing.T) {
		alice.write(`chain m3 [1, 2, 3]`)
		alice.want(`message users [1, 2, 3]`, `status good m3`)
		bob.want(`message users [1, 2, 3]`)
		handlers["chain"].want(`got [1, 2, 3]`)
		handlers["users"].want(`got [1, 2, 3]`)
	})
	t.Run("dummy", func(t *testing.T) {
		alice.write(`dummy m4 null`)
		alice.want(`reply 0 dummy m4`)
	})
	t.Run("an_unknown_type", func(t *testing.T) {
		alice.write(`nobody's m5 null`)
		alice.want(`status bad m5`)
	})
	for _, mode := range []string{"status", "number", "malformed", "short", "silent", "text", "absent"} {
		t.Run("a_handler_that_fails_"+mode, func(t *testing.T) {
			alice.write(mode + ` m6 "try"`)
			alice.want(`status bad m6`)
			if mode != "absent" {
				handlers[mode].want(`got "try"`)
			}
		})
	}
	t.Run("bytes_after_the_frame", func(t *testing.T) {
		alice.write(`extra m7 1.5`)
		alice.want(`message extra 1.5`, `status good m7`)
	})
	t.Run("to_an_original_server", func(t *testing.T) {
		address := there.wantSaid("listening on ")
		hub.withT(t).handler("servers", "servers", address)
		alice.write(`servers m8 {"far": "away"}`)
		there.want(`server servers {"far": "away"}`)
		alice.want(`status good m8`)
	})
	t.Run("from_an_original_server", func(t *testing.T) {
		p := python(t, hub.dir, "server.py", "send", hub.host(), "users", `["from", "afar"]`)
		p.want("closed after 0 bytes")
		alice.want(`message users ["from", "afar"]`)
		bob.want(`message users ["from", "afar"]`)
		p.wantEnd()
	})
	t.Run("the_informer", func(t *testing.T) {
		p := python(t, hub.dir, "informer.py", "bInformer")
		p.write("listClients")
		var names []string
		line, _ := p.line()
		if err := json.Unmarshal([]byte(line), &names); err != nil {
			t.Fatal(err)
		}
		slices.Sort(names)
		if !slices.Equal(names, []string{"alice", "bob"}) {
			t.Errorf("clients %q", names)
		}
		for ask, want := range map[string]string{"isClient alice": "true", "isClient carol": "false", "isClient": "error 1", "what": "error 1"} {
			p.write(ask)
			p.want(want)
		}
		p.write("serverInfo")
		p.want(`{"adminInfo": "", "clientCount": "2", "listeners": {"listener0": {"address": "tcp4://` + hub.host() + `"}}}`)
		p.write("quit")
		p.want("null", "end")
		p.wantEnd()
	})
	t.Run("a_hung_handler_and_the_others", func(t *testing.T) {
		bob.write(`hang m9 "never answered"`)
		handlers["hang"].want(`got "never answered"`)
		alice.write(`users m10 "still served"`)
		alice.want(`message users "still served"`, `status good m10`)
		bob.want(`message users "still served"`)
		handlers["hang"].kill()
		bob.want(`status bad m9`)
	})
	t.Run("the_end_of_a_chat", func(t *testing.T) {
		alice.write(`users last "bye"`)
		alice.in.Close() // its half of the connection
		alice.want(`message users "bye"`, `status good last`, `closed`)
		alice.wantEnd()
		bob.want(`message users "bye"`)
		bob.wantEnd()
	})
}

// The same client over every kind of listener.
func TestOriginalClientOnEveryListener(t *testing.T) {
	t.Parallel()
	network := object{
		"types": []string{"unix", "tcp4"}, "unix": object{"address": "clients"},
		"tcp4": object{"address": "127.0.0.1", "port": "0"}, "tcp6": object{"address": "::1", "port": "0"},
	}
	if hasIPv6() {
		network["types"] = []string{"unix", "tcp4", "tcp6"}
	}
	hub := start(t, serverConf{handlers: []string{"all"}, network: network})
	hub.answer("all", toUsers("alice"))
	var clients []*program
	for _, address := range hub.listeners {
		_, address, _ = strings.Cut(address, "://")
		p := python(t, hub.dir, "chat.py", address, "alice", passwordOf("alice"))
		p.want("status good auth_special")
		clients = append(clients, p)
	}
	for i, sender := range clients {
		sender.write(fmt.Sprintf(`all m%d %d`, i, i))
		for _, reader := range clients {
			reader.want(fmt.Sprintf("message all %d", i))
		}
		sender.want(fmt.Sprintf("status good m%d", i))
	}
	for _, p := range clients {
		p.wantEnd()
	}
}

// client → hub A → handler → handler → hub B → handler → hub C → handler → client, over
// real sockets: three hubs, and the original's way between them.
func TestTopology(t *testing.T) {
	t.Parallel()
	peers := []string{"127.0.0.1"}
	a := start(t, serverConf{handlers: []string{"in", "out"}})
	b := start(t, serverConf{handlers: []string{"out"}, peers: peers})
	c := start(t, serverConf{handlers: []string{"out", "final"}, peers: peers})
	toB, toC := newServerStub(t, "tcp4", "127.0.0.1:0"), newServerStub(t, "tcp4", "127.0.0.1:0") // beside the hubs
	handlers := []*program{
		a.handler("in", "chain", "out"),
		a.handler("out", "servers", b.host(), toB.address),
		b.handler("out", "servers", c.host(), toC.address),
		c.handler("out", "chain", "final"),
		c.handler("final", "users", "bob"),
	}
	sender, reader := a.login("alice"), c.login("bob")
	bystanders := []*conn{a.login("bob"), b.login("bob"), c.login("alice")}

	ids := make(map[string]bool)
	for i := range 10 {
		id, data := fmt.Sprintf("message %d", i%5), fmt.Sprintf(`{"reading": %d}`, i)
		sender.send(message("in", id, data))
		// the last handler's type, and one statusReport with the original id
		reader.want(received(data, "final"))
		sender.want(good(id))
		for _, h := range handlers {
			h.want("got " + data)
		}
		for _, server := range []*serverStub{toB, toC} {
			var m struct {
				Payload struct{ Type, ID string }
			}
			frame := <-server.received
			if err := json.Unmarshal([]byte(frame), &m); err != nil {
				t.Fatal(err)
			}
			if key := server.address + m.Payload.ID; m.Payload.Type != "out" || m.Payload.ID == "" || ids[key] {
				t.Errorf("between the hubs: %s", frame)
			} else {
				ids[key] = true
			}
		}
	}
	for _, c := range append(bystanders, sender, reader) {
		c.wantAlive() // and nothing else has come
	}

	// What goes wrong far away is told where it began.
	handlers[4].kill()
	sender.send(message("in", "lost", `1`))
	sender.wantBad(`"lost"`)
}
