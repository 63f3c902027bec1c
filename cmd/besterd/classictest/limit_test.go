package classictest

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// limit (default 1 MiB; 4 KiB before authentication), refused before allocation:
// close, counted, logged.
func TestLimit(t *testing.T) {
	t.Parallel()
	hub := start(t, serverConf{handlers: []string{"echo", "big", "huge"}})
	hub.answer("echo", func(data string) string { return toUsers("alice")(fmt.Sprint(len(data))) })
	const limit = 1 << 20

	t.Run("1_MiB", func(t *testing.T) {
		c := hub.withT(t).login("alice")
		data := limit - len(message("echo", "1", `""`))
		c.send(message("echo", "1", quote(strings.Repeat("x", data))))
		c.want(received(fmt.Sprint(data+2), "echo"), good("1"))
		c.wantAlive()
	})
	t.Run("over_1_MiB", func(t *testing.T) {
		c := hub.withT(t).login("alice")
		c.send(message("echo", "before", "1"))
		c.want(received("1", "echo"), good("before"))
		c.write([]byte{1, 0, 0x10, 0})
		c.wantBad(`""`)
		c.wantClosed()
		hub.withT(t).wantLog("1048577")
	})
	t.Run("4_KiB_before_authentication", func(t *testing.T) {
		c := hub.withT(t).dial()
		first := fmt.Sprintf(`{"header":{"scope":"client","authentication":{"username":"alice","password":%q}},"payload":""}`, passwordOf("alice"))
		first = strings.Replace(first, `""}`, `"`+strings.Repeat("x", 4096-len(first))+`"}`, 1)
		c.send(first)
		c.want(loggedIn)
	})
	t.Run("over_4_KiB_before_authentication", func(t *testing.T) {
		c := hub.withT(t).dial()
		c.write([]byte{1, 0x10, 0, 0})
		c.wantClosed()
		hub.withT(t).wantLog("4097")
	})
	// A server never authenticates: what lets it in is its address.
	t.Run("1_MiB_from_a_server", func(t *testing.T) {
		hub := start(t, serverConf{handlers: []string{"echo"}, peers: []string{"127.0.0.1"}})
		hub.answer("echo", func(data string) string { return toUsers("alice")(fmt.Sprint(len(data))) })
		c, s := hub.login("alice"), hub.dial()
		data := limit - len(serverMessage("echo", `""`))
		s.send(serverMessage("echo", quote(strings.Repeat("x", data))))
		s.wantClosed()
		c.want(received(fmt.Sprint(data+2), "echo"))
	})
	t.Run("1_MiB_from_a_handler", func(t *testing.T) {
		reader := hub.withT(t).login("alice")
		data := limit - len(toUsers("alice")(`""`))
		hub.withT(t).reply("big", toUsers("alice")(quote(strings.Repeat("x", data))))
		c := hub.withT(t).login("bob")
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
		hub.withT(t).serve("huge", func(h *handler, c *conn) {
			readFrame(c)
			c.Write([]byte{1, 0, 0x10, 0})
			c.Write(make([]byte, 4096))
		})
		c := hub.withT(t).login("bob")
		c.send(message("huge", "1", "1"))
		c.wantBad(`"1"`)
		c.wantAlive()
	})
	t.Run("refused_before_allocation", func(t *testing.T) {
		hub := hub.withT(t)
		lengths := [][]byte{{0xff, 0xff, 0xff, 0xff}, {0, 0, 0, 0x40}, {0, 0, 0, 0x80}, {0xff, 0xff, 0xff, 0x7f}}
		before := hub.status("VmRSS")
		for i := range scaled(200) {
			c := hub.dial()
			if i%2 == 1 {
				c.send(login("alice", passwordOf("alice")))
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
		hub := hub.withT(t)
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
