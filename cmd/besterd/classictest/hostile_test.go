package classictest

import (
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// Whatever is sent, the hub must not crash, hang, buffer without bound, or leak a file
// descriptor or a goroutine. start makes every test end with a check of the descriptors,
// the threads, the log and the exit status.

// A canary is a client that must be served whatever other clients do.
type canary struct{ *conn }

func newCanary(d *daemon) canary { return canary{d.login("erin")} }

func (c canary) wantResponse() {
	c.t.Helper()
	c.send(message("canary", "tweet", `"tweet"`))
	c.want(received(`"tweet"`, "canary"), good("tweet"))
}

func TestHostileFrames(t *testing.T) {
	t.Parallel()
	hub := start(t, serverConf{handlers: []string{"canary", "big", "odd"}, peers: "open"})
	hub.answer("canary", toUsers("erin"))
	hub.answer("big", toUsers())
	probe := newCanary(hub)
	after := func(t *testing.T, f func(t *testing.T, hub *daemon)) {
		t.Helper()
		f(t, hub.withT(t))
		canary{&conn{Conn: probe.Conn, t: t, r: probe.r}}.wantResponse()
	}
	brackets := strings.Repeat("[", 1_000_000)

	// 1 MB of `[` kills the daemon
	t.Run("a_million_brackets_from_a_client", func(t *testing.T) {
		after(t, func(t *testing.T, hub *daemon) {
			for body, id := range map[string]string{
				brackets: `""`, `{"header":` + brackets[:900_000]: `""`, message("big", "1", brackets[:900_000]): `"1"`,
			} {
				c := hub.login("alice")
				go c.Write(frame(body))
				c.wantBad(id)
				c.wantClosed()
			}
		})
	})
	t.Run("a_million_brackets_before_the_login", func(t *testing.T) {
		after(t, func(t *testing.T, hub *daemon) {
			c := hub.dial()
			go c.Write(frame(brackets))
			if got, err := c.next(); err == nil {
				wantBad(t, got, `""`)
			}
		})
	})
	t.Run("a_million_brackets_from_a_server", func(t *testing.T) {
		after(t, func(t *testing.T, hub *daemon) {
			c := hub.dial()
			go c.Write(frame(serverMessage("big", brackets[:900_000])))
			if got, err := c.next(); err == nil {
				wantBad(t, got, `""`)
			}
		})
	})
	t.Run("a_million_brackets_from_a_handler", func(t *testing.T) {
		after(t, func(t *testing.T, hub *daemon) {
			hub.reply("odd", brackets)
			c := hub.login("alice")
			c.send(message("odd", "1", "1"))
			c.wantBad(`"1"`)
			c.wantAlive()
		})
	})
	t.Run("a_million_brackets_to_the_informer", func(t *testing.T) {
		after(t, func(t *testing.T, hub *daemon) {
			c := dial(t, hub.informer())
			go c.Write(frame(brackets))
			if got, err := c.next(); err == nil && got != `{"status":"1"}` {
				t.Errorf("got %s", got)
			}
		})
	})

	// an unknown sendHandler target kills the daemon
	t.Run("unknown_sendHandler_target", func(t *testing.T) {
		after(t, func(t *testing.T, hub *daemon) {
			hub.reply("odd", command("sendHandler", `"nobody's"`, "1"))
			c := hub.login("alice")
			c.send(message("odd", "1", "1"))
			c.wantBad(`"1"`)
			c.wantAlive()
		})
	})

	// a 20 kB frame costs 1.3 GB
	t.Run("frames_of_20_kB_cost_20_kB", func(t *testing.T) {
		after(t, func(t *testing.T, hub *daemon) {
			for name, data := range map[string]string{
				"text":    quote(strings.Repeat("x", 20_000)),
				"numbers": "[" + strings.Repeat("0,", 10_000) + "0]",
				"objects": "[" + strings.Repeat("{},", 6_600) + "{}]",
				"keys":    `{"":0` + strings.Repeat(`,"":0`, 4_000) + "}",
				"escapes": `"` + strings.Repeat(`\u00e9`, 3_300) + `"`,
			} {
				before := hub.status("VmRSS")
				c := hub.login("alice")
				for range scaled(200) {
					c.send(message("big", name, data))
					c.want(good(name))
				}
				wantGrowth(t, hub, before, 16)
			}
		})
	})

	// length 0xFFFFFFFF
	t.Run("length_0xFFFFFFFF", func(t *testing.T) {
		after(t, func(t *testing.T, hub *daemon) {
			before := hub.status("VmRSS")
			hub.serve("odd", func(h *handler, c *conn) {
				readFrame(c)
				c.Write([]byte{0xff, 0xff, 0xff, 0xff, '{'})
			})
			for range scaled(50) {
				c := hub.dial()
				c.write([]byte{0xff, 0xff, 0xff, 0xff, '{'})
				if got, err := c.next(); err == nil {
					wantBad(t, got, `""`)
				}
				i := dial(t, hub.informer())
				i.write([]byte{0xff, 0xff, 0xff, 0xff, '{'})
				if got, err := i.next(); err == nil && got != `{"status":"1"}` {
					t.Errorf("got %s", got)
				}
				c = hub.login("alice")
				c.send(message("odd", "1", "1"))
				c.wantBad(`"1"`)
				c.write([]byte{0xff, 0xff, 0xff, 0xff, '{'})
				c.wantBad(`""`)
				c.wantClosed()
			}
			wantGrowth(t, hub, before, 16)
		})
	})
	// A length is no promise: what is not sent takes no memory.
	t.Run("a_length_without_a_body_takes_no_memory", func(t *testing.T) {
		after(t, func(t *testing.T, hub *daemon) {
			before := hub.status("VmRSS")
			for range 100 {
				c := hub.login("alice")
				c.write([]byte{0, 0, 0x10, 0, '{'})
				defer c.Close()
			}
			wantGrowth(t, hub, before, 32)
		})
	})

	t.Run("random_bytes", func(t *testing.T) {
		after(t, func(t *testing.T, hub *daemon) {
			random := rand.NewChaCha8([32]byte{1})
			n := rand.New(random)
			hub.serve("odd", func(h *handler, c *conn) {
				readFrame(c)
				c.Write(randomBytes(random, n))
			})
			for i := range scaled(300) {
				var c *conn
				switch i % 5 {
				case 0, 1:
					c = hub.dial()
				case 2:
					c = hub.login("alice")
				case 3:
					c = dial(t, hub.informer())
				case 4: // a message through the handler of random answers
					c = hub.login("alice")
					c.send(message("odd", "1", "1"))
					c.wantBad(`"1"`)
				}
				c.Write(randomBytes(random, n))
				c.halfClose()
				c.SetReadDeadline(time.Now().Add(timeout))
				if _, err := io.Copy(io.Discard, c.r); err != nil && strings.Contains(err.Error(), "timeout") {
					t.Fatal(err)
				}
				c.Close()
			}
		})
	})
	// Every message there is, with one byte changed or cut short, on every way in.
	t.Run("damaged_messages", func(t *testing.T) {
		after(t, func(t *testing.T, hub *daemon) {
			n := rand.New(rand.NewPCG(1, 2))
			whole := []string{
				login("alice", passwordOf("alice")), serverMessage("big", `{"a":[1,"b",null]}`), message("big", "1", `{"a":[1,"b",null]}`),
				message("builtin", "1", `{"command":{"type":"login"}}`), `{"command":{"type":"isClient","data":"alice"}}`,
			}
			for i := range scaled(400) {
				body := []byte(whole[n.IntN(len(whole))])
				body[n.IntN(len(body))] = byte(n.UintN(256))
				if n.IntN(2) == 0 {
					body = body[:n.IntN(len(body))]
				}
				c := hub.dial()
				if i%3 == 1 {
					c.send(login("alice", passwordOf("alice")))
				} else if i%3 == 2 {
					c = dial(t, hub.informer())
				}
				c.Write(frame(string(body)))
				c.halfClose()
				c.SetReadDeadline(time.Now().Add(timeout))
				if _, err := io.Copy(io.Discard, c.r); err != nil && strings.Contains(err.Error(), "timeout") {
					t.Fatalf("%v after %q", err, body)
				}
				c.Close()
			}
		})
	})
}

// randomBytes returns random bytes, half of the time as a frame.
func randomBytes(random io.Reader, n *rand.Rand) []byte {
	b := make([]byte, n.IntN(2000))
	random.Read(b)
	if n.IntN(2) == 0 {
		return frame(string(b))
	}
	return b
}
