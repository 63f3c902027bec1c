// Package config reads the hub's config file: bester.toml, whose structure Config
// mirrors, or the original's server.conf, which is converted to the same Config.
//
// It is strict. An unknown key, a value of the wrong type or out of range, or a route
// through something that does not exist is an error. The error names the file, line,
// column and key and says what is allowed. All errors of a file are reported at once
// (Error). Keys that the file does not have get their defaults, so the returned Config
// is complete.
//
// Example is the annotated file, with every key. Only the program knows the options of
// each kind of filter and device; it validates them with a Check.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"time"

	"golang.org/x/sys/unix"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/textfile"
)

// A Config is a config file, complete with defaults. Sections of two Configs can
// be compared with reflect.DeepEqual.
type Config struct {
	Hub      Hub       // the section [hub]
	Log      Log       // [log]
	Admin    Admin     // [admin]
	Listen   []Listen  // never empty
	Session  Session   // [session]
	Accounts Accounts  // [accounts]
	Informer Informer  // [informer]
	Peers    Peers     // [peers]
	Servers  []Server  // these four in the order of the file, names unique
	Handlers []Handler // [handlers.NAME]
	Filters  []Filter  // [filters.NAME]
	Devices  []Device  // [devices.NAME]
	Routes   []Route   // [[route]], in the order of the file

	classic bool    // from a server.conf
	from    *reader // the reader of its file; nil: no file
}

// Hub is the section [hub].
type Hub struct {
	Name       string        // of this hub, in message ids and types of readings; default: the host's name
	MaxHops    int           // how often handlers may resend one message (sendHandler), 1 to 255
	Frame      Bytes         // the largest frame from an authenticated peer, 4 KiB to 64 MiB
	Drain      time.Duration // how long SIGTERM waits for messages in flight, 0 to 1h
	LastValues Bytes         // for the last message of each type, which listen --last shows, 0 to 64 MiB; 0: none is kept
	Dial       Dial          // servers without a name that messages may be sent to
}

// Dial is the key hub.dial: which servers that have no name in the config messages may be
// sent to. In the file it is "open" or a list of host:port, addresses and CIDR ranges.
type Dial struct {
	Open   bool           // every one, this machine's own ports too
	Hosts  []string       // host:port
	Ranges []netip.Prefix // on any port
}

// Log is the section [log].
type Log struct {
	Level  slog.Level // the least that is logged
	Format string     // FormatText or FormatJSON
}

// Formats of the log.
const (
	FormatText = "text"
	FormatJSON = "json"
)

// Admin is the section [admin].
type Admin struct {
	// Info is the answer to serverInfo: string, int64, float64, bool, []any or
	// map[string]any, as encoding/json writes them.
	Info any
}

// Listen is one section [[listen]].
type Listen struct {
	Network string // Unix, TCP4, TCP6 or TLS
	Address string // Unix: the socket's path, else IP:port; no IP: all, port 0: any that is free

	Mode  fs.FileMode // Unix: of the socket, permission bits alone
	Group string      // Unix: the name of the group that owns the socket; "": as the process
	Trust bool        // Unix: the hub's own user and root need no password

	Certificate, Key string // TLS: paths of PEM files
}

// Networks to listen on.
const (
	Unix = "unix"
	TCP4 = "tcp4"
	TCP6 = "tcp6"
	TLS  = "tls" // over IPv4 and IPv6, TLS 1.3
)

// Session is the section [session].
type Session struct {
	Login          time.Duration // time to log in, 1ms to 1h
	Connections    int           // at most, over all listeners, logged in or not; 1 to 1000000
	PerAccount     int           // sessions of one account at most, 1 to 1000000; 0: a quarter of Connections, but at least 4
	Queue          Bytes         // size of one session's outgoing queue, 1 KiB to 1 GiB
	Full           string        // what happens when it is full: DropOldest, DropNewest or Close
	Write          time.Duration // write timeout: a peer that reads nothing for so long, or stops inside a frame, is closed; 1ms to 1h
	Credits        int           // messages of one session that may be in flight, 1 to 65535
	Subscriptions  int           // of one session, 1 to 10000
	Memory         Bytes         // for long frames being read and for queues, of all sessions together, 1 MiB to 1 GiB; 0: see SessionMemory
	Failures       int           // failed logins to one account from one address in a minute until these are throttled, 1 to 1000000
	Rate           int           // messages a second that one account may send, 0 to 1000000; 0: no limit
	RateBytes      Bytes         // bytes a second that one account may send, 1 KiB to 1 GiB; 0: no limit
	TotalRate      int           // messages a second that all sessions together may send; as Rate
	TotalRateBytes Bytes         // bytes a second that all sessions together may send; as RateBytes
}

// What happens to a session whose queue is full.
const (
	DropOldest = "drop-oldest"
	DropNewest = "drop-newest"
	Close      = "close"
)

// Accounts is the section [accounts].
type Accounts struct {
	File string // the path of the accounts file
}

// Informer is the section [informer].
type Informer struct {
	Socket string // the path of the informer's UNIX socket; "": none
}

// Peers is the section [peers]: which original servers may send messages. In the file,
// classic is "open" or a list of addresses and CIDR ranges.
type Peers struct {
	Open    bool           // all of them
	Classic []netip.Prefix // those from here
	Origins []Origins      // the key origins, in the order of the file
}

// Origins is one entry of peers.origins: the hubs, beside that of its own name, that a
// peer account may say a message comes from.
type Origins struct {
	Account string   // the name of a peer account
	Names   []string // of hubs and servers
}

// MayUseOrigin reports whether a peer account may say that a message comes from a hub of that
// name: its own, or one that the config lists for it.
func (p *Peers) MayUseOrigin(account, name string) bool {
	return account == name || slices.ContainsFunc(p.Origins, func(o Origins) bool {
		return o.Account == account && slices.Contains(o.Names, name)
	})
}

// Allow reports whether an original server at that address may send messages.
func (p *Peers) Allow(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return p.Open || slices.ContainsFunc(p.Classic, func(q netip.Prefix) bool { return q.Contains(a) })
}

// Server is a section [servers.NAME].
type Server struct {
	Name    hub.ServerName // the NAME of the section
	Address string         // host:port
}

// Handler is a section [handlers.NAME].
type Handler struct {
	Name        string        // the NAME of the section
	Types       []hub.Pattern // what it serves; may be empty if a route names it
	Dialect     string        // Native: it connects to the hub; Classic: the hub connects to Socket
	Socket      string        // Classic: the path of its UNIX socket
	Command     []string      // argv of the process to start and supervise; empty: it is not started by the hub
	Start       string        // Classic with a Command: StartAlways or StartNeeded
	Timeout     time.Duration // for its answer to one message, 1ms to 1h
	Queue       int           // size of its queue in messages, 1 to 1048576
	Connections int           // Classic: concurrent connections, 1 to 1024
}

// Dialects of handlers.
const (
	Native  = "native"
	Classic = "classic"
)

// When a handler's command is started.
const (
	StartAlways = "always" // with the hub
	StartNeeded = "needed" // only while nobody listens on the socket, and only if its file is executable
)

// Filter is a section [filters.NAME].
type Filter struct {
	Name, Kind string // the NAME of the section, and a kind of handlers/catalog
	// Options are the kind's own keys: string, int64, float64, bool, []any or
	// map[string]any; nil if none. Durations and sizes are strings.
	Options map[string]any
}

// Device is a section [devices.NAME].
type Device struct {
	Name, Kind string         // the NAME of the section, and a kind of devices/catalog
	Every      time.Duration  // from one reading to the next, 1ms to 168h
	Type       hub.Type       // of its messages; default: reading/HUB/NAME
	Options    map[string]any // as a Filter's
}

// Route is one section [[route]].
type Route struct {
	Match   hub.Pattern   // the types that take the route
	Through []string      // names of filters and handlers
	To      []hub.Address // where they go in the end
}

// MaxFile is the size of the largest file that is read.
const MaxFile = 1 << 20

// A Check validates what this package cannot know, such as the options of a kind of
// filter. It is called after the file has been read, even if the file has other
// problems. It makes its Problems with Config.Problem.
type Check func(c *Config) []Problem

// Load reads the file at path. It is the original's server.conf if the name ends in
// .conf or the content begins with "{", else a bester.toml. The error is an *Error or
// says why the file could not be read.
func Load(path string, checks ...Check) (*Config, error) {
	// O_NONBLOCK, since opening a FIFO would block for ever.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("config: %s is %s: want a file", path, kindOf(info.Mode()))
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	text, err := textfile.Decode(data)
	if err == nil && len(bytes.TrimSpace(text)) == 0 {
		return nil, fmt.Errorf("config: %s is empty: was it being written? Without any file the hub runs on its defaults", path)
	}
	if filepath.Ext(path) == ".conf" || bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("{")) {
		return ParseClassic(path, data, checks...)
	}
	return Parse(path, data, checks...)
}

// kindOf says what something is that is no regular file.
func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a folder"
	case mode&fs.ModeNamedPipe != 0:
		return "a pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	}
	return "a device"
}

// Parse parses the content of a bester.toml. Errors use name as the file's name; the error
// is an *Error.
func Parse(name string, data []byte, checks ...Check) (*Config, error) {
	r, root := parseWith(parseTOML, name, data)
	if root == nil {
		return nil, r.err()
	}
	c := newDefaults()
	readKeys(r, nil, root, c.keys, nil)
	c.complete()
	c.check(r)
	return c.finish(r, checks)
}

// parseWith calls parse with the text of a file that is not too large and is UTF-8. The root
// is nil if the reader has a problem with it.
func parseWith(parse func([]byte) (*table, error), name string, data []byte) (*reader, *table) {
	text, err := textfile.Decode(data)
	r := newReader(name, text)
	if len(data) > MaxFile {
		r.problemAt(min(MaxFile, len(text)), nil, fmt.Sprintf("the file is larger than %v", Bytes(MaxFile)))
		return r, nil
	}
	if bad, ok := errors.AsType[*textfile.EncodingError](err); ok {
		r.problemAt(bad.Offset, nil, bad.Problem)
		return r, nil
	}
	root, err := parse(text)
	if err != nil {
		r.syntax(err)
		return r, nil
	}
	return r, root
}

// finish runs the checks. It returns the config if neither they nor the reader have found
// a problem.
func (c *Config) finish(r *reader, checks []Check) (*Config, error) {
	c.from = r
	for _, check := range checks {
		for _, p := range check(c) {
			r.note(p)
		}
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	return c, nil
}

func (r *reader) err() error {
	if len(r.found) == 0 {
		return nil
	}
	sort.SliceStable(r.found, func(i, j int) bool {
		a, b := &r.found[i], &r.found[j]
		return a.Line < b.Line || a.Line == b.Line && a.Column < b.Column
	})
	return &Error{r.found, r.more}
}

// Classic reports whether the config was read from the original's server.conf.
func (c *Config) Classic() bool { return c.classic }

// Problem makes a Problem with a key. keys is the key's path, such as "filters", "coarse",
// "kind"; an element of a list is "#" and its index: "route", "#0", "match". The position
// is that of the key's value, or if the file does not have the key, of the nearest section
// around it.
func (c *Config) Problem(text string, keys ...string) Problem {
	p := path(keys)
	if c.from == nil {
		return Problem{Key: p.String(), Text: text}
	}
	line, column := c.from.source.position(c.from.offset(p))
	return Problem{c.from.source.name, line, column, p.String(), text}
}

// AppendTOML appends the complete config as a bester.toml, including defaults. Parse reads
// it back to an equal Config, so a server.conf can be converted this way.
func (c *Config) AppendTOML(dst []byte) []byte {
	var w writer
	for _, k := range c.keys() {
		k.value.write(&w, path{k.name})
	}
	return append(dst, w.dst...)
}
