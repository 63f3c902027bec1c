package classictest

import (
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
)

// A serverStub stands in for another server: it takes what is sent to it, says nothing and
// closes, as the original does.
type serverStub struct {
	address  string
	received chan string // one frame of each connection
}

func newServerStub(t *testing.T, network, address string) *serverStub {
	t.Helper()
	l := listenTCP(t, network, address)
	p := &serverStub{l.Addr().String(), make(chan string, 1000)}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				body, err := readFrame(c)
				if err != nil {
					body = fmt.Sprintf("no frame: %v", err)
				} else if rest, _ := io.ReadAll(c); len(rest) > 0 {
					body = fmt.Sprintf("%d bytes more than one frame", len(rest))
				}
				p.received <- body
			}()
		}
	}()
	return p
}

// port is the port alone.
func (p *serverStub) port() string {
	_, port, _ := net.SplitHostPort(p.address)
	return port
}

// Server to hub.
func TestServer(t *testing.T) {
	t.Parallel()
	hub := start(t, serverConf{handlers: []string{"echo", "slow", "chain"}, peers: []string{"127.0.0.1"}})
	echo := hub.answer("echo", toUsers("alice"))
	hub.answer("chain", func(data string) string { return command("sendHandler", `"echo"`, data) })
	reader := hub.login("alice")

	withID := func(kind, id, data string) string {
		return fmt.Sprintf(`{"header":{"scope":"server"},"payload":{"type":%s,"data":%s,"id":%s}}`, quote(kind), data, quote(id))
	}

	// dispatched at once like a client's
	t.Run("dispatched_at_once", func(t *testing.T) {
		s := hub.withT(t).dial()
		s.send(withID("echo", "1", `"at once"`))
		reader.want(received(`"at once"`, "echo"))
	})
	t.Run("dispatched_like_a_client's", func(t *testing.T) {
		s := hub.withT(t).dial()
		s.send(withID("chain", "1", `"through two"`))
		reader.want(received(`"through two"`, "echo"))
		s.want(good("1"))
		s.wantClosed()
	})
	// answered (statusReport) where it has an id, then closed
	t.Run("answered_where_it_has_an_id", func(t *testing.T) {
		for _, id := range []string{"1", "", "ä \"quoted\""} {
			s := hub.withT(t).dial()
			s.send(withID("echo", id, "1"))
			s.want(good(id))
			s.wantClosed()
			reader.want(received("1", "echo"))
		}
	})
	t.Run("answered_bad_where_it_has_an_id", func(t *testing.T) {
		s := hub.withT(t).dial()
		s.send(withID("nobody's", "1", "1"))
		s.wantBad(`"1"`)
		s.wantClosed()
	})
	// id is optional here, and an original's frame is dispatched
	t.Run("an_original's_frame_is_dispatched", func(t *testing.T) {
		s := hub.withT(t).dial()
		s.send(`{"header":{"scope":"server"},"payload":{"data":"from an original","type":"echo"}}`)
		s.wantClosed()
		reader.want(received(`"from an original"`, "echo"))
	})
	t.Run("an_original_that_closes_at_once_is_dispatched", func(t *testing.T) {
		s := hub.withT(t).dial()
		s.send(serverMessage("echo", `"and gone"`))
		s.Close()
		reader.want(received(`"and gone"`, "echo"))
	})
	// one frame a connection
	t.Run("one_frame_a_connection", func(t *testing.T) {
		s := hub.withT(t).dial()
		s.send(withID("echo", "1", `"first"`), withID("echo", "2", `"second"`))
		s.want(good("1"))
		s.wantClosed()
		reader.want(received(`"first"`, "echo"))
		reader.wantAlive() // and nothing more came
	})
	// the scope is fixed by the first frame: a server is no user
	t.Run("a_server_is_no_user", func(t *testing.T) {
		hub := hub.withT(t)
		block := make(chan bool)
		hub.answer("slow", func(data string) string {
			<-block
			return toUsers()(data)
		})
		i := dial(t, hub.informer())
		s := hub.dial()
		s.send(withID("slow", "1", "1"))
		i.send(`{"command":{"type":"listClients"}}`)
		i.want(`{"data":["alice"],"status":"0"}`)
		close(block)
		s.want(good("1"))
	})

	for name, body := range map[string]string{
		"no_payload":   `{"header":{"scope":"server"}}`,
		"payload_list": `{"header":{"scope":"server"},"payload":[]}`,
		"no_type":      `{"header":{"scope":"server"},"payload":{"data":"refused"}}`,
		"type_number":  `{"header":{"scope":"server"},"payload":{"type":1,"data":"refused"}}`,
		"no_data":      `{"header":{"scope":"server"},"payload":{"type":"echo"}}`,
		"id_number":    `{"header":{"scope":"server"},"payload":{"type":"echo","data":"refused","id":1}}`,
		"malformed":    `{"header":{"scope":"server"},"payload":{"type":"echo","data":"refused"}`,
	} {
		t.Run("closed_"+name, func(t *testing.T) {
			s := hub.withT(t).dial()
			s.send(body)
			if got, err := s.next(); err == nil {
				wantBad(t, got, `""`)
				s.wantClosed()
			}
		})
	}
	t.Run("nothing_of_all_that_was_dispatched", func(t *testing.T) {
		for len(echo.got) > 0 {
			if got := <-echo.got; got == `"refused"` {
				t.Errorf("the handler got %s", got)
			}
		}
	})
}

// a classic server frame is refused (closed, nothing dispatched) unless the config
// lists the peer: a list of addresses or CIDR ranges, or "open"
func TestPeers(t *testing.T) {
	skipInEmulator(t)
	t.Parallel()
	both := object{
		"types": []string{"tcp4", "tcp6"},
		"tcp4":  object{"address": "127.0.0.1", "port": "0"}, "tcp6": object{"address": "::1", "port": "0"},
	}
	if !hasIPv6() {
		both["types"] = []string{"tcp4"}
	}
	for name, p := range map[string]struct {
		peers    any
		in4, in6 bool
	}{
		"none":               {nil, false, false},
		"empty_list":         {[]string{}, false, false},
		"address":            {[]string{"127.0.0.1"}, true, false},
		"other_address":      {[]string{"127.0.0.2", "10.0.0.1"}, false, false},
		"range":              {[]string{"127.0.0.1", "10.4.0.0/16"}, true, false},
		"range_around":       {[]string{"10.4.0.0/16", "127.0.0.0/8"}, true, false},
		"range_of_no_effect": {[]string{"128.0.0.0/8"}, false, false},
		"IPv6_address":       {[]string{"::1"}, false, true},
		"IPv6_range":         {[]string{"::/64"}, false, true},
		"open":               {"open", true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			network := object{}
			for k, v := range both {
				network[k] = v
			}
			hub := start(t, serverConf{handlers: []string{"echo"}, network: network, peers: p.peers})
			echo := hub.answer("echo", toUsers("alice"))
			refused := 0
			try := func(network, address string, in bool) {
				s := dial(t, hub.listener(network))
				s.send(`{"header":{"scope":"server"},"payload":{"type":"echo","data":"let me in","id":"1"}}`)
				if in {
					s.want(good("1"))
					if got := <-echo.got; got != `"let me in"` {
						t.Errorf("the handler got %s", got)
					}
				}
				s.wantClosed()
				if in {
					return
				}
				// a refusal is logged with the line to add; not each of very many
				if refused++; refused == 1 {
					if line := hub.wantLog("network.peers"); !strings.Contains(line, address) {
						t.Errorf("no %s in %q", address, line)
					}
				}
			}
			try("tcp4", "127.0.0.1", p.in4)
			if hasIPv6() {
				try("tcp6", "::1", p.in6)
			}
			if len(echo.got) > 0 {
				t.Errorf("the handler got %s", <-echo.got)
			}
			// or "open" with a warning in the log at each start
			warning := regexp.MustCompile(`(?i)warn.*peers`).MatchString(strings.Split(hub.log.String(), "refused")[0])
			if warning != (p.peers == "open") {
				t.Errorf("warning at the start: %v\n%s", warning, hub.log)
			}
		})
	}
}

func hasIPv6() bool {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		return false
	}
	l.Close()
	return true
}
