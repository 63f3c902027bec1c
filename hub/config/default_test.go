package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestDefaultListensLocally(t *testing.T) {
	c := Default()
	if len(c.Listen) != 2 || c.Listen[0].Network != Unix || !c.Listen[0].Trust || c.Listen[1].Address != "127.0.0.1:2223" {
		t.Fatalf("got %+v, want a UNIX socket and TCP on the loopback", c.Listen)
	}
	if !slices.Contains(Sockets(), c.Listen[0].Address) {
		t.Errorf("listens on %s, which is not one of %q, where it would be looked for", c.Listen[0].Address, Sockets())
	}
}

func TestSessionMemory(t *testing.T) {
	const MB, GB = 1 << 20, 1 << 30
	for _, v := range []struct {
		set, frame Bytes
		available  int64
		want       Bytes
	}{
		{0, MiB, 0, 16 * MiB},
		{0, MiB, 512 * MB, 32 * MiB},
		{0, MiB, 256 * MB, 16 * MiB},
		{0, MiB, 64 * MB, 16 * MiB},
		{0, MiB, 32 * MB, 8 * MiB},
		{0, MiB, 2 * MB, MiB},
		{0, MiB, 64 * GB, GiB},
		{0, 64 * MiB, 4 * GB, 256 * MiB},
		{0, 64 * MiB, 512 * MB, 128 * MiB},
		{3 * MiB, MiB, 512 * MB, 3 * MiB},
		{100 * MiB, MiB, 512 * MB, 100 * MiB},
		{100 * MiB, MiB, 64 * MB, 32 * MiB},
		{100 * MiB, MiB, 0, 100 * MiB},
	} {
		c := Default()
		c.Session.Memory, c.Hub.Frame = v.set, v.frame
		if got := c.SessionMemory(v.available); got != v.want {
			t.Errorf("session.memory %v, hub.frame %v, %v available: got %v, want %v", v.set, v.frame, v.available, got, v.want)
		}
	}
}

func TestSockets(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", dir)
	got := Sockets()
	if len(got) != 3 || got[0] != "/run/bester/bester.sock" || got[1] != filepath.Join(dir, "bester", "bester.sock") {
		t.Errorf("got %q", got)
	}
	t.Setenv("XDG_RUNTIME_DIR", "relative")
	if got := Sockets(); len(got) != 2 || !strings.HasPrefix(got[1], os.TempDir()) {
		t.Errorf("got %q, want none in a folder that is not absolute", got)
	}
}

func TestFile(t *testing.T) {
	if _, err := os.Stat("/etc/bester/bester.toml"); err == nil {
		t.Skip("there is a config on this machine, which comes first")
	}
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	if got, _ := File(); got != "" {
		t.Errorf("got %q, want none", got)
	}
	want := filepath.Join(dir, "bester", "bester.toml")
	if got := Files(); len(got) != 2 || got[1] != want {
		t.Errorf("looks in %q, want %q to be the second", got, want)
	}
	if err := os.Mkdir(filepath.Dir(want), 0700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(want, nil, 0600); err != nil {
		t.Fatal(err)
	}
	if got, _ := File(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNamesOfHubsAndDevices(t *testing.T) {
	for _, name := range []string{"shed", "field-7", "a.b_c", "7", strings.Repeat("a", maxLevel), hostName()} {
		if err := checkLevel(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", "a/b", "a+", "#", "a b", "a:1", "x@y", "é", "-a", ".", strings.Repeat("a", maxLevel+1)} {
		if checkLevel(name) == nil {
			t.Errorf("%q: want an error", name)
		}
	}
}

func TestFirstThere(t *testing.T) {
	dir := t.TempDir()
	there := filepath.Join(dir, "accounts")
	if got := firstThere(filepath.Join(dir, "none"), there); got != "" {
		t.Errorf("got %q before there is one", got)
	}
	if err := os.WriteFile(there, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := firstThere(filepath.Join(dir, "none"), there); got != there {
		t.Errorf("got %q, want %q", got, there)
	}
}
