package config

import (
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/besterhub/bester/hub"
)

// Example is an annotated bester.toml: every key there is, with its default.
//
//go:embed example.toml
var Example string

// Default is the config of a hub without a file. It listens on a UNIX socket for the hub's
// own user and root (the first of Sockets that can be made), and on TCP port 2223 of the
// loopback address.
func Default() *Config {
	c := newDefaults()
	c.complete()
	return c
}

// newDefaults returns the defaults that a file's keys override.
func newDefaults() *Config {
	return &Config{
		Hub: Hub{MaxHops: hub.MaxHops, Frame: MiB, LastValues: MiB, Drain: 10 * time.Second},
		Log: Log{Format: FormatText},
		// Its Level is the zero slog.Level: info.
		Admin: Admin{Info: ""},
		Session: Session{Login: 10 * time.Second, Connections: 1024, Queue: 256 * KiB,
			Full: DropOldest, Write: 30 * time.Second, Credits: 256, Subscriptions: 256, Failures: 10},
	}
}

func defaultListen() Listen { return Listen{Mode: 0660, Trust: true} }

func defaultHandler() Handler {
	return Handler{Dialect: Native, Start: StartAlways, Timeout: 10 * time.Second, Queue: 1024, Connections: 16}
}

func defaultDevice() Device { return Device{Every: 10 * time.Second} }

// complete fills in the defaults that depend on the machine or on other keys, and clears
// fields that have no meaning.
func (c *Config) complete() {
	if c.Hub.Name == "" {
		c.Hub.Name = hostName()
	}
	if c.Accounts.File == "" {
		c.Accounts.File = filepath.Join(configDir(), "accounts")
	}
	if len(c.Listen) == 0 {
		l := defaultListen()
		l.Network, l.Address = Unix, defaultSocket()
		c.Listen = []Listen{l, {Network: TCP4, Address: "127.0.0.1:2223"}}
	}
	for i := range c.Listen {
		if l := &c.Listen[i]; l.Network != Unix {
			l.Mode, l.Group, l.Trust = 0, "", false
		}
	}
	for i := range c.Handlers {
		h := &c.Handlers[i]
		if h.Dialect == Native {
			h.Connections = 0
		}
		if h.Dialect == Native || len(h.Command) == 0 {
			h.Start = ""
		}
	}
	for i := range c.Devices {
		if d := &c.Devices[i]; d.Type == "" {
			d.Type = hub.Type("reading/" + c.Hub.Name + "/" + d.Name)
		}
	}
}

// minFramesInMemory is how many of the longest frames session.memory must hold at least, so
// that one long frame does not keep other sessions from reading theirs.
const minFramesInMemory = 4

// SessionMemory returns session.memory, for a hub that may use that much memory in all; zero
// if that is not known. If session.memory is not set, it is a sixteenth of that memory, but
// at least 16 MiB and enough for some of the longest frames. In any case it is no more than
// a quarter of that memory, or half if session.memory is set: the rest is for the program,
// the connections and the garbage of both.
func (c *Config) SessionMemory(available int64) Bytes {
	memory, most := int64(c.Session.Memory), available/2
	if memory == 0 {
		memory = max(min(available/16, int64(GiB)), int64(max(16*MiB, minFramesInMemory*c.Hub.Frame)))
		most = available / 4
	}
	if available > 0 {
		memory = min(memory, max(most, int64(MiB)))
	}
	return Bytes(memory)
}

// hostName returns the host's name, changed so that checkLevel accepts it.
func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		name = ""
	}
	name = strings.Map(func(r rune) rune {
		if levelByte(r) {
			return r
		}
		return '-'
	}, name)
	name = strings.TrimLeft(name[:min(len(name), maxLevel)], "-._")
	return cmp.Or(name, "bester")
}

// Files returns the paths of a config file if none is named: in /etc/bester, then in the
// user's own config folder ($XDG_CONFIG_HOME/bester).
func Files() []string {
	files := []string{filepath.Join(systemDir, "bester.toml")}
	if dir := userConfigDir(); dir != "" {
		files = append(files, filepath.Join(dir, "bester.toml"))
	}
	return files
}

// File returns the first of Files that exists, or "". The error says which of those before it
// this user may not look for, such as one in a folder that only root may enter.
func File() (file string, hidden error) { return firstOf(Files()) }

func firstOf(files []string) (file string, hidden error) {
	for _, file := range files {
		_, err := os.Stat(file)
		if err == nil {
			return file, hidden
		}
		if hidden == nil && errors.Is(err, fs.ErrPermission) {
			hidden = fmt.Errorf("%s: this user may not look whether it is there: run as root (sudo) or as the hub's user, or name a config", file)
		}
	}
	return "", hidden
}

// Service returns a file by which a hub shows that it runs as a service of this machine, or
// is to: its config, accounts or socket; "" if there is none. By default another user than
// root has a config folder and accounts of its own, which that hub does not read.
func Service() string {
	return firstThere(filepath.Join(systemDir, "bester.toml"), filepath.Join(systemDir, "accounts"), filepath.Join(runDir, "bester.sock"))
}

// firstThere returns the first file that exists, or may for all that this user can see.
func firstThere(files ...string) string {
	for _, file := range files {
		if _, err := os.Stat(file); err == nil || errors.Is(err, fs.ErrPermission) {
			return file
		}
	}
	return ""
}

const (
	systemDir = "/etc/bester"
	runDir    = "/run/bester"
)

// configDir is where the accounts are by default.
func configDir() string {
	if dir := userConfigDir(); os.Geteuid() != 0 && dir != "" {
		return dir
	}
	return systemDir
}

func userConfigDir() string {
	dir, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "bester")
}

// Sockets returns where a hub with the default config may listen on this machine, the
// likeliest first: /run/bester/bester.sock, then under $XDG_RUNTIME_DIR, then under the
// folder for temporary files. The hub creates the socket's folder and checks that it owns
// it. Only root's folder is accessible to other users.
func Sockets() []string {
	all := []string{filepath.Join(runDir, "bester.sock")}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		all = append(all, filepath.Join(dir, "bester", "bester.sock"))
	}
	own := "bester-" + strconv.Itoa(os.Geteuid())
	return append(all, filepath.Join(os.TempDir(), own, "bester.sock"))
}

// defaultSocket returns the socket of a hub without a file.
func defaultSocket() string {
	all := Sockets()
	if os.Geteuid() == 0 || unix.Access(runDir, unix.W_OK) == nil {
		return all[0]
	}
	return all[1]
}
