package config_test

import (
	"fmt"

	"github.com/besterhub/bester/hub/config"
)

func ExampleParse() {
	c, err := config.Parse("bester.toml", []byte(`
[session]
queue = "64 KiB"
full = "drop-newest"
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Session.Queue, c.Session.Full, c.Session.Login)
	// Output: 64 KiB drop-newest 10s
}

func ExampleError() {
	_, err := config.Parse("bester.toml", []byte(`[session]
ful = "close"
full = "drop-some"
[[route]]
match = "reading/#"
through = ["coarse"]
`))
	fmt.Println(err)
	// Output:
	// bester.toml:2:1: session.ful: unknown key; did you mean full?
	// bester.toml:3:8: session.full: "drop-some": want drop-oldest, drop-newest or close
	// bester.toml:6:12: route.through: coarse: there is no filter or handler of that name
}

func ExampleConfig_AppendTOML() {
	c, err := config.ParseClassic("server.conf", []byte(`{
  "network": {"types": ["tcp4"], "tcp4": {"address": "0.0.0.0", "port": "2223"}},
  "handlers": {
    "availableTypes": ["type1"],
    "typeMap": {"type1": {"handlerBinary": "./type1.py", "unixDomainSocketPath": "aSock"}}
  },
  "database": {"type": "file", "file": {"path": "accounts"}}
}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	c.Hub.Name = "shed" // else the host's
	fmt.Printf("%s", c.AppendTOML(nil))
	// Output:
	// [hub]
	// name = "shed"
	// max_hops = 16
	// frame = "1 MiB"
	// drain = "10s"
	// last_values = "1 MiB"
	// dial = "open"
	//
	// [log]
	// level = "info"
	// format = "text"
	//
	// [admin]
	// info = ""
	//
	// [[listen]]
	// network = "tcp4"
	// address = "0.0.0.0:2223"
	//
	// [session]
	// login = "10s"
	// connections = 1024
	// per_account = 0
	// queue = "256 KiB"
	// full = "drop-oldest"
	// write = "30s"
	// credits = 256
	// subscriptions = 256
	// memory = ""
	// failures = 10
	// rate = 0
	// rate_bytes = ""
	// total_rate = 0
	// total_rate_bytes = ""
	//
	// [accounts]
	// file = "accounts"
	//
	// [informer]
	// socket = "bInformer"
	//
	// [peers]
	// classic = []
	// origins = {}
	//
	// [handlers.type1]
	// types = ["type1"]
	// dialect = "classic"
	// socket = "aSock"
	// command = ["./type1.py"]
	// start = "needed"
	// timeout = "10s"
	// queue = 1024
	// connections = 16
}
