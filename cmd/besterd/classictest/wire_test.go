package classictest

import (
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func TestFrame(t *testing.T) {
	t.Parallel()
	hub := start(t, conf{handlers: []string{"echo"}, peers: []string{"127.0.0.1"}})
	hub.answer("echo", toUsers("alice"))

	// u32 little-endian length | body
	t.Run("length_is_little_endian_and_excludes_itself", func(t *testing.T) {
		c := hub.in(t).login("alice")
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
		c.lives()
	})

	// body is UTF-8 JSON
	t.Run("body_is_UTF-8", func(t *testing.T) {
		c := hub.in(t).login("alice")
		c.send(message("echo", "ä€😀", `"ä€😀"`))
		c.want(received(`"ä€😀"`, "echo"), good("ä€😀"))
		c.send(message("echo", "latin1", "\"\xe4\""))
		c.wantBad(`"latin1"`)
		c.wantClosed()
	})

	// Length 0 is legal on the wire.
	t.Run("length_0_is_legal", func(t *testing.T) {
		c := hub.in(t).login("alice")
		c.write(append(frame(message("dummy", "1", "null")), 0, 0, 0, 0))
		c.want(`{"header":{"status":"0"},"payload":{"data":null,"id":"1","type":"dummy"}}`)
		c.wantBad(`""`) // it is a frame; only, it is no message
		c.wantClosed()
	})

	// Towards an original: one write per frame
	t.Run("one_write_per_frame_to_a_client", func(t *testing.T) {
		c := hub.in(t).login("alice")
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
		hub := start(t, conf{handlers: []string{"once"}})
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
		hub := start(t, conf{handlers: []string{"away"}})
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
		c := hub.in(t).login("alice")
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
	hub := start(t, conf{handlers: []string{"echo", "slowly", "away", "split"}, peers: []string{"127.0.0.1"}})
	hub.answer("echo", toUsers("alice"))
	byByte := func(c *conn, b []byte) {
		for i := range b {
			c.write(b[i : i+1])
		}
	}

	t.Run("client_one_byte_at_a_time", func(t *testing.T) {
		c := hub.in(t).dial()
		byByte(c, frame(login("alice", word("alice"))))
		c.want(loggedIn)
		for i := range 5 {
			byByte(c, frame(message("echo", fmt.Sprint(i), `{"by":"byte"}`)))
			c.want(received(`{"by":"byte"}`, "echo"), good(fmt.Sprint(i)))
		}
	})
	t.Run("client_in_two_pieces_wherever", func(t *testing.T) {
		c := hub.in(t).login("alice")
		f := frame(message("echo", "1", "true"))
		for i := 1; i < len(f); i++ {
			c.write(f[:i])
			// So that the rest comes later, something else happens in between.
			hub.in(t).login("bob").Close()
			c.write(f[i:])
			c.want(received("true", "echo"), good("1"))
		}
	})
	t.Run("login_and_messages_in_one_segment", func(t *testing.T) {
		c := hub.in(t).dial()
		c.send(login("alice", word("alice")), message("echo", "1", "1"), message("echo", "2", "2"))
		c.want(loggedIn, received("1", "echo"), good("1"), received("2", "echo"), good("2"))
	})
	t.Run("thousands_of_frames_in_one_segment", func(t *testing.T) {
		c := hub.in(t).login("alice")
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
		hub.in(t).serve("slowly", func(h *handler, c *conn) {
			readFrame(c)
			byByte(c, frame(toUsers("alice")(`"slow"`)))
		})
		c := hub.in(t).login("alice")
		c.send(message("slowly", "1", "1"))
		c.want(received(`"slow"`, "slowly"), good("1"))
	})
	t.Run("handler_length_and_body_in_two_writes", func(t *testing.T) {
		hub.in(t).serve("split", func(h *handler, c *conn) {
			readFrame(c)
			f := frame(toUsers("alice")(`"split"`))
			c.write(f[:4])
			c.write(f[4:])
		})
		c := hub.in(t).login("alice")
		c.send(message("split", "1", "1"))
		c.want(received(`"split"`, "split"), good("1"))
	})
	t.Run("server_one_byte_at_a_time", func(t *testing.T) {
		c := hub.in(t).login("alice")
		s := hub.in(t).dial()
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

// limit (default 1 MiB; 4 KiB before authentication), refused before allocation:
// close, counted, logged.
func TestLimit(t *testing.T) {
	t.Parallel()
	hub := start(t, conf{handlers: []string{"echo", "big", "huge"}})
	hub.answer("echo", func(data string) string { return toUsers("alice")(fmt.Sprint(len(data))) })
	const limit = 1 << 20

	t.Run("1_MiB", func(t *testing.T) {
		c := hub.in(t).login("alice")
		data := limit - len(message("echo", "1", `""`))
		c.send(message("echo", "1", quote(strings.Repeat("x", data))))
		c.want(received(fmt.Sprint(data+2), "echo"), good("1"))
		c.lives()
	})
	t.Run("over_1_MiB", func(t *testing.T) {
		c := hub.in(t).login("alice")
		c.send(message("echo", "before", "1"))
		c.want(received("1", "echo"), good("before"))
		c.write([]byte{1, 0, 0x10, 0})
		c.wantBad(`""`)
		c.wantClosed()
		hub.in(t).wantLog("1048577")
	})
	t.Run("4_KiB_before_authentication", func(t *testing.T) {
		c := hub.in(t).dial()
		first := fmt.Sprintf(`{"header":{"scope":"client","authentication":{"username":"alice","password":%q}},"payload":""}`, word("alice"))
		first = strings.Replace(first, `""}`, `"`+strings.Repeat("x", 4096-len(first))+`"}`, 1)
		c.send(first)
		c.want(loggedIn)
	})
	t.Run("over_4_KiB_before_authentication", func(t *testing.T) {
		c := hub.in(t).dial()
		c.write([]byte{1, 0x10, 0, 0})
		c.wantClosed()
		hub.in(t).wantLog("4097")
	})
	// A server never authenticates: what lets it in is its address.
	t.Run("1_MiB_from_a_server", func(t *testing.T) {
		hub := start(t, conf{handlers: []string{"echo"}, peers: []string{"127.0.0.1"}})
		hub.answer("echo", func(data string) string { return toUsers("alice")(fmt.Sprint(len(data))) })
		c, s := hub.login("alice"), hub.dial()
		data := limit - len(serverMessage("echo", `""`))
		s.send(serverMessage("echo", quote(strings.Repeat("x", data))))
		s.wantClosed()
		c.want(received(fmt.Sprint(data+2), "echo"))
	})
	t.Run("1_MiB_from_a_handler", func(t *testing.T) {
		reader := hub.in(t).login("alice")
		data := limit - len(toUsers("alice")(`""`))
		hub.in(t).reply("big", toUsers("alice")(quote(strings.Repeat("x", data))))
		c := hub.in(t).login("bob")
		c.send(message("big", "1", "1"))
		c.want(good("1"))
		// It is longer than what may wait for a session, so it may be dropped; if it
		// comes it is whole.
		reader.send(message("dummy", "end", "null"))
		if got := reader.recv(); len(got) > 1000 && got != received(quote(strings.Repeat("x", data)), "big") {
			t.Errorf("got %d bytes: %.80s…", len(got), got)
		}
	})
	t.Run("over_1_MiB_from_a_handler", func(t *testing.T) {
		hub.in(t).serve("huge", func(h *handler, c *conn) {
			readFrame(c)
			c.Write([]byte{1, 0, 0x10, 0})
			c.Write(make([]byte, 4096))
		})
		c := hub.in(t).login("bob")
		c.send(message("huge", "1", "1"))
		c.wantBad(`"1"`)
		c.lives()
	})
	t.Run("refused_before_allocation", func(t *testing.T) {
		hub := hub.in(t)
		lengths := [][]byte{{0xff, 0xff, 0xff, 0xff}, {0, 0, 0, 0x40}, {0, 0, 0, 0x80}, {0xff, 0xff, 0xff, 0x7f}}
		before := hub.status("VmRSS")
		for i := range few(200) {
			c := hub.dial()
			if i%2 == 1 {
				c.send(login("alice", word("alice")))
				c.want(loggedIn)
			}
			c.write(lengths[i/2%4])
			if i%2 == 1 {
				c.wantBad(`""`)
			}
			c.wantClosed()
			c.Close()
		}
		wantGrowth(t, hub, before, 16)
	})
	t.Run("counted", func(t *testing.T) {
		hub := hub.in(t)
		before := hub.count("frames_too_long")
		hub.dial().write([]byte{0xff, 0xff, 0xff, 0xff})
		c := hub.login("alice")
		c.write([]byte{0xff, 0xff, 0xff, 0xff})
		c.wantBad(`""`)
		eventually(t, "two more frames counted", func() bool { return hub.count("frames_too_long") == before+2 })
	})
}

// count returns one of the hub's counters, as an administrator sees it.
func (d *daemon) count(name string) int {
	d.t.Helper()
	c := d.login("dave")
	defer c.Close()
	c.send(message("builtin", "1", `{"command":{"type":"status"}}`))
	status := c.recv()
	m := regexp.MustCompile(`"` + name + `":(\d+)`).FindStringSubmatch(status)
	if m == nil {
		d.t.Fatalf("no %s in %s", name, status)
	}
	c.want(good("1"))
	n, _ := strconv.Atoi(m[1])
	return n
}

// wantGrowth expects the daemon's memory to have grown by no more than so many MiB.
func wantGrowth(t *testing.T, d *daemon, before, mebibytes int) {
	t.Helper()
	if race {
		mebibytes *= 8
	}
	if after := d.status("VmRSS"); after-before > mebibytes<<10 {
		t.Errorf("memory grew from %d to %d KiB", before, after)
	}
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
