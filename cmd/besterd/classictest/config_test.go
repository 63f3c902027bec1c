package classictest

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Config file server.conf: what is served.
func TestConfig(t *testing.T) {
	skipInEmulator(t)
	t.Parallel()

	// network.types (list of those to open), network.tcp4|tcp6.{address,port} (port is a
	// string), network.unix.address
	listeners := object{
		"tcp4": object{"address": "127.0.0.1", "port": "0"},
		"tcp6": object{"address": "::1", "port": "0"},
		"unix": object{"address": "clients.sock"},
	}
	all := []string{"tcp4", "unix"}
	if hasIPv6() {
		all = append(all, "tcp6")
	}
	for _, network := range []string{"tcp4", "tcp6", "unix"} {
		t.Run("listener_"+network, func(t *testing.T) {
			if network == "tcp6" && !hasIPv6() {
				t.Skip("this machine has no ::1")
			}
			// all are configured, one is to be opened
			block := object{"types": []string{network}}
			for k, v := range listeners {
				block[k] = v
			}
			hub := start(t, serverConf{handlers: []string{"echo"}, network: block})
			hub.answer("echo", toUsers("alice"))
			if len(hub.listeners) != 1 {
				t.Errorf("listeners %q, want %s alone", hub.listeners, network)
			}
			// listeners addresses print as tcp4://A:P
			prefix := map[string]string{"tcp4": "tcp4://127.0.0.1:", "tcp6": "tcp6://[::1]:", "unix": "unix://clients.sock"}
			if !strings.HasPrefix(hub.listeners[0], prefix[network]) {
				t.Errorf("listener %q", hub.listeners[0])
			}
			c := hub.login("alice")
			c.send(message("echo", "1", `"over `+network+`"`))
			c.want(received(`"over `+network+`"`, "echo"), good("1"))
			if _, err := os.Stat(filepath.Join(hub.dir, "clients.sock")); (err == nil) != (network == "unix") {
				t.Errorf("the UNIX socket: %v", err)
			}
		})
	}
	t.Run("listeners_all", func(t *testing.T) {
		block := object{"types": all}
		for k, v := range listeners {
			block[k] = v
		}
		hub := start(t, serverConf{handlers: []string{"echo"}, network: block})
		hub.answer("echo", toUsers("alice"))
		var readers []*conn
		for _, network := range all {
			c := dial(t, hub.listener(network))
			c.send(login("alice", passwordOf("alice")))
			c.want(loggedIn)
			readers = append(readers, c)
		}
		c := hub.login("bob")
		c.send(message("echo", "1", "1"))
		c.want(good("1"))
		for _, r := range readers {
			r.want(received("1", "echo"))
		}
	})
	// ours: the UNIX listener works; and a client there logs in like any other
	t.Run("unix_needs_a_password_too", func(t *testing.T) {
		hub := start(t, serverConf{network: object{"types": []string{"unix"}, "unix": object{"address": "clients.sock"}}})
		c := hub.dial()
		c.send(login("alice", "wrong"))
		c.wantBad(`"auth_special"`)
		c.wantClosed()
	})
	t.Run("unix_socket_left_by_a_dead_hub", func(t *testing.T) {
		dir := workDir(t)
		block := object{"types": []string{"unix"}, "unix": object{"address": "clients.sock"}}
		dead := startIn(t, dir, serverConf{network: block})
		dead.cmd.Process.Kill()
		<-dead.exited
		dead.stopped = true
		hub := startIn(t, dir, serverConf{network: block})
		hub.login("alice").wantAlive()
	})
	t.Run("sockets_are_gone_after_the_end", func(t *testing.T) {
		hub := start(t, serverConf{network: object{"types": []string{"unix"}, "unix": object{"address": "clients.sock"}}})
		hub.terminate()
		for _, name := range []string{"clients.sock", "bInformer"} {
			if _, err := os.Lstat(filepath.Join(hub.dir, name)); err == nil {
				t.Errorf("%s is still there", name)
			}
		}
	})

	// handlers.availableTypes: what is in typeMap alone has no handler
	t.Run("only_available_types_have_handlers", func(t *testing.T) {
		dir := workDir(t)
		writeConf(t, dir, `{"network":{"types":["tcp4"],"tcp4":{"address":"127.0.0.1","port":"0"}},
			"handlers":{"availableTypes":["one"],"typeMap":{
				"one":{"handlerBinary":"","unixDomainSocketPath":"one.sock"},
				"two":{"handlerBinary":"","unixDomainSocketPath":"one.sock"}}},
			"database":{"type":"file","file":{"path":"accounts"}}}`)
		hub := launch(t, dir)
		hub.answer("one", toUsers("alice"))
		c := hub.login("alice")
		c.send(message("one", "1", "1"), message("two", "2", "2"))
		c.want(received("1", "one"), good("1"))
		c.wantBad(`"2"`)
	})
	// paths relative to the working directory
	t.Run("paths_are_relative_to_the_working_directory", func(t *testing.T) {
		dir := workDir(t)
		for _, sub := range []string{"etc", "run"} {
			if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		os.Rename(filepath.Join(dir, "accounts"), filepath.Join(dir, "etc", "accounts"))
		file := filepath.Join("etc", "server.conf")
		if err := os.WriteFile(filepath.Join(dir, file), []byte(`{"network":{"types":["unix"],"unix":{"address":"run/clients"}},
			"handlers":{"availableTypes":["echo"],"typeMap":{"echo":{"unixDomainSocketPath":"run/../echo.sock"}}},
			"database":{"type":"file","file":{"path":"etc/accounts"}}}`), 0o644); err != nil {
			t.Fatal(err)
		}
		hub := launch(t, dir, file)
		hub.answer("echo", toUsers("alice"))
		c := dial(t, "unix://"+filepath.Join(dir, "run", "clients"))
		c.send(login("alice", passwordOf("alice")), message("echo", "1", "1"))
		c.want(loggedIn, received("1", "echo"), good("1"))
		i := dial(t, hub.informer()) // in the working directory, too
		i.send(`{"command":{"type":"quit"}}`)
		i.want(`{"data":null,"status":"0"}`)
	})

	// every block may be missing
	const network = `"network":{"types":["tcp4"],"tcp4":{"address":"127.0.0.1","port":"0"}}`
	const handlers = `"handlers":{"availableTypes":[],"typeMap":{}}`
	t.Run("without_database_and_admin", func(t *testing.T) {
		dir := workDir(t)
		writeConf(t, dir, `{`+network+`,`+handlers+`}`)
		hub := launch(t, dir)
		hub.dial()
	})
	t.Run("without_typeMap", func(t *testing.T) {
		dir := workDir(t)
		writeConf(t, dir, `{`+network+`,"handlers":{"availableTypes":[]}}`)
		launch(t, dir)
	})
	t.Run("without_handlers", func(t *testing.T) {
		dir := workDir(t)
		writeConf(t, dir, `{`+network+`}`)
		launch(t, dir)
	})
	t.Run("without_network", func(t *testing.T) {
		// It then listens on the default port, which may be another's: what counts is that
		// the file is not what it complains of.
		dir := workDir(t)
		writeConf(t, dir, `{`+handlers+`}`)
		cmd := programCommand(bester, "check", "server.conf")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("bester check: %v\n%s", err, out)
		}
	})
	// the original's file, but for its database, whose block may stay
	t.Run("an_original's_file", func(t *testing.T) {
		dir := workDir(t)
		writeConf(t, dir, `{
	"network" : {
		"types" : ["unix", "tcp4"],
		"unix" : {"address" : "besterUNIXSock"},
		"tcp4" : {"address" : "127.0.0.1", "port" : "0"},
		"tcp6" : {"address" : "::1", "port" : "2224"}
	},
	"handlers" : {
		"availableTypes" : ["type1", "type2"],
		"typeMap" : {
			"type1" : {"handlerBinary" : "./testing/unixSock.py", "unixDomainSocketPath" : "aSock"},
			"type2" : {"handlerBinary" : "./testing/unixSock.py", "unixDomainSocketPath" : "bSock"}
		}
	},
	"database" : {"type" : "file", "file" : {"path" : "accounts"}, "redis" : {"address" : "127.0.0.1", "port" : "6379"}},
	"admin" : {"info" : {"name" : "Tristan"}}
}
`)
		hub := launch(t, dir)
		c := dial(t, hub.listener("tcp4"))
		c.send(login("alice", passwordOf("alice")), message("type1", "1", "1"))
		c.want(loggedIn)
		c.wantBad(`"1"`) // nobody is there yet
		c.wantAlive()
	})
	// the accounts file that `bester account` keeps
	t.Run("accounts_are_kept_by_bester_account", func(t *testing.T) {
		hub := start(t, serverConf{})
		account := func(password string, args ...string) {
			t.Helper()
			cmd := programCommand(bester, append([]string{"account"}, args...)...)
			cmd.Dir = hub.dir
			cmd.Stdin = strings.NewReader(password + "\n")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %v\n%s", cmd, err, out)
			}
		}
		try := func(password string, in bool) {
			t.Helper()
			c := hub.dial()
			c.send(login("grace", password))
			if in {
				c.want(loggedIn)
			} else {
				c.wantBad(`"auth_special"`)
			}
		}
		try("a new word", false)
		account("a new word", "add", "--file", "accounts", "--cost", "4", "grace")
		try("a new word", true)
		account("another word", "passwd", "--file", "accounts", "--cost", "4", "grace")
		try("another word", true)
		try("a new word", false)
		account("", "remove", "--file", "accounts", "grace")
		try("another word", false)
	})
}

// A wrong file: a clear error and exit 1.
func TestConfigRefused(t *testing.T) {
	skipInEmulator(t)
	t.Parallel()
	const network = `"network":{"types":["tcp4"],"tcp4":{"address":"127.0.0.1","port":"0"}}`
	const handlers = `"handlers":{"availableTypes":[],"typeMap":{}}`
	const database = `"database":{"type":"file","file":{"path":"accounts"}}`
	for name, c := range map[string]struct{ content, want string }{
		// redis is refused with a clear error that says what to use instead
		"redis":            {`{` + network + `,` + handlers + `,"database":{"type":"redis","redis":{"address":"127.0.0.1","port":"6379"}}}`, `{"type":"file","file":{"path":"accounts"}}`},
		"unknown_database": {`{` + network + `,` + handlers + `,"database":{"type":"mysql"}}`, "mysql"},
		"database_no_type": {`{` + network + `,` + handlers + `,"database":{"file":{"path":"accounts"}}}`, "database.type"},
		// an unknown key
		"unknown_block":          {`{` + network + `,` + handlers + `,` + database + `,"cache":{}}`, "cache"},
		"unknown_key_in_network": {`{"network":{"types":["tcp4"],"tcp4":{"address":"127.0.0.1","port":"0","backlog":1}},` + handlers + `}`, "backlog"},
		"unknown_key_in_handler": {`{` + network + `,"handlers":{"availableTypes":["a"],"typeMap":{"a":{"unixDomainSocketPath":"a","timeout":1}}}}`, "timeout"},
		"key_of_another_case":    {`{"Network":{},` + handlers + `}`, "Network"},
		"key_twice":              {`{` + network + `,` + network + `,` + handlers + `}`, "network"},
		// a wrong type
		"port_number":      {`{"network":{"types":["tcp4"],"tcp4":{"address":"127.0.0.1","port":2223}},` + handlers + `}`, `want a string: "2223"`},
		"port_name":        {`{"network":{"types":["tcp4"],"tcp4":{"address":"127.0.0.1","port":"http"}},` + handlers + `}`, `"http"`},
		"port_too_high":    {`{"network":{"types":["tcp4"],"tcp4":{"address":"127.0.0.1","port":"65536"}},` + handlers + `}`, `"65536"`},
		"types_text":       {`{"network":{"types":"tcp4","tcp4":{"address":"127.0.0.1","port":"0"}},` + handlers + `}`, "network.types"},
		"unknown_network":  {`{"network":{"types":["udp"]},` + handlers + `}`, `"udp"`},
		"no_such_block":    {`{"network":{"types":["tcp6"],"tcp4":{"address":"127.0.0.1","port":"0"}},` + handlers + `}`, "tcp6"},
		"address_name":     {`{"network":{"types":["tcp4"],"tcp4":{"address":"localhost","port":"0"}},` + handlers + `}`, "localhost"},
		"address_number":   {`{"network":{"types":["unix"],"unix":{"address":1}},` + handlers + `}`, "network.unix.address"},
		"handlers_list":    {`{` + network + `,"handlers":[]}`, "handlers"},
		"typeMap_text":     {`{` + network + `,"handlers":{"availableTypes":["a"],"typeMap":{"a":"a.sock"}}}`, "typeMap"},
		"peers_number":     {`{"network":{"types":["tcp4"],"tcp4":{"address":"127.0.0.1","port":"0"},"peers":1},` + handlers + `}`, "peers"},
		"peers_text":       {`{"network":{"types":["tcp4"],"tcp4":{"address":"127.0.0.1","port":"0"},"peers":"all"},` + handlers + `}`, "open"},
		"peers_bad_range":  {`{"network":{"types":["tcp4"],"tcp4":{"address":"127.0.0.1","port":"0"},"peers":["10.0.0.0/33"]},` + handlers + `}`, "10.0.0.0/33"},
		"admin_text":       {`{` + network + `,` + handlers + `,"admin":"root"}`, "admin"},
		"no_object":        {`[]`, "server.conf"},
		"types_missing":    {`{` + network + `,"handlers":{"typeMap":{}},` + database + `}`, "handlers.availableTypes"},
		"type_not_in_map":  {`{` + network + `,"handlers":{"availableTypes":["a"],"typeMap":{}}}`, "typeMap"},
		"no_socket_path":   {`{` + network + `,"handlers":{"availableTypes":["a"],"typeMap":{"a":{"handlerBinary":"./a"}}}}`, "unixDomainSocketPath"},
		"empty_file":       {``, "server.conf"},
		"malformed":        {`{` + network + `,` + handlers + `,}`, "server.conf:1:"},
		"bytes_after_it":   {`{` + network + `,` + handlers + `}}`, "server.conf:1:"},
		"million_brackets": {strings.Repeat("[", 1_000_000), "server.conf:1:"},
	} {
		t.Run(name, func(t *testing.T) {
			said := startRefused(t, workDir(t), c.content)
			if !strings.Contains(said, c.want) || !strings.Contains(said, "server.conf") {
				t.Errorf("it says %.500q, want %q in it", said, c.want)
			}
			if strings.Contains(said, "goroutine") || len(said) > 2000 {
				t.Errorf("it says %.2000s", said)
			}
		})
	}

	// a port in use
	t.Run("port_in_use", func(t *testing.T) {
		l := listenTCP(t, "tcp4", "127.0.0.1:0")
		_, port, _ := net.SplitHostPort(l.Addr().String())
		said := startRefused(t, workDir(t), `{"network":{"types":["tcp4"],"tcp4":{"address":"127.0.0.1","port":"`+port+`"}},`+handlers+`}`)
		if !strings.Contains(said, l.Addr().String()) || !strings.Contains(said, "in use") {
			t.Errorf("it says %q", said)
		}
	})
	t.Run("unix_socket_in_use", func(t *testing.T) {
		dir := workDir(t)
		hub := startIn(t, dir, serverConf{network: object{"types": []string{"unix"}, "unix": object{"address": "clients.sock"}}})
		said := startRefused(t, dir, `{"network":{"types":["unix"],"unix":{"address":"clients.sock"}},`+handlers+`}`)
		if !strings.Contains(said, "clients.sock") || !strings.Contains(said, "in use") {
			t.Errorf("it says %q", said)
		}
		hub.login("alice") // which is still there
	})
	t.Run("informer_in_use", func(t *testing.T) {
		dir := workDir(t)
		hub := startIn(t, dir, serverConf{})
		said := startRefused(t, dir, `{`+network+`,`+handlers+`}`)
		if !strings.Contains(said, "bInformer") {
			t.Errorf("it says %q", said)
		}
		i := dial(t, hub.informer())
		i.send(`{"command":{"type":"listClients"}}`)
		i.want(`{"data":[],"status":"0"}`)
	})
	t.Run("file_missing", func(t *testing.T) {
		cmd := programCommand(besterd, "server.conf")
		cmd.Dir = t.TempDir()
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 1 || !bytes.Contains(out, []byte("server.conf")) {
			t.Errorf("%v: %s", cmd.ProcessState, out)
		}
	})
	t.Run("accounts_file_damaged", func(t *testing.T) {
		dir := workDir(t)
		if err := os.WriteFile(filepath.Join(dir, "accounts"), []byte("this is no accounts file\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if said := startRefused(t, dir, `{`+network+`,`+handlers+`,`+database+`}`); !strings.Contains(said, "accounts") {
			t.Errorf("it says %q", said)
		}
	})
}

func writeConf(t *testing.T, dir, content string) {
	t.Helper()
	if !json.Valid([]byte(content)) {
		t.Fatalf("no JSON: %s", content)
	}
	if err := os.WriteFile(filepath.Join(dir, "server.conf"), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
