package classictest

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// a hung handler, a receiver that does not read, a dead session hold up nobody else
func TestSlowPeersBlockNobody(t *testing.T) {
	t.Parallel()

	t.Run("by_a_receiver_that_does_not_read", func(t *testing.T) {
		hub := start(t, serverConf{handlers: []string{"all", "canary"}})
		hub.answer("all", toUsers("bob", "carol", "dave"))
		hub.answer("canary", toUsers("erin"))
		stalled := []*conn{hub.login("bob"), hub.login("dave")}
		reader, sender, probe := hub.login("carol"), hub.login("alice"), newCanary(hub)
		data := quote(strings.Repeat("x", 10_000))
		before := hub.status("VmRSS")
		for i := range scaled(2000) {
			id := fmt.Sprint(i)
			sender.send(message("all", id, data))
			reader.want(received(data, "all"))
			sender.want(good(id))
			if i%100 == 0 {
				probe.wantResponse()
			}
		}
		wantGrowth(t, hub, before, 24) // though 40 MB were meant for those
		// The stalled receivers are still connected. Deliveries that they did not read in
		// time were dropped, and only whole frames are left.
		for _, c := range stalled {
			c.send(message("dummy", "the end", "null"))
			n := 0
			for {
				got := c.recv()
				if strings.Contains(got, `"the end"`) {
					break
				}
				if got != received(data, "all") {
					t.Fatalf("got %.80s…", got)
				}
				n++
			}
			if all := scaled(2000); n == 0 || n >= all && all == 2000 { // fewer may be on their way in the kernel
				t.Errorf("it got %d of %d", n, all)
			}
		}
	})

	t.Run("by_a_hung_handler", func(t *testing.T) {
		hub := start(t, serverConf{handlers: []string{"hung", "echo"}})
		hung := hub.serve("hung", func(h *handler, c *conn) {
			readFrame(c)
			c.Read(make([]byte, 1))
		})
		hub.answer("echo", toUsers("alice"))
		alice := hub.login("alice")
		var waiting []*conn
		for i := range 40 { // more than there may be connections to the handler
			c := hub.login([]string{"bob", "carol", "dave"}[i%3])
			c.send(message("hung", "1", "1"))
			waiting = append(waiting, c)
			alice.send(message("echo", fmt.Sprint(i), "1"))
			alice.want(received("1", "echo"), good(fmt.Sprint(i)))
		}
		hung.close() // answers nobody
		for _, c := range waiting {
			c.wantBad(`"1"`)
			c.wantAlive()
		}
	})

	t.Run("by_a_dead_session", func(t *testing.T) {
		hub := start(t, serverConf{handlers: []string{"all"}})
		hub.answer("all", toUsers("bob", "carol"))
		sender, reader := hub.login("alice"), hub.login("carol")
		for i := range scaled(500) {
			gone := hub.login("bob")
			id := fmt.Sprint(i)
			sender.send(message("all", id, id))
			gone.Close()
			reader.want(received(id, "all"))
			sender.want(good(id))
		}
	})

	t.Run("by_a_sender_that_stops_inside_a_frame", func(t *testing.T) {
		hub := start(t, serverConf{handlers: []string{"canary"}})
		hub.answer("canary", toUsers("erin"))
		probe := newCanary(hub)
		for range 50 {
			f := frame(message("canary", "1", "1"))
			hub.login("alice").write(f[:len(f)/2])
			hub.dial().write(f[:3])
			probe.wantResponse()
		}
	})

	t.Run("by_a_handler_that_does_not_read", func(t *testing.T) {
		hub := start(t, serverConf{handlers: []string{"stalled", "echo"}})
		end := make(chan bool)
		hub.serve("stalled", func(h *handler, c *conn) { <-end })
		t.Cleanup(func() { close(end) })
		hub.answer("echo", toUsers("bob"))
		alice, bob := hub.login("alice"), hub.login("bob")
		alice.send(message("stalled", "1", quote(strings.Repeat("x", 1_000_000))))
		for i := range 20 {
			bob.send(message("echo", fmt.Sprint(i), "1"))
			bob.want(received("1", "echo"), good(fmt.Sprint(i)))
		}
	})
}

// connections to handlers are bounded per type
func TestConnectionsToAHandler(t *testing.T) {
	t.Parallel()
	hub := start(t, serverConf{handlers: []string{"slow", "queue"}})
	var open, most atomic.Int32
	hub.serve("slow", func(h *handler, c *conn) {
		n := open.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		data, err := readFrame(c)
		if err != nil {
			t.Error(err)
		}
		time.Sleep(10 * time.Millisecond) // slow is what it is
		open.Add(-1)                      // the hub may now come with another
		c.Write(frame(toUsers()(data)))
	})
	t.Run("bounded_per_type", func(t *testing.T) {
		hub := hub.withT(t)
		var all []*conn
		for i := range 80 {
			c := hub.login(users[i%len(users)])
			c.send(message("slow", "1", "1"))
			all = append(all, c)
		}
		for _, c := range all {
			c.want(good("1"))
		}
		if n := most.Load(); n > 16 || n < 2 {
			t.Errorf("%d connections at once, want 2 to 16", n)
		}
	})
	// A handler of the original's kind has a short backlog.
	t.Run("handler_with_a_short_backlog", func(t *testing.T) {
		hub := hub.withT(t)
		p := python(t, hub.dir, "handler.py", socketOf("queue"), "users")
		p.want("listening")
		var all []*conn
		for i := range 80 {
			c := hub.login(users[i%len(users)])
			c.send(message("queue", "1", "1"), message("queue", "2", "2"))
			all = append(all, c)
		}
		for _, c := range all {
			c.want(good("1"), good("2"))
		}
	})
}

// tomlConf is a hub with one listener and accounts, and more.
func tomlConf(more string) serverConf {
	return serverConf{toml: `
		[[listen]]
		network = "tcp4"
		address = "127.0.0.1:0"
		[accounts]
		file = "accounts"
		` + more}
}

// What server.conf has no key for, and so always is its default there, is tested with
// the same daemon and a bester.toml.
func TestTimeouts(t *testing.T) {
	t.Parallel()
	// A connection that has not logged in within 10 s is closed.
	t.Run("not_logged_in_in_time", func(t *testing.T) {
		hub := start(t, tomlConf("[session]\nlogin = \"3s\""))
		in := hub.login("alice")
		var silent []*conn
		for i := range 50 {
			c := hub.dial()
			if first := frame(login("alice", passwordOf("alice"))); i%2 == 0 {
				c.write(first[:i]) // half a login is none
			}
			silent = append(silent, c)
		}
		for _, c := range silent {
			c.wantClosed()
		}
		in.wantAlive() // who is in stays
	})
	// a handler that does not answer in time (default 10 s) is a failure of that message only
	t.Run("handler_not_answering_in_time", func(t *testing.T) {
		hub := start(t, tomlConf(`
			[handlers.hung]
			types = ["hung"]
			dialect = "classic"
			socket = "hung.sock"
			timeout = "3s"
			[handlers.echo]
			types = ["echo"]
			dialect = "classic"
			socket = "echo.sock"
			[handlers.chain]
			types = ["chain"]
			dialect = "classic"
			socket = "chain.sock"
		`))
		hub.serve("hung", func(h *handler, c *conn) {
			if data, _ := readFrame(c); data == `"answer"` {
				c.Write(frame(toUsers("alice")(data)))
				return
			}
			c.Read(make([]byte, 1)) // until the hub gives up
		})
		hub.answer("echo", toUsers("alice"))
		hub.answer("chain", func(data string) string { return command("sendHandler", `"hung"`, data) })
		c := hub.login("alice")
		c.send(message("hung", "1", "1"), message("chain", "2", "2"), message("hung", "3", `"answer"`), message("echo", "4", "4"))
		c.wantBad(`"1"`)
		c.wantBad(`"2"`)
		c.want(received(`"answer"`, "hung"), good("3"), received("4", "echo"), good("4"))
	})
	t.Run("handler_trickling_its_answer", func(t *testing.T) {
		hub := start(t, tomlConf(`
			[handlers.trickle]
			types = ["trickle"]
			dialect = "classic"
			socket = "trickle.sock"
			timeout = "300ms"
		`))
		hub.serve("trickle", func(h *handler, c *conn) {
			readFrame(c)
			for _, b := range frame(toUsers("alice")("1")) {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(20 * time.Millisecond) // each byte in time, all of them not
			}
		})
		c := hub.login("alice")
		c.send(message("trickle", "1", "1"))
		c.wantBad(`"1"`)
		c.wantAlive()
	})
}

// SIGTERM: what was taken is answered, connections are closed, exit 0.
func TestShutdown(t *testing.T) {
	t.Parallel()
	t.Run("with_everybody_connected", func(t *testing.T) {
		hub := start(t, serverConf{handlers: []string{"echo"}})
		hub.answer("echo", toUsers("alice"))
		alice, bob := hub.login("alice"), hub.login("bob")
		i := dial(t, hub.informer())
		i.send(`{"command":{"type":"listClients"}}`)
		i.recv()
		f := frame(message("echo", "1", "1"))
		bob.write(f[:9]) // inside a frame
		hub.terminate()
		alice.wantClosed()
		bob.wantClosed()
		i.wantClosed()
	})
	t.Run("with_connections_that_never_logged_in", func(t *testing.T) {
		hub := start(t, tomlConf("[session]\nlogin = \"1h\"")) // it does not wait for that
		c, half := hub.dial(), hub.dial()
		half.write([]byte{9, 0})
		hub.login("alice").wantAlive() // by now the others have been accepted
		hub.terminate()
		c.wantClosed()
		half.wantClosed()
	})
	t.Run("with_messages_in_flight", func(t *testing.T) {
		hub := start(t, serverConf{handlers: []string{"slow"}})
		taken, goOn := make(chan bool), make(chan bool)
		hub.serve("slow", func(h *handler, c *conn) {
			data, _ := readFrame(c)
			taken <- true
			<-goOn
			c.Write(frame(toUsers("alice", "bob")(data)))
		})
		alice, bob := hub.login("alice"), hub.login("bob")
		alice.send(message("slow", "1", `"taken"`))
		<-taken
		go func() {
			hub.log.wait("ending")
			close(goOn)
		}()
		hub.terminate()
		alice.want(received(`"taken"`, "slow"), good("1"))
		alice.wantClosed()
		bob.want(received(`"taken"`, "slow"))
		bob.wantClosed()
	})
	t.Run("and_starts_again_in_the_same_place", func(t *testing.T) {
		dir := workDir(t)
		for range 3 {
			hub := startIn(t, dir, serverConf{network: object{"types": []string{"unix"}, "unix": object{"address": "clients"}}})
			hub.login("alice").wantAlive()
			hub.terminate()
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 3 { // with accounts, the key of tokens and the config
			t.Errorf("left over: %q", left)
		}
	})
}
