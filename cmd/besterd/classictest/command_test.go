package classictest

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// The commands of a handler's answer.
func TestSendClients(t *testing.T) {
	t.Parallel()
	hub := start(t, serverConf{handlers: []string{"to"}})
	send := func(t *testing.T, c *conn, names ...string) {
		t.Helper()
		hub.withT(t).reply("to", command("sendClients", list(names), `"hello"`))
		c.send(message("to", "1", "1"))
	}
	hello := received(`"hello"`, "to")

	// receivedMessage to every live session of every name
	t.Run("every_session_of_every_name", func(t *testing.T) {
		hub := hub.withT(t)
		c := hub.login("carol")
		sessions := []*conn{hub.login("alice"), hub.login("alice"), hub.login("bob"), hub.login("alice")}
		send(t, c, "alice", "bob")
		c.want(good("1"))
		for _, s := range sessions {
			s.want(hello)
			s.wantAlive() // and only once
		}
	})
	// in the order of names, then of connection
	t.Run("in_the_order_of_names", func(t *testing.T) {
		hub := hub.withT(t)
		hub.answer("to", func(data string) string {
			if data == `"ab"` {
				return command("sendClients", `["alice","bob"]`, data)
			}
			return command("sendClients", `["bob","alice"]`, data)
		})
		c, alice, bob := hub.login("carol"), hub.login("alice"), hub.login("bob")
		for _, data := range []string{`"ab"`, `"ba"`} {
			c.send(message("to", "1", data))
			c.want(good("1"))
			alice.want(received(data, "to"))
			bob.want(received(data, "to"))
		}
	})
	// a name listed twice gets it twice
	t.Run("a_name_listed_twice", func(t *testing.T) {
		hub := hub.withT(t)
		c, alice := hub.login("carol"), hub.login("alice")
		send(t, c, "alice", "alice")
		c.want(good("1"))
		alice.want(hello, hello)
		alice.wantAlive()
	})
	t.Run("sender_listed_twice", func(t *testing.T) {
		c := hub.withT(t).login("alice")
		send(t, c, "alice", "bob", "alice")
		c.want(hello, hello, good("1"))
	})
	// An absent user or [] is still good
	for name, names := range map[string][]string{
		"nobody_listed": {}, "absent": {"bob"}, "absent_among_others": {"bob", "alice", "erin"},
		"without_account": {"mallory"}, "empty_name": {""}, "odd_names": {"a b", "@", "x@", "/", "#", "\n", "*"},
	} {
		t.Run("good_"+name, func(t *testing.T) {
			c := hub.withT(t).login("alice")
			send(t, c, names...)
			for _, n := range names {
				if n == "alice" {
					c.want(hello)
				}
			}
			c.want(good("1"))
			c.wantAlive()
		})
	}
	// The original reports bad for ever once any earlier session of a recipient has
	// ended. ours: only live sessions count.
	t.Run("only_live_sessions_count", func(t *testing.T) {
		hub := hub.withT(t)
		c := hub.login("carol")
		for i := range 5 {
			gone := hub.login("alice")
			if i%2 == 1 {
				gone.send(message("builtin", "1", `{"command":{"type":"close"}}`))
				gone.wantClosed()
			}
			gone.Close()
		}
		send(t, c, "alice")
		c.want(good("1"))
		alice := hub.login("alice")
		send(t, c, "alice")
		c.want(good("1"))
		alice.want(hello)
		alice.wantAlive()
	})
	t.Run("names_with_escapes_and_accents", func(t *testing.T) {
		hub := hub.withT(t)
		c := hub.login("Frédéric")
		hub.reply("to", command("sendClients", `["Fr\u00e9d\u00E9ric"]`, `"hello"`))
		c.send(message("to", "1", "1"))
		c.want(hello, good("1"))
	})
	t.Run("many_names", func(t *testing.T) {
		hub := hub.withT(t)
		c := hub.login("alice")
		names := make([]string, 1000)
		for i := range names {
			names[i] = fmt.Sprint("user", i)
		}
		send(t, c, append(names, "alice")...)
		c.want(hello, good("1"))
	})
}

func TestSendServers(t *testing.T) {
	t.Parallel()
	hub := start(t, serverConf{handlers: []string{"away"}})
	there := newServerStub(t, "tcp4", "127.0.0.1:0")
	send := func(t *testing.T, c *conn, servers ...string) {
		t.Helper()
		hub.withT(t).reply("away", command("sendServers", list(servers), `{"z":1.50}`))
		c.send(message("away", "1", "1"))
	}
	// per entry: connect, send {"header":{"scope":"server"},"payload":{"data":D,"type":TYPE,"id":…}}, close.
	exact := regexp.MustCompile(`^\{"header":\{"scope":"server"\},"payload":\{"data":\{"z":1\.50\},"type":"away","id":"[^"]+"\}\}$`)
	arrived := func(t *testing.T, p *serverStub) {
		t.Helper()
		if got := <-p.received; !exact.MatchString(got) {
			t.Errorf("the server got %s", got)
		}
	}
	quiet := func(t *testing.T, p *serverStub) {
		t.Helper()
		if len(p.received) > 0 {
			t.Errorf("the server got %s too", <-p.received)
		}
	}

	t.Run("one_frame_then_close", func(t *testing.T) {
		c := hub.withT(t).login("alice")
		send(t, c, there.address)
		arrived(t, there)
		c.want(good("1"))
		quiet(t, there)
	})
	t.Run("per_entry", func(t *testing.T) {
		other := newServerStub(t, "tcp4", "127.0.0.1:0")
		c := hub.withT(t).login("alice")
		send(t, c, there.address, other.address, there.address)
		c.want(good("1"))
		arrived(t, there)
		arrived(t, there)
		arrived(t, other)
		quiet(t, there)
		quiet(t, other)
	})
	t.Run("every_message_has_an_id_of_its_own", func(t *testing.T) {
		c := hub.withT(t).login("alice")
		seen := make(map[string]bool)
		for range 20 {
			send(t, c, there.address)
			c.want(good("1"))
			got := <-there.received
			if seen[got] {
				t.Fatalf("twice %s", got)
			}
			seen[got] = true
		}
	})
	t.Run("nobody_listed", func(t *testing.T) {
		c := hub.withT(t).login("alice")
		send(t, c)
		c.want(good("1"))
	})
	// good if all could be reached
	t.Run("bad_if_one_cannot_be_reached", func(t *testing.T) {
		l := listenTCP(t, "tcp4", "127.0.0.1:0")
		gone := l.Addr().String()
		l.Close()
		c := hub.withT(t).login("alice")
		send(t, c, gone)
		c.wantBad(`"1"`)
		send(t, c, gone, there.address)
		c.wantBad(`"1"`)
		arrived(t, there) // the others have it
		send(t, c, there.address)
		c.want(good("1"))
		arrived(t, there)
	})
	// ours: names and IPv6 too
	t.Run("name", func(t *testing.T) {
		c := hub.withT(t).login("alice")
		send(t, c, "localhost:"+there.port())
		c.want(good("1"))
		arrived(t, there)
	})
	t.Run("IPv6", func(t *testing.T) {
		if !hasIPv6() {
			t.Skip("this machine has no ::1")
		}
		six := newServerStub(t, "tcp6", "[::1]:0")
		c := hub.withT(t).login("alice")
		send(t, c, "[::1]:"+six.port())
		c.want(good("1"))
		arrived(t, six)
	})
	// a name of a configured upstream is also allowed here; server.conf has none, bester.toml does
	t.Run("name_of_an_upstream", func(t *testing.T) {
		hub := start(t, tomlConf(fmt.Sprintf(`
			[servers.attic]
			address = %q
			[handlers.away]
			types = ["away"]
			dialect = "classic"
			socket = "away.sock"
		`, there.address)))
		hub.reply("away", command("sendServers", `["attic"]`, `{"z":1.50}`))
		c := hub.login("alice")
		c.send(message("away", "1", "1"))
		c.want(good("1"))
		arrived(t, there)
		hub.reply("away", command("sendServers", `["cellar"]`, `{"z":1.50}`))
		c.send(message("away", "2", "1"))
		c.wantBad(`"2"`)
	})
	// an entry without a port: bad
	for _, entry := range []string{"127.0.0.1", "localhost", "127.0.0.1:", ":", "", "::1", "[::1]", "127.0.0.1:http", "127.0.0.1:0",
		"127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:80:80", "http://127.0.0.1:80", " 127.0.0.1:80", "no such host.:80"} {
		t.Run("bad_entry_"+strconv.Quote(entry), func(t *testing.T) {
			c := hub.withT(t).login("alice")
			send(t, c, entry)
			c.wantBad(`"1"`)
			c.wantAlive()
		})
	}
}

func TestSendHandler(t *testing.T) {
	t.Parallel()
	hub := start(t, serverConf{handlers: []string{"first", "second", "third", "round", "lost", "down"}})
	chain := func(to string) func(string) string {
		return func(data string) string {
			return command("sendHandler", quote(to), strings.Replace(data, `"`, `"by `+to+` `, 1))
		}
	}

	// D goes to that handler, its answer is executed in turn; the receivedMessage names
	// the last handler; one statusReport with the original id
	t.Run("chain_of_three", func(t *testing.T) {
		hub := hub.withT(t)
		hub.answer("first", chain("second"))
		hub.answer("second", chain("third"))
		third := hub.answer("third", toUsers("alice"))
		c := hub.login("alice")
		c.send(message("first", "the original id", `"me"`))
		const want = `"by third by second me"`
		c.want(received(want, "third"), good("the original id"))
		c.wantAlive()
		if got := <-third.got; got != want {
			t.Errorf("the third handler got %s", got)
		}
	})
	t.Run("the_last_one_fails", func(t *testing.T) {
		hub := hub.withT(t)
		hub.answer("first", chain("second"))
		hub.reply("second", `{"header":{"status":"1"}}`)
		c := hub.login("alice")
		c.send(message("first", "1", `"me"`))
		c.wantBad(`"1"`)
		c.wantAlive()
	})
	// an unknown handler: bad
	for _, target := range []string{`"nobody's"`, `""`, `" "`, `"First"`, `"#"`, `"dummy"`, `"builtin"`} {
		t.Run("unknown_handler_"+target, func(t *testing.T) {
			hub := hub.withT(t)
			hub.reply("lost", command("sendHandler", target, "1"))
			c := hub.login("alice")
			c.send(message("lost", "1", "1"))
			c.wantBad(`"1"`)
			c.wantAlive()
		})
	}
	// at most 16 hops, then bad
	t.Run("16_hops", func(t *testing.T) {
		hub := hub.withT(t)
		down := hub.answer("down", func(data string) string {
			n, _ := strconv.Atoi(data)
			if n == 0 {
				return command("sendClients", `["alice"]`, `"there"`)
			}
			return command("sendHandler", `"down"`, strconv.Itoa(n-1))
		})
		c := hub.login("alice")
		c.send(message("down", "1", "16"))
		c.want(received(`"there"`, "down"), good("1"))
		if n := down.accepted.Load(); n != 17 {
			t.Errorf("%d messages to the handler, want 17", n)
		}
		c.send(message("down", "2", "17"))
		c.wantBad(`"2"`)
		c.wantAlive()
	})
	t.Run("in_a_circle", func(t *testing.T) {
		hub := hub.withT(t)
		round := hub.reply("round", command("sendHandler", `"round"`, "1"))
		c := hub.login("alice")
		c.send(message("round", "1", "1"))
		if reason := c.wantBad(`"1"`); !strings.Contains(reason, "16") {
			t.Errorf("reason %q", reason)
		}
		c.wantAlive()
		if n := round.accepted.Load(); n != 17 {
			t.Errorf("%d messages to the handler, want 17", n)
		}
	})
}
