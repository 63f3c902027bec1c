package classictest

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// thousands of connections opened and closed; each connection ever made keeps 20 kB;
// 5,000 reconnects bring it to 24 messages/s
func TestReconnects(t *testing.T) {
	t.Parallel()
	hub := start(t, serverConf{handlers: []string{"echo"}, network: object{
		"types": []string{"unix", "tcp4"}, "unix": object{"address": "clients"}, "tcp4": object{"address": "127.0.0.1", "port": "0"},
	}})
	hub.answer("echo", toUsers("alice"))
	dialed := 0
	dialEither := func() *conn { // the loopback's ports are the machine's, not ours: mostly UNIX
		dialed++
		network := "unix"
		if dialed%5 == 0 {
			network = "tcp4"
		}
		network, rest, _ := strings.Cut(hub.listener(network), "://")
		c, err := net.Dial(network, rest)
		if err != nil {
			t.Fatal(err)
		}
		return &conn{Conn: c, t: t, r: nil}
	}
	steady := hub.login("bob")
	// cost is the processor time that the hub takes for so many messages.
	cost := func() time.Duration {
		before := hub.processorTime()
		for range scaled(2000) {
			steady.send(message("echo", "1", "1"))
			steady.want(good("1"))
		}
		return hub.processorTime() - before
	}
	reconnect := func(n int) {
		for range n {
			c := dialEither()
			c.write(append(frame(login("alice", passwordOf("alice"))), frame(message("echo", "1", "1"))...))
			for _, want := range []string{loggedIn, received("1", "echo"), good("1")} {
				c.SetReadDeadline(time.Now().Add(timeout))
				if got, err := readFrame(c); err != nil || got != want {
					t.Fatalf("got %s, %v, want %s", got, err, want)
				}
			}
			c.Close()
		}
	}
	reconnect(scaled(1000)) // what is lasting has been taken by now
	memory, before := hub.status("VmRSS"), cost()
	reconnect(scaled(4000))
	for range scaled(2000) { // and those that never log in
		c := dialEither()
		if dialed%2 == 0 {
			c.write([]byte{9, 0, 0})
		}
		c.Close()
	}
	steady.send(message("builtin", "1", `{"command":{"type":"close"}}`))
	steady.wantClosed()
	hub.wantNoLeak()
	steady = hub.login("bob")
	wantGrowth(t, hub, memory, 8)
	if after := cost(); after > 10*(before+processorTick) {
		t.Errorf("%v of processor time for messages before the reconnects and %v after them", before, after)
	}
}

// it stalls under pipelining in one run of two
func TestPipelining(t *testing.T) {
	t.Parallel()
	hub := start(t, serverConf{handlers: []string{"echo"}})
	hub.answer("echo", toUsers("alice"))
	for name, kind := range map[string]string{"dummy": "dummy", "no_handler": "nobody's", "handler": "echo"} {
		t.Run(name, func(t *testing.T) {
			n := 10_000
			if kind == "echo" || emulator != "" {
				n = scaled(n)
			}
			c := hub.withT(t).login("alice")
			go func() {
				var b []byte
				for i := range n {
					b = append(b, frame(message(kind, fmt.Sprint(i), fmt.Sprint(i)))...)
				}
				c.Write(b)
			}()
			for i := range n {
				id := fmt.Sprint(i)
				switch kind {
				case "dummy":
					c.want(`{"header":{"status":"0"},"payload":{"data":null,"id":"` + id + `","type":"dummy"}}`)
				case "echo":
					c.want(received(id, "echo"), good(id))
				default:
					c.wantBad(quote(id))
				}
			}
			c.wantAlive()
		})
	}
	// A client that sends thousands of messages before it reads still gets every answer.
	t.Run("answers_are_read_late", func(t *testing.T) {
		c := hub.withT(t).login("alice")
		const n = 10_000
		sent := make(chan bool)
		go func() {
			for i := range n {
				c.Write(frame(message("dummy", fmt.Sprint(i), "null")))
			}
			close(sent)
		}()
		select { // it may have to wait until the answers are read, too
		case <-sent:
		case <-time.After(time.Second):
		}
		for i := range n {
			c.want(fmt.Sprintf(`{"header":{"status":"0"},"payload":{"data":null,"id":"%d","type":"dummy"}}`, i))
		}
	})
}

// Connections over the limit that have not logged in give way, the oldest first, and those
// that are logged in are not slowed down.
func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	const limit = 1024
	hub := start(t, serverConf{handlers: []string{"canary"}})
	hub.answer("canary", toUsers("erin"))
	canary := newCanary(hub)
	before := hub.status("VmRSS")
	var all []*conn
	for range limit - 1 {
		all = append(all, hub.dial())
	}
	for i := range 50 { // accepted in this order
		all = append(all, hub.dial())
		all[i].wantClosed()
		canary.wantResponse()
	}
	wantGrowth(t, hub, before, 24)
	for _, c := range all {
		c.Close()
	}
	eventually(t, "room for another", func() bool {
		c := hub.dial()
		defer c.Close()
		c.Write(frame(login("alice", passwordOf("alice"))))
		got, _ := c.next()
		return got == loggedIn
	})
	hub.wantLog("it has not logged in, and another needs its place")
}
