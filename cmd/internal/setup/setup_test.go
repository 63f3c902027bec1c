package setup_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/besterhub/bester/cmd/internal/setup"
	devices "github.com/besterhub/bester/devices/catalog"
	handlers "github.com/besterhub/bester/handlers/catalog"
	"github.com/besterhub/bester/hub/config"
)

// The example names every kind, and every option of a device, with what its help says.
func TestExampleNamesAllKinds(t *testing.T) {
	for _, k := range handlers.Kinds {
		if !strings.Contains(config.Example, k.Name) {
			t.Errorf("hub/config/example.toml: no filter of kind %s", k.Name)
		}
	}
	for _, k := range devices.Kinds {
		for _, o := range k.Options {
			found := false
			for line := range strings.Lines(config.Example) {
				found = found || strings.HasPrefix(line, "#"+o.Key+" = ") && strings.HasSuffix(line, "# "+k.Name+": "+o.Help+"\n")
			}
			if !found {
				t.Errorf("hub/config/example.toml: no line #%s = … # %s: %s", o.Key, k.Name, o.Help)
			}
		}
	}
}

// With the "#" taken away it is a config.
func TestExampleWithAllItsSettings(t *testing.T) {
	var all strings.Builder
	for line := range strings.Lines(config.Example) {
		if len(line) > 1 && line[0] == '#' && line[1] != ' ' {
			line = line[1:]
		}
		all.WriteString(line)
	}
	if _, err := setup.Parse("example.toml", []byte(all.String())); err != nil {
		t.Error(err)
	}
}

// A server.conf may be without handlers, which is said of it; a bester.toml often is.
func TestNoHandlers(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"server.conf", "{}", "server.conf:1:1: handlers: no handlers are configured"},
		{"server.conf", "\ufeff{\"network\":{}}\r\n", "server.conf:1:1: handlers: no handlers are configured"},
		{"server.conf", `{"handlers":{"availableTypes":[]}}`, "handlers: no handlers are configured"},
		{"server.conf", `{"handlers":{"availableTypes":["a"],"typeMap":{"a":{"unixDomainSocketPath":"a.sock"}}}}`, ""},
		{"bester.toml", "[hub]\n", ""},
	} {
		path := filepath.Join(t.TempDir(), c.name)
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		parsed, err := setup.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, p := range setup.NoHandlers(parsed) {
			got += p.Error()
		}
		if !strings.Contains(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%s %q: got %q, want %q", c.name, c.text, got, c.want)
		}
	}
}

// A session's queue must hold the answers to what may be in flight.
func TestContradictions(t *testing.T) {
	for text, want := range map[string]string{
		"":                                "",
		"[session]\nqueue = \"16 KiB\"\n": "",
		"[session]\nqueue = \"8 KiB\"\n":  "a.toml:2:9: session.queue: 8 KiB: too little for the answers to 256 messages",
		"[session]\ncredits = 65535\n":    "session.queue: 256 KiB: too little for the answers to 65535 messages",
		"[session]\nqueue = \"8 KiB\"\ncredits = 128\n":                  "",
		"[session]\nrate_bytes = \"64 KiB\"\n":                           "",
		"[session]\nrate_bytes = \"1 KiB\"\n":                            "session.rate_bytes: 1 KiB: a message as long as hub.frame allows, 1 MiB, then keeps its sender from being read for 17m4s; want 18 KiB",
		"[session]\ntotal_rate_bytes = \"1 KiB\"\n":                      "session.total_rate_bytes: 1 KiB: a message as long as",
		"[session]\nrate_bytes = \"1 KiB\"\n[hub]\nframe = \"16 KiB\"\n": "",
	} {
		c, err := setup.Parse("a.toml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, p := range setup.LimitConflicts(c) {
			got += p.Error()
		}
		if !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
