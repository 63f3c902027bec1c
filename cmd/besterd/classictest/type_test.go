package classictest

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// The effect of a message's type.
func TestType(t *testing.T) {
	t.Parallel()
	hub := start(t, serverConf{handlers: []string{"echo", "two words", "Ä/b"}})
	hub.answer("echo", toUsers("alice"))
	hub.answer("two words", toUsers("alice"))
	hub.answer("Ä/b", toUsers("alice"))
	builtin := func(command string) string { return message("builtin", "1", `{"command":`+command+`}`) }

	// dummy: {"header":{"status":"0"},"payload":{"data":null,"id":ID,"type":"dummy"}}
	for _, data := range []string{`null`, `1`, `{"x":[1]}`} {
		t.Run("dummy_"+data, func(t *testing.T) {
			c := hub.withT(t).login("alice")
			c.send(message("dummy", "an id", data))
			c.want(`{"header":{"status":"0"},"payload":{"data":null,"id":"an id","type":"dummy"}}`)
			c.wantAlive()
		})
	}

	// builtin: data.command.type close: closed, no reply
	t.Run("builtin_close", func(t *testing.T) {
		c := hub.withT(t).login("alice")
		c.send(builtin(`{"type":"close"}`), message("dummy", "2", "null"))
		c.wantClosed()
	})
	t.Run("builtin_close_after_what_came_before", func(t *testing.T) {
		c := hub.withT(t).login("alice")
		c.send(message("echo", "before", "1"), builtin(`{"type":"close"}`))
		c.want(received("1", "echo"), good("before"))
		c.wantClosed()
	})
	// logout = close
	t.Run("builtin_logout", func(t *testing.T) {
		c := hub.withT(t).login("alice")
		c.send(builtin(`{"type":"logout"}`), message("dummy", "2", "null"))
		c.wantClosed()
	})
	// login as no-op once in
	t.Run("builtin_login", func(t *testing.T) {
		c := hub.withT(t).login("bob")
		c.send(builtin(`{"type":"login","command":{"username":"alice","password":"wrong"}}`), message("echo", "2", "1"))
		c.want(good("1"), good("2")) // still bob, who gets nothing of what alice gets
		c.wantAlive()
	})
	// changePassword
	t.Run("builtin_changePassword", func(t *testing.T) {
		hub := start(t, serverConf{})
		const fresh = "something new"
		change := func(old string) string {
			return builtin(fmt.Sprintf(`{"type":"changePassword","command":{"password":%s,"newPassword":%s}}`, quote(old), quote(fresh)))
		}
		c := hub.login("alice")
		c.send(change("wrong"))
		c.wantBad(`"1"`)
		hub.login("alice").Close()
		c.send(change(passwordOf("alice")))
		c.want(good("1"))
		c.wantAlive()
		for password, want := range map[string]string{fresh: loggedIn, passwordOf("alice"): ""} {
			c := hub.dial()
			c.send(login("alice", password))
			if want == "" {
				c.wantBad(`"auth_special"`)
			} else {
				c.want(want)
			}
		}
		hub.login("bob")
	})
	t.Run("builtin_changePassword_of_somebody_else", func(t *testing.T) {
		hub := hub.withT(t)
		c := hub.login("bob")
		c.send(builtin(fmt.Sprintf(`{"type":"changePassword","command":{"username":"alice","password":%s,"newPassword":"mine now"}}`, quote(passwordOf("alice")))))
		c.wantBad(`"1"`)
		hub.login("alice")
	})
	// unknown ones get statusReport bad
	for name, data := range map[string]string{
		"unknown":      `{"command":{"type":"reboot"}}`,
		"other_case":   `{"command":{"type":"Close"}}`,
		"empty_type":   `{"command":{"type":""}}`,
		"type_number":  `{"command":{"type":1}}`,
		"no_type":      `{"command":{}}`,
		"command_text": `{"command":"close"}`,
		"no_command":   `{}`,
		"null":         `null`,
		"text":         `"close"`,
		"list":         `[{"type":"close"}]`,
	} {
		t.Run("builtin_bad_"+name, func(t *testing.T) {
			c := hub.withT(t).login("bob")
			c.send(message("builtin", "1", data))
			c.wantBad(`"1"`)
			c.wantAlive()
		})
	}

	// a type with a handler: to the handler
	for _, kind := range []string{"echo", "two words", "Ä/b"} {
		t.Run("handler_"+kind, func(t *testing.T) {
			c := hub.withT(t).login("alice")
			c.send(message(kind, "1", "1"))
			c.want(received("1", kind), good("1"))
		})
	}
	t.Run("type_written_with_escapes", func(t *testing.T) {
		c := hub.withT(t).login("alice")
		c.send(`{"header":{},"payload":{"type":"\u0065cho","id":"1","data":1}}`)
		c.want(received("1", "echo"), good("1"))
	})

	// else: statusReport bad, connection stays
	for _, kind := range []string{"nobody's", "Echo", "echo ", "", " ", "echo/x", "#", "+", "/", "\n", "two", "ä"} {
		t.Run("no_handler_"+fmt.Sprintf("%q", kind), func(t *testing.T) {
			c := hub.withT(t).login("bob")
			c.send(message(kind, "1", "1"))
			c.wantBad(`"1"`)
			c.wantAlive()
		})
	}
}

// statusReport and receivedMessage, and the order in which they come.
func TestReport(t *testing.T) {
	t.Parallel()
	hub := start(t, serverConf{handlers: []string{"mine", "yours", "slow", "quick", "twice"}})
	hub.answer("mine", toUsers("alice"))
	hub.answer("yours", toUsers("bob"))
	hub.answer("quick", toUsers("alice", "bob"))

	// statusReport: {"header":{"messageType":"statusReport","status":"good"|"bad"},"payload":{"id":ID}}
	t.Run("statusReport_good", func(t *testing.T) {
		c := hub.withT(t).login("alice")
		c.send(message("yours", "an id", "1"))
		c.want(`{"header":{"messageType":"statusReport","status":"good"},"payload":{"id":"an id"}}`)
	})
	// a statusReport may carry more beside the original's fields (reason in its
	// header); nothing that the original sends is missing or renamed
	t.Run("statusReport_bad_with_a_reason", func(t *testing.T) {
		c := hub.withT(t).login("alice")
		c.send(message("nobody's", "an id", "1"))
		c.wantBad(`"an id"`)
	})
	// receivedMessage: {"header":{"messageType":"receivedMessage"},"payload":{"data":D,"type":LAST HANDLER'S TYPE}}
	t.Run("receivedMessage", func(t *testing.T) {
		hub := hub.withT(t)
		c, reader := hub.login("alice"), hub.login("bob")
		c.send(message("yours", "1", `{"a":1}`))
		reader.want(`{"header":{"messageType":"receivedMessage"},"payload":{"data":{"a":1},"type":"yours"}}`)
		c.want(good("1"))
	})

	// One statusReport per message, after its deliveries
	t.Run("one_status_per_message_after_its_deliveries", func(t *testing.T) {
		hub := hub.withT(t)
		c, reader := hub.login("alice"), hub.login("bob")
		for i := range 50 {
			data := fmt.Sprint(i)
			c.send(message("yours", data, data))
			c.want(good(data))
			reader.want(received(data, "yours")) // was in flight before the status
		}
		c.wantAlive()
		reader.wantAlive()
	})
	// if the sender is also a recipient its receivedMessage comes first
	t.Run("sender_as_recipient_gets_the_message_first", func(t *testing.T) {
		c := hub.withT(t).login("alice")
		for i := range 50 {
			data := fmt.Sprint(i)
			c.send(message("mine", data, data))
			c.want(received(data, "mine"), good(data))
		}
	})

	// Messages of one connection are handled in order
	t.Run("one_connection_in_order", func(t *testing.T) {
		hub := hub.withT(t)
		hub.answer("slow", func(data string) string {
			time.Sleep(5 * time.Millisecond) // slow is what it is
			return toUsers("alice", "bob")(data)
		})
		c, reader := hub.login("alice"), hub.login("bob")
		var all []string
		for i := range 60 {
			all = append(all, message([]string{"slow", "quick", "quick"}[i%3], fmt.Sprint(i), fmt.Sprint(i)))
		}
		c.send(all...)
		for i := range 60 {
			kind := []string{"slow", "quick", "quick"}[i%3]
			c.want(received(fmt.Sprint(i), kind), good(fmt.Sprint(i)))
			reader.want(received(fmt.Sprint(i), kind))
		}
	})

	// connections in parallel
	for name, second := range map[string]string{"of_two_users": "bob", "of_one_user": "alice"} {
		t.Run("connections_in_parallel_"+name, func(t *testing.T) {
			hub := hub.withT(t)
			both := make(chan bool)
			hub.serve("twice", func(h *handler, c *conn) {
				// Each is answered when the other has come.
				data, err := readFrame(c)
				if err != nil {
					return
				}
				select {
				case both <- true:
				case <-both:
				case <-time.After(10 * time.Second): // as long as the hub waits
					return // unanswered
				}
				c.Write(frame(toUsers()(data)))
			})
			one, two := hub.login("alice"), hub.login(second)
			one.send(message("twice", "1", "1"))
			two.send(message("twice", "2", "2"))
			one.want(good("1"))
			two.want(good("2"))
		})
	}

	// Half-close: frames already sent are answered, then closed
	t.Run("half-close", func(t *testing.T) {
		hub := hub.withT(t)
		hub.answer("slow", func(data string) string {
			time.Sleep(20 * time.Millisecond)
			return toUsers("alice")(data)
		})
		c := hub.login("alice")
		c.send(message("slow", "1", "1"), message("mine", "2", "2"), message("dummy", "3", "3"), message("slow", "4", "4"))
		c.halfClose()
		c.want(received("1", "slow"), good("1"), received("2", "mine"), good("2"),
			`{"header":{"status":"0"},"payload":{"data":null,"id":"3","type":"dummy"}}`,
			received("4", "slow"), good("4"))
		c.wantClosed()
	})
	t.Run("half-close_after_the_login", func(t *testing.T) {
		c := hub.withT(t).dial()
		c.send(login("alice", passwordOf("alice")))
		c.halfClose()
		c.want(loggedIn)
		c.wantClosed()
	})
	t.Run("half-close_inside_a_frame", func(t *testing.T) {
		c := hub.withT(t).login("alice")
		f := frame(message("mine", "2", "2"))
		c.write(append(frame(message("mine", "1", "1")), f[:len(f)-1]...))
		c.halfClose()
		c.want(received("1", "mine"), good("1"))
		c.wantClosed()
	})
}

// JSON that passes through keeps its bytes: number, order and escapes stay as the
// sender wrote them.
func TestPassThrough(t *testing.T) {
	t.Parallel()
	hub := start(t, serverConf{handlers: []string{"echo", "away", "far"}, peers: []string{"127.0.0.1"}})
	there := newServerStub(t, "tcp4", "127.0.0.1:0")
	echo := hub.answer("echo", toUsers("alice"))
	hub.answer("far", func(data string) string { return command("sendHandler", `"echo"`, data) })
	hub.answer("away", func(data string) string { return command("sendServers", list([]string{there.address}), data) })

	for name, data := range map[string]string{
		"fraction":         `0.1`,
		"exponent":         `1e2`,
		"exponents":        `[1E+2,1e-07,-0.0,-0,1.50,0.0e0]`,
		"long_integer":     `12345678901234567890123456789`,
		"long_fraction":    `3.14159265358979323846264338327950288`,
		"huge_exponent":    `1e999`,
		"order_of_keys":    `{"z":1,"a":2,"m":3,"Z":4}`,
		"key_twice":        `{"a":1,"a":2}`,
		"empty_key":        `{"":{"":[]}}`,
		"slash_escaped":    `"\/a/b\/"`,
		"unicode_escapes":  `"\u00e9\u00E9é\u0041\ud83d\ude00\u0000"`,
		"all_escapes":      `"\"\\\/\b\f\n\r\t"`,
		"DEL":              "\"\x7f\"",
		"line_separators":  "\"\u2028\u2029\"",
		"html":             `"<script>&'</script>"`,
		"white_space":      "{ \"a\" :\t[ 1 ,\r\n2 ] }",
		"half_a_surrogate": `"\ud800"`,
		"noncharacters":    "\"\ufffe\uffff\ufffd\"",
		"byte-order_mark":  "\"\ufeff\"",
		"literals":         `[true,false,null,"","{}"]`,
	} {
		t.Run(name, func(t *testing.T) {
			c := hub.withT(t).login("alice")
			for _, kind := range []string{"echo", "far"} {
				c.send(message(kind, "1", data))
				if got := <-echo.got; got != data {
					t.Errorf("the handler got %q, want %q", got, data)
				}
				c.want(received(data, "echo"), good("1"))
			}
			c.send(message("away", "1", data))
			if got, want := <-there.received, `{"header":{"scope":"server"},"payload":{"data":`+data+`,"type":"away"`; !strings.HasPrefix(got, want) {
				t.Errorf("the server got %q, want %q…", got, want)
			}
			c.want(good("1"))
			s := hub.withT(t).dial()
			s.send(serverMessage("echo", data))
			c.want(received(data, "echo"))
			s.wantClosed()
			<-echo.got
		})
	}
}
