package classictest

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

func TestFrame(t *testing.T) {
	t.Parallel()
	hub := start(t, serverConf{handlers: []string{"echo"}, peers: []string{"127.0.0.1"}})
	hub.answer("echo", toUsers("alice"))

	// u32 little-endian length | body
	t.Run("length_is_little_endian_and_excludes_itself", func(t *testing.T) {
		c := hub.withT(t).login("alice")
		id := strings.Repeat("x", 0x10203)
		c.send(message("dummy", id, "null"))
		raw := make([]byte, 4)
		if _, err := c.r.Read(raw); err != nil {
			t.Fatal(err)
		}
		body := `{"header":{"status":"0"},"payload":{"data":null,"id":"` + id + `","type":"dummy"}}`
		if n := len(body); raw[0] != byte(n) || raw[1] != byte(n>>8) || raw[2] != byte(n>>16) || raw[3] != 0 {
			t.Fatalf("a frame of %#x bytes begins % x", n, raw)
		}
		got := make([]byte, len(body))
		for at := 0; at < len(got); {
			n, err := c.r.Read(got[at:])
			if err != nil {
				t.Fatal(err)
			}
			at += n
		}
		if string(got) != body {
			t.Fatalf("got %.80s…", got)
		}
		c.wantAlive()
	})

	// body is UTF-8 JSON
	t.Run("body_is_UTF-8", func(t *testing.T) {
		c := hub.withT(t).login("alice")
		c.send(message("echo", "ä€😀", `"ä€😀"`))
		c.want(received(`"ä€😀"`, "echo"), good("ä€😀"))
		c.send(message("echo", "latin1", "\"\xe4\""))
		c.wantBad(`"latin1"`)
		c.wantClosed()
	})

	// Length 0 is legal on the wire.
	t.Run("length_0_is_legal", func(t *testing.T) {
		c := hub.withT(t).login("alice")
		c.write(append(frame(message("dummy", "1", "null")), 0, 0, 0, 0))
		c.want(`{"header":{"status":"0"},"payload":{"data":null,"id":"1","type":"dummy"}}`)
		c.wantBad(`""`) // it is a frame; only, it is no message
		c.wantClosed()
	})

	// Towards an original: one write per frame
	t.Run("one_write_per_frame_to_a_client", func(t *testing.T) {
		c := hub.withT(t).login("alice")
		for i := range 100 {
			id := fmt.Sprint(i)
			want := string(frame(good(id)))
			c.send(message("echo", id, "1"))
			c.want(received("1", "echo"))
			// Whoever reads once finds all of it.
			b := make([]byte, 4096)
			n, err := c.r.Read(b)
			if err != nil || string(b[:n]) != want {
				t.Fatalf("one read got %q, %v, want %q", b[:n], err, want)
			}
		}
	})
	t.Run("one_write_per_frame_to_a_handler", func(t *testing.T) {
		hub := start(t, serverConf{handlers: []string{"once"}})
		hub.serve("once", func(h *handler, c *conn) {
			b := make([]byte, 64<<10)
			n, err := c.Read(b)
			if err != nil || string(b[:n]) != string(frame(`"reading"`)) {
				t.Errorf("one read got %q, %v", b[:n], err)
			}
			c.Write(frame(toUsers()(`1`)))
		})
		c := hub.login("alice")
		for range 100 {
			c.send(message("once", "1", `"reading"`))
			c.want(good("1"))
		}
	})
	t.Run("one_write_per_frame_to_a_server", func(t *testing.T) {
		hub := start(t, serverConf{handlers: []string{"away"}})
		there := listenTCP(t, "tcp4", "127.0.0.1:0")
		got := make(chan string, 1)
		go func() {
			for {
				c, err := there.Accept()
				if err != nil {
					return
				}
				b := make([]byte, 64<<10)
				n, _ := c.Read(b)
				c.Close()
				got <- string(b[:n])
			}
		}()
		hub.answer("away", func(data string) string {
			return command("sendServers", list([]string{there.Addr().String()}), data)
		})
		c := hub.login("alice")
		for range 50 {
			c.send(message("away", "1", `"reading"`))
			b := <-got
			if len(b) < 4 || b != string(frame(b[4:])) {
				t.Fatalf("one read got %q", b)
			}
			c.want(good("1"))
		}
	})

	// length and body in two writes is fine too
	t.Run("length_and_body_in_two_writes", func(t *testing.T) {
		c := hub.withT(t).login("alice")
		for i := range 50 {
			f := frame(message("echo", fmt.Sprint(i), `"two"`))
			c.write(f[:4])
			c.write(f[4:])
			c.want(received(`"two"`, "echo"), good(fmt.Sprint(i)))
		}
	})
}

// any split of any frame is read right, from one byte at a time to thousands of
// frames in one segment
func TestSplit(t *testing.T) {
	t.Parallel()
	hub := start(t, serverConf{handlers: []string{"echo", "slowly", "away", "split"}, peers: []string{"127.0.0.1"}})
	hub.answer("echo", toUsers("alice"))
	byByte := func(c *conn, b []byte) {
		for i := range b {
			c.write(b[i : i+1])
		}
	}

	t.Run("client_one_byte_at_a_time", func(t *testing.T) {
		c := hub.withT(t).dial()
		byByte(c, frame(login("alice", passwordOf("alice"))))
		c.want(loggedIn)
		for i := range 5 {
			byByte(c, frame(message("echo", fmt.Sprint(i), `{"by":"byte"}`)))
			c.want(received(`{"by":"byte"}`, "echo"), good(fmt.Sprint(i)))
		}
	})
	t.Run("client_in_two_pieces_wherever", func(t *testing.T) {
		c := hub.withT(t).login("alice")
		f := frame(message("echo", "1", "true"))
		for i := 1; i < len(f); i++ {
			c.write(f[:i])
			// So that the rest comes later, something else happens in between.
			hub.withT(t).login("bob").Close()
			c.write(f[i:])
			c.want(received("true", "echo"), good("1"))
		}
	})
	t.Run("login_and_messages_in_one_segment", func(t *testing.T) {
		c := hub.withT(t).dial()
		c.send(login("alice", passwordOf("alice")), message("echo", "1", "1"), message("echo", "2", "2"))
		c.want(loggedIn, received("1", "echo"), good("1"), received("2", "echo"), good("2"))
	})
	t.Run("thousands_of_frames_in_one_segment", func(t *testing.T) {
		c := hub.withT(t).login("alice")
		var bodies []string
		for i := range 3000 {
			bodies = append(bodies, message("dummy", fmt.Sprint(i), "null"))
		}
		go c.send(bodies...)
		for i := range 3000 {
			c.want(fmt.Sprintf(`{"header":{"status":"0"},"payload":{"data":null,"id":"%d","type":"dummy"}}`, i))
		}
	})
	t.Run("handler_one_byte_at_a_time", func(t *testing.T) {
		hub.withT(t).serve("slowly", func(h *handler, c *conn) {
			readFrame(c)
			byByte(c, frame(toUsers("alice")(`"slow"`)))
		})
		c := hub.withT(t).login("alice")
		c.send(message("slowly", "1", "1"))
		c.want(received(`"slow"`, "slowly"), good("1"))
	})
	t.Run("handler_length_and_body_in_two_writes", func(t *testing.T) {
		hub.withT(t).serve("split", func(h *handler, c *conn) {
			readFrame(c)
			f := frame(toUsers("alice")(`"split"`))
			c.write(f[:4])
			c.write(f[4:])
		})
		c := hub.withT(t).login("alice")
		c.send(message("split", "1", "1"))
		c.want(received(`"split"`, "split"), good("1"))
	})
	t.Run("server_one_byte_at_a_time", func(t *testing.T) {
		c := hub.withT(t).login("alice")
		s := hub.withT(t).dial()
		byByte(s, frame(serverMessage("echo", `"from afar"`)))
		s.wantClosed()
		c.want(received(`"from afar"`, "echo"))
	})
	t.Run("informer_one_byte_at_a_time", func(t *testing.T) {
		i := dial(t, hub.informer())
		byByte(i, frame(`{"command":{"type":"isClient","data":"nobody"}}`))
		i.want(`{"data":false,"status":"0"}`)
	})
	t.Run("informer_many_frames_in_one_segment", func(t *testing.T) {
		i := dial(t, hub.informer())
		ask := `{"command":{"type":"isClient","data":"nobody"}}`
		i.send(ask, ask, ask)
		i.want(`{"data":false,"status":"0"}`, `{"data":false,"status":"0"}`, `{"data":false,"status":"0"}`)
	})
}

func listenTCP(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}
