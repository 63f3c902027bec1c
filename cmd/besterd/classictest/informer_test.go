package classictest

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// Informer (UNIX socket, bInformer in the working directory)
func TestInformer(t *testing.T) {
	t.Parallel()
	hub := start(t, serverConf{admin: "the hub in the greenhouse"})
	ask := func(kind string) string { return `{"command":{"type":` + quote(kind) + `}}` }
	isClient := func(name string) string { return `{"command":{"type":"isClient","data":` + quote(name) + `}}` }

	// listClients: names of connected users. ours: live ones, each once per session
	clients := func(i *conn) []string {
		t.Helper()
		i.send(ask("listClients"))
		var answer struct {
			Data   []string
			Status string
		}
		got := i.recv()
		if err := json.Unmarshal([]byte(got), &answer); err != nil || answer.Status != "0" {
			t.Fatalf("%s: %v", got, err)
		}
		slices.Sort(answer.Data)
		return answer.Data
	}
	until := func(t *testing.T, i *conn, names ...string) {
		t.Helper()
		eventually(t, "clients "+strings.Join(names, ", "), func() bool { return slices.Equal(clients(i), names) })
	}
	t.Run("listClients_nobody", func(t *testing.T) {
		i := dial(t, hub.informer())
		i.send(ask("listClients"))
		i.want(`{"data":[],"status":"0"}`)
	})
	t.Run("listClients_once_per_session", func(t *testing.T) {
		hub := hub.withT(t)
		i := dial(t, hub.informer())
		until(t, i)
		one, two, bob := hub.login("alice"), hub.login("alice"), hub.login("bob")
		if got := clients(i); !slices.Equal(got, []string{"alice", "alice", "bob"}) {
			t.Errorf("got %q", got)
		}
		// live ones
		one.Close()
		until(t, i, "alice", "bob")
		bob.Close()
		until(t, i, "alice")
		two.Close()
		until(t, i)
	})
	t.Run("listClients_without_those_not_logged_in", func(t *testing.T) {
		hub := hub.withT(t)
		i := dial(t, hub.informer())
		hub.dial()
		c := hub.dial()
		c.send(login("alice", "wrong"))
		c.wantBad(`"auth_special"`)
		i.send(ask("listClients"))
		i.want(`{"data":[],"status":"0"}`)
	})
	t.Run("listClients_with_accents", func(t *testing.T) {
		hub := hub.withT(t)
		i := dial(t, hub.informer())
		until(t, i)
		hub.login("Frédéric")
		i.send(ask("listClients"))
		i.want(`{"data":["Frédéric"],"status":"0"}`)
	})

	// isClient, data = name: true if that user is connected
	t.Run("isClient", func(t *testing.T) {
		hub := hub.withT(t)
		i := dial(t, hub.informer())
		until(t, i)
		alice := hub.login("alice")
		i.send(isClient("alice"), isClient("bob"), isClient("Alice"), isClient(""))
		i.want(`{"data":true,"status":"0"}`, `{"data":false,"status":"0"}`, `{"data":false,"status":"0"}`, `{"data":false,"status":"0"}`)
		alice.Close()
		until(t, i)
		i.send(isClient("alice"))
		i.want(`{"data":false,"status":"0"}`)
	})

	// serverInfo: clientCount is a string; live sessions, and adminInfo is the config's admin.info
	t.Run("serverInfo", func(t *testing.T) {
		hub := hub.withT(t)
		i := dial(t, hub.informer())
		until(t, i)
		hub.login("alice")
		hub.login("alice")
		hub.login("bob")
		i.send(ask("serverInfo"))
		i.want(`{"data":{"adminInfo":"the hub in the greenhouse","clientCount":"3","listeners":{"listener0":{"address":"tcp4://` +
			hub.host() + `"}}},"status":"0"}`)
	})
	t.Run("serverInfo_of_several_listeners_and_any_admin_info", func(t *testing.T) {
		hub := start(t, serverConf{
			admin: object{"contact": "root", "floors": []any{1, 2.5, true}},
			network: object{
				"types": []string{"unix", "tcp4"}, "unix": object{"address": "clients"},
				"tcp4": object{"address": "127.0.0.1", "port": "0"},
			},
		})
		i := dial(t, hub.informer())
		i.send(ask("serverInfo"))
		var answer struct {
			Data struct {
				AdminInfo   json.RawMessage
				ClientCount string
				Listeners   map[string]struct{ Address string }
			}
			Status string
		}
		got := i.recv()
		if err := json.Unmarshal([]byte(got), &answer); err != nil {
			t.Fatalf("%v in %s", err, got)
		}
		d := answer.Data
		if string(d.AdminInfo) != `{"contact":"root","floors":[1,2.5,true]}` || d.ClientCount != "0" || len(d.Listeners) != 2 {
			t.Errorf("got %s", got)
		}
		addresses := []string{d.Listeners["listener0"].Address, d.Listeners["listener1"].Address}
		slices.Sort(addresses)
		if want := []string{"tcp4://" + hub.host(), "unix://clients"}; !slices.Equal(addresses, want) {
			t.Errorf("listeners %q, want %q", addresses, want)
		}
	})
	t.Run("serverInfo_without_admin_info", func(t *testing.T) {
		hub := start(t, serverConf{})
		i := dial(t, hub.informer())
		i.send(ask("serverInfo"))
		if got := i.recv(); !strings.HasPrefix(got, `{"data":{"adminInfo":"","clientCount":"0","listeners":{"listener0":`) {
			t.Errorf("got %s", got)
		}
	})

	// quit: {"data":null,"status":"0"}, then closed
	t.Run("quit", func(t *testing.T) {
		i := dial(t, hub.informer())
		i.send(ask("quit"), ask("listClients"))
		i.want(`{"data":null,"status":"0"}`)
		i.wantClosed()
	})
	// many per connection
	t.Run("many_per_connection", func(t *testing.T) {
		i := dial(t, hub.informer())
		for range 1000 {
			i.send(isClient("nobody"))
			i.want(`{"data":false,"status":"0"}`)
		}
	})
	t.Run("many_connections", func(t *testing.T) {
		for range 50 {
			i := dial(t, hub.informer())
			i.send(isClient("nobody"))
			i.want(`{"data":false,"status":"0"}`)
		}
	})

	for name, c := range map[string]struct{ ask, want string }{
		// unknown, or isClient without data: {"data":null,"status":"1"}
		"unknown":                {ask("listServers"), `{"data":null,"status":"1"}`},
		"unknown_other_case":     {ask("ListClients"), `{"data":null,"status":"1"}`},
		"unknown_empty":          {ask(""), `{"data":null,"status":"1"}`},
		"isClient_without_data":  {ask("isClient"), `{"data":null,"status":"1"}`},
		"isClient_with_null":     {`{"command":{"type":"isClient","data":null}}`, `{"data":null,"status":"1"}`},
		"isClient_with_a_number": {`{"command":{"type":"isClient","data":1}}`, `{"data":null,"status":"1"}`},
		// command missing, its type no string: {"status":"1"}
		"command_missing": {`{}`, `{"status":"1"}`},
		"command_null":    {`{"command":null}`, `{"status":"1"}`},
		"command_text":    {`{"command":"listClients"}`, `{"status":"1"}`},
		"type_missing":    {`{"command":{}}`, `{"status":"1"}`},
		"type_number":     {`{"command":{"type":1}}`, `{"status":"1"}`},
		"type_null":       {`{"command":{"type":null}}`, `{"status":"1"}`},
		"no_object":       {`["command"]`, `{"status":"1"}`},
	} {
		t.Run(name, func(t *testing.T) {
			i := dial(t, hub.informer())
			i.send(c.ask, isClient("nobody"))
			i.want(c.want, `{"data":false,"status":"0"}`)
		})
	}
	t.Run("data_where_none_is_wanted", func(t *testing.T) {
		i := dial(t, hub.informer())
		i.send(`{"more":1,"command":{"data":[{}],"type":"listClients"}}`)
		if got := i.recv(); !strings.HasSuffix(got, `],"status":"0"}`) {
			t.Errorf("got %s", got)
		}
	})

	// Malformed JSON → ours: {"status":"1"}, closed.
	for name, body := range map[string]string{
		"no_JSON": `listClients`, "empty": ``, "unended": `{"command":{"type":"listClients"}`, "trailing_comma": `{"command":{"type":"listClients",}}`,
		"trailing_bytes": ask("listClients") + "\n{}", "brackets": strings.Repeat("[", 4000), "not_UTF-8": "{\"command\":{\"type\":\"\xff\"}}",
	} {
		t.Run("malformed_"+name, func(t *testing.T) {
			i := dial(t, hub.informer())
			i.send(body, ask("listClients"))
			i.want(`{"status":"1"}`)
			i.wantClosed()
		})
	}
	t.Run("a_frame_over_the_limit_is_closed", func(t *testing.T) {
		hub := hub.withT(t)
		before := hub.status("VmRSS")
		for range 60 {
			i := dial(t, hub.informer())
			i.write([]byte{0xff, 0xff, 0xff, 0xff})
			if got, err := i.next(); err == nil && got != `{"status":"1"}` {
				t.Fatalf("got %s", got)
			}
			i.Close()
		}
		wantGrowth(t, hub, before, 8)
	})
	t.Run("ends_inside_a_frame", func(t *testing.T) {
		i := dial(t, hub.informer())
		i.write([]byte{9, 0, 0, 0, '{'})
		i.halfClose()
		if got, err := i.next(); err == nil && got != `{"status":"1"}` {
			t.Fatalf("got %s", got)
		}
	})
}
