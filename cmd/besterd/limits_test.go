package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/besterhub/bester/hub/config"
	"github.com/besterhub/bester/hub/resource"
	"github.com/besterhub/bester/hub/session"
)

// What the config asks for is lowered to what the machine, the control group and the
// descriptors allow, and the log says so.
func TestLimitsFollowTheSystem(t *testing.T) {
	const MB = 1 << 20
	parse := func(text string) *config.Config {
		t.Helper()
		c, err := config.Parse("bester.toml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	const lastValues = 1 * MB // hub.last_values
	fit := func(memory, sessionMemory, cost int) int {
		return (memory/8*7 - programMemory - sessionMemory - lastValues) / cost
	}
	for _, v := range []struct {
		name, config                 string
		machine, group               int
		descriptors                  int
		memory, connections, account int
		gc                           int64
		warns                        string
	}{
		{"a board of 512 MB", "", 512 * MB, 512 * MB, 65536, 32 * MB, 1024, 256, 128 * MB, ""},
		{"64 MiB", "", 512 * MB, 64 * MB, 65536, 16 * MB, fit(64*MB, 16*MB, session.Cost), 172, 48 * MB, "session.connections is lowered"},
		{"32 MiB", "", 512 * MB, 32 * MB, 65536, 8 * MB, fit(32*MB, 8*MB, session.Cost), 44, 24 * MB, "session.connections is lowered"},
		{"10 MiB", "", 512 * MB, 10 * MB, 65536, 10 * MB / 4, minConnections, 4, 10 * MB / 4 * 3, "session.connections is lowered"},
		{"few descriptors", "", 512 * MB, 512 * MB, 256, 32 * MB, 192, 48, 128 * MB, "session.connections is lowered"},
		{"hardly any descriptors", "", 512 * MB, 512 * MB, 20, 32 * MB, 10, 4, 128 * MB, "session.connections is lowered"},
		{"nothing known", "", 0, 0, 0, 16 * MB, 1024, 256, 0, ""},
		{"its own", "[session]\nconnections = 8\nper_account = 3\nmemory = \"5 MiB\"", 512 * MB, 64 * MB, 65536, 5 * MB, 8, 3, 48 * MB, ""},
		{"too much memory", "[session]\nconnections = 8\nmemory = \"1 GiB\"", 512 * MB, 64 * MB, 65536, 32 * MB, 8, 4, 48 * MB, "session.memory is lowered"},
		{"filters", "[session]\nconnections = 8\n[filters.a]\nkind = \"deadband\"\nband = 1.0\nmemory = \"40 MiB\"\n", 512 * MB, 64 * MB, 65536, 16 * MB, 8, 4, 48 * MB, "filters may remember more"},
		{"TLS", "[[listen]]\nnetwork = \"tls\"\naddress = \"127.0.0.1:1\"\ncertificate = \"/c\"\nkey = \"/k\"\n", 512 * MB, 64 * MB, 65536, 16 * MB,
			fit(64*MB, 16*MB, session.CostTLS), 96, 48 * MB, "session.connections is lowered"},
	} {
		t.Run(v.name, func(t *testing.T) {
			c := parse(v.config)
			has := resources{resource.Memory{Limit: int64(v.group), Machine: int64(v.machine), From: "/group"}, v.descriptors}
			l := limits(c, has)
			if l.Memory != v.memory || l.MaxConnections != v.connections || l.MaxPerAccount != v.account {
				t.Errorf("got memory %d, connections %d, of one account %d; want %d, %d, %d",
					l.Memory, l.MaxConnections, l.MaxPerAccount, v.memory, v.connections, v.account)
			}
			if got := gcLimit(has.memory); v.gc > 0 && got != v.gc {
				t.Errorf("the collector works to %d, want %d", got, v.gc)
			}
			var out bytes.Buffer
			logLimits(slog.New(slog.NewTextHandler(&out, nil)), c, l, has)
			lines := strings.SplitN(out.String(), "\n", 2)
			if !strings.Contains(lines[0], "msg=limits") || !strings.Contains(lines[0], "session_memory=") {
				t.Errorf("logged %s", lines[0])
			}
			if (v.warns == "") != (lines[1] == "") || !strings.Contains(lines[1], v.warns) {
				t.Errorf("warned %q, want %q", lines[1], v.warns)
			}
			if r := reportLimits(l, has); r.Memory != int64(v.group) || r.Session != v.memory || r.Connections != v.connections || r.From != "/group" {
				t.Errorf("reported %+v", r)
			}
		})
	}
}
