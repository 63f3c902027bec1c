package classictest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// What the hub sends to a handler, and what it makes of the answer.
func TestHandler(t *testing.T) {
	t.Parallel()
	hub := start(t, serverConf{handlers: []string{"echo", "odd"}})
	echo := hub.answer("echo", toUsers("alice"))

	// Per message: connect to the handler's path, send only payload.data as one frame
	// (no type, id or sender), read one frame, close
	t.Run("one_connection_a_message", func(t *testing.T) {
		hub := hub.withT(t)
		hub.serve("odd", func(h *handler, c *conn) {
			data, err := readFrame(c)
			if want := `{"only":["the","data"]}`; err != nil || data != want {
				t.Errorf("got %q, %v, want %s", data, err, want)
			}
			c.Write(frame(toUsers()(data)))
			// The hub closes without another byte.
			if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil {
				t.Errorf("a byte more")
			}
		})
		c := hub.login("alice")
		for i := range 10 {
			before := echo.accepted.Load()
			c.send(message("odd", fmt.Sprint(i), `{"only":["the","data"]}`), message("echo", "1", "1"))
			c.want(good(fmt.Sprint(i)), received("1", "echo"), good("1"))
			if n := echo.accepted.Load() - before; n != 1 {
				t.Fatalf("%d connections for one message", n)
			}
		}
	})

	answered := func(t *testing.T, f func(h *handler, c *conn)) *conn {
		hub := hub.withT(t)
		hub.serve("odd", f)
		c := hub.login("alice")
		c.send(message("odd", "7", `"data"`))
		return c
	}
	says := func(body string) func(*handler, *conn) {
		return func(h *handler, c *conn) {
			readFrame(c)
			c.Write(frame(body))
		}
	}

	// status is a string holding an unsigned number, 0 = fine ("00" too)
	for _, status := range []string{`"0"`, `"00"`, `"000000000000000000000000000000000"`, `"\u0030"`} {
		t.Run("status_good_"+status, func(t *testing.T) {
			c := answered(t, says(`{"header":{"status":`+status+`,"command":{"type":"sendClients","data":["alice"]}},"data":1}`))
			c.want(received("1", "odd"), good("7"))
		})
	}
	t.Run("keys_in_any_order", func(t *testing.T) {
		c := answered(t, says(` {"more":[1],"data" : 1 , "header":{"x":{},"command":{"y":0,"data":["alice"],"type":"sendClients"},"status":"0"}} `))
		c.want(received("1", "odd"), good("7"))
	})

	// Anything else (other status, number instead of string, missing, malformed, short
	// frame, no answer, nobody listening, command not an object): statusReport bad,
	// connection stays.
	status := func(s string) string {
		return `{"header":{"status":` + s + `,"command":{"type":"sendClients","data":["alice"]}},"data":"refused"}`
	}
	for name, body := range map[string]string{
		"status_1":               status(`"1"`),
		"status_01":              status(`"01"`),
		"status_long":            status(`"10000000000000000000000000000000"`),
		"status_2^64":            status(`"18446744073709551616"`),
		"status_2^32":            status(`"4294967296"`),
		"status_number_0":        status(`0`),
		"status_number_1":        status(`1`),
		"status_empty":           status(`""`),
		"status_text":            status(`"good"`),
		"status_minus":           status(`"-0"`),
		"status_plus":            status(`"+0"`),
		"status_space":           status(`" 0"`),
		"status_fraction":        status(`"0.0"`),
		"status_hexadecimal":     status(`"0x0"`),
		"status_null":            status(`null`),
		"status_bool":            status(`false`),
		"status_list":            status(`["0"]`),
		"status_missing":         `{"header":{"command":{"type":"sendClients","data":["alice"]}},"data":"refused"}`,
		"header_missing":         `{"data":"refused"}`,
		"header_text":            `{"header":"0","data":"refused"}`,
		"empty_object":           `{}`,
		"no_object":              `["0"]`,
		"empty_frame":            ``,
		"malformed":              `{"header":{"status":"0",}`,
		"trailing_bytes":         toUsers("alice")(`"refused"`) + "x",
		"NaN":                    toUsers("alice")(`NaN`),
		"byte-order_mark":        "\ufeff" + toUsers("alice")(`"refused"`),
		"not_UTF-8":              toUsers("alice")("\"\xff\""),
		"command_missing":        `{"header":{"status":"0"},"data":"refused"}`,
		"command_null":           `{"header":{"status":"0","command":null},"data":"refused"}`,
		"command_text":           `{"header":{"status":"0","command":"sendClients"},"data":"refused"}`,
		"command_list":           `{"header":{"status":"0","command":["sendClients",["alice"]]},"data":"refused"}`,
		"data_missing":           `{"header":{"status":"0","command":{"type":"sendClients","data":["alice"]}}}`,
		"million_brackets":       strings.Repeat("[", 1_000_000),
		"million_brackets_in_it": toUsers("alice")(strings.Repeat("[", 900_000)),
	} {
		t.Run("bad_"+name, func(t *testing.T) {
			c := answered(t, says(body))
			c.wantBad(`"7"`)
			c.wantAlive()
		})
	}
	for name, f := range map[string]func(h *handler, c *conn){
		"no_answer":          func(h *handler, c *conn) { readFrame(c) },
		"closed_at_once":     func(h *handler, c *conn) {},
		"short_length":       func(h *handler, c *conn) { readFrame(c); c.Write([]byte{9, 0}) },
		"length_alone":       func(h *handler, c *conn) { readFrame(c); c.Write([]byte{9, 0, 0, 0}) },
		"short_frame":        func(h *handler, c *conn) { readFrame(c); f := frame(toUsers()("1")); c.Write(f[:len(f)-1]) },
		"length_of_4_GiB":    func(h *handler, c *conn) { readFrame(c); c.Write([]byte{0xff, 0xff, 0xff, 0xff}) },
		"negative_length":    func(h *handler, c *conn) { readFrame(c); c.Write([]byte{0, 0, 0, 0x80}); c.Write(make([]byte, 999)) },
		"random_bytes":       func(h *handler, c *conn) { readFrame(c); c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) },
		"text_with_newlines": func(h *handler, c *conn) { readFrame(c); c.Write([]byte(toUsers()("1") + "\n")) },
	} {
		t.Run("bad_"+name, func(t *testing.T) {
			c := answered(t, f)
			c.wantBad(`"7"`)
			c.wantAlive()
		})
	}
	t.Run("bad_nobody_listens", func(t *testing.T) {
		path := filepath.Join(hub.dir, socketOf("odd"))
		os.Remove(path)
		c := hub.withT(t).login("alice")
		c.send(message("odd", "7", "1")) // no socket at all
		c.wantBad(`"7"`)
		h := hub.withT(t).answer("odd", toUsers("alice"))
		c.send(message("odd", "8", "1")) // somebody has come
		c.want(received("1", "odd"), good("8"))
		h.close()
		c.send(message("odd", "9", "1")) // a socket that nobody is behind
		c.wantBad(`"9"`)
		c.wantAlive()
	})
	t.Run("bad_socket_is_a_file", func(t *testing.T) {
		path := filepath.Join(hub.dir, socketOf("odd"))
		os.Remove(path)
		if err := os.WriteFile(path, nil, 0o755); err != nil {
			t.Fatal(err)
		}
		defer os.Remove(path)
		c := hub.withT(t).login("alice")
		c.send(message("odd", "7", "1"))
		c.wantBad(`"7"`)
		c.wantAlive()
	})
	// The answer of a handler that does not care what it is sent.
	t.Run("answer_before_the_message_is_read", func(t *testing.T) {
		hub.withT(t).serve("odd", func(h *handler, c *conn) { c.Write(frame(toUsers("alice")("1"))) })
		c := hub.withT(t).login("alice")
		c.send(message("odd", "7", quote(strings.Repeat("x", 900_000))))
		c.want(received("1", "odd"), good("7"))
	})

	// Bytes after the handler's first frame are ignored.
	for name, more := range map[string]string{
		"frame": string(frame(toUsers("alice")(`"refused"`))), "bytes": "garbage", "NUL": "\x00",
		"length_of_4_GiB": "\xff\xff\xff\xff", "megabyte": strings.Repeat("x", 1<<20),
	} {
		t.Run("ignored_after_the_first_frame_"+name, func(t *testing.T) {
			c := answered(t, func(h *handler, c *conn) {
				readFrame(c)
				c.Write(append(frame(toUsers("alice")(`1`)), more...))
			})
			c.want(received("1", "odd"), good("7"))
			c.wantAlive()
		})
	}
}

// Any other command, C of the wrong JSON type: bad.
func TestBadCommand(t *testing.T) {
	t.Parallel()
	hub := start(t, serverConf{handlers: []string{"odd"}})
	there := newServerStub(t, "tcp4", "127.0.0.1:0")
	_, port, _ := net.SplitHostPort(there.address)

	answers := map[string]string{
		"type_missing": `{"header":{"status":"0","command":{"data":["alice"]}},"data":1}`,
		"type_null":    `{"header":{"status":"0","command":{"type":null,"data":["alice"]}},"data":1}`,
		"type_number":  `{"header":{"status":"0","command":{"type":1,"data":["alice"]}},"data":1}`,
	}
	// the original treats any other command as sendClients. ours: bad
	for _, kind := range []string{"", "sendclients", "SendClients", "sendClients ", "sendClient", "drop", "reply", "pass", "close", "x"} {
		answers["type_"+strconv.Quote(kind)] = command(kind, `["alice"]`, "1")
	}
	for _, kind := range []string{"sendClients", "sendServers", "sendHandler"} {
		answers[kind+"_data_missing"] = `{"header":{"status":"0","command":{"type":"` + kind + `"}},"data":1}`
		wrong := []string{`null`, `true`, `1`, `{}`, `{"0":"alice"}`}
		switch kind {
		case "sendHandler":
			wrong = append(wrong, `["odd"]`, `[]`)
		case "sendClients":
			wrong = append(wrong, `"alice"`, `["alice",1]`, `["alice",null]`, `[["alice"]]`, `[{}]`)
		case "sendServers":
			wrong = append(wrong, quote(there.address), `[`+port+`]`, `[`+quote(there.address)+`,null]`, `[[`+quote(there.address)+`]]`)
		}
		for _, w := range wrong {
			answers[kind+"_"+w] = command(kind, w, "1")
		}
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			hub := hub.withT(t)
			hub.reply("odd", answer)
			c := hub.login("alice")
			c.send(message("odd", "1", "1"))
			c.wantBad(`"1"`)
			c.wantAlive()
		})
	}
	if len(there.received) > 0 {
		t.Errorf("a server got %s", <-there.received)
	}
}
