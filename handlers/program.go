package handlers

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/asynclog"
	"github.com/besterhub/bester/hub/backoff"
	"github.com/besterhub/bester/hub/errtext"
)

// DefaultSocket is the hub's socket if neither --socket nor BESTER_SOCKET is set.
const DefaultSocket = "/run/bester/bester.sock"

// The exit codes of a handler.
const (
	ExitOK      = 0 // it was told to stop, by a signal or, if the hub started it, by the hub
	ExitFailed  = 1 // the hub started it, and its connection failed or could not be made
	ExitUsage   = 2 // its flags are wrong
	ExitRefused = 4 // the hub denies it access for good: wrong password, types that another serves
)

// A Program is a handler as a process of its own. It has these flags besides its own:
//
//	--socket PATH         the hub's UNIX socket; default $BESTER_SOCKET, else DefaultSocket
//	--name NAME           which handler this is; default $BESTER_HANDLER, else the program's name
//	--types LIST          patterns it serves, separated by commas
//	--user NAME           the account to serve as, where the socket does not authenticate it
//	--password-file PATH  holds that account's password in its first line
//	--concurrency N       messages handled at once; default 1
//	--help, --version
//
// Its log goes to stderr. It goes on working when nobody reads that, or its reader ends.
//
// If the hub starts it, which sets BESTER_HANDLER, it exits when its connection ends, and
// the hub starts it again. Otherwise it reconnects with exponential backoff, and logs only
// changes of state.
type Program struct {
	// Name is the program's name. If empty, the name of its file.
	Name string
	// Call is the command that the help shows. If empty, Name.
	Call string
	// Summary is one line that says what it does, for --help. May be empty.
	Summary string
	// Types are the patterns it serves if --types is not given.
	Types []string
	// Flags are its own. If nil, it has none.
	Flags *flag.FlagSet
	// New makes the handler, after the flags have been parsed. Its error is reported as a
	// usage error.
	New func() (hub.Handler, error)
}

// settings are the values of the flags.
type settings struct {
	socket, name, types, user, passwordFile string
	concurrency                             int
	version                                 bool
}

// Run runs the program until ctx ends, and returns its exit code.
func (p Program) Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if p.Name == "" {
		p.Name = filepath.Base(os.Args[0])
	}
	if p.Call == "" {
		p.Call = p.Name
	}
	startedAs := os.Getenv("BESTER_HANDLER") // its name, if the hub started it; else empty
	set, fs := p.flags(startedAs)
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		p.usage(fs, stdout)
		return ExitOK
	case err == nil && fs.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", fs.Arg(0))
		fallthrough
	case err != nil:
		return p.usageError(stderr, err)
	}
	if set.version {
		fmt.Fprintln(stdout, p.Name, version())
		return ExitOK
	}
	o, types, err := p.options(set)
	if err != nil {
		return p.usageError(stderr, err)
	}
	h, err := p.New()
	if err != nil {
		return p.usageError(stderr, err)
	}
	defer asynclog.IgnoreBrokenPipe()()
	log := asynclog.New(stderr, 0)
	defer log.Close(time.Second)
	o.Log = logger(log, startedAs != "")
	if startedAs != "" {
		return p.serveOnce(ctx, set.socket, h, types, o)
	}
	return p.serveReconnecting(ctx, set.socket, h, types, o)
}

func (p Program) usageError(stderr io.Writer, err error) int {
	fmt.Fprintf(stderr, "%s: %s\nTry '%s --help'.\n", p.Call, errtext.Of(err), p.Call)
	return ExitUsage
}

// flags defines the flags that every handler has, and adds the program's own.
func (p Program) flags(startedAs string) (*settings, *flag.FlagSet) {
	fs := flag.NewFlagSet(p.Name, flag.ContinueOnError)
	fs.SetOutput(io.Discard) // Run reports the error
	if p.Flags != nil {
		p.Flags.VisitAll(func(f *flag.Flag) {
			fs.Var(f.Value, f.Name, f.Usage)
			fs.Lookup(f.Name).DefValue = f.DefValue // Var takes the present value, which may have been set
		})
	}
	socket, name := os.Getenv("BESTER_SOCKET"), startedAs
	if socket == "" {
		socket = DefaultSocket
	}
	if name == "" {
		name = p.Name
	}
	set := new(settings)
	fs.StringVar(&set.socket, "socket", socket, "the hub's UNIX socket, `PATH`")
	fs.StringVar(&set.name, "name", name, "`NAME` of the handler; processes of one name share the work")
	fs.StringVar(&set.types, "types", strings.Join(p.Types, ","), "`LIST` of the patterns it serves, separated by commas")
	fs.StringVar(&set.user, "user", "", "`NAME` of the account to serve as, where the socket does not authenticate it")
	fs.StringVar(&set.passwordFile, "password-file", "", "`PATH` of a file whose first line is that account's password")
	fs.IntVar(&set.concurrency, "concurrency", 1, "`N` messages are handled at once; those of one sender and type never are")
	fs.BoolVar(&set.version, "version", false, "print the version and exit")
	return set, fs
}

func (p Program) usage(fs *flag.FlagSet, w io.Writer) {
	fmt.Fprintf(w, "Usage: %s [flags]\n", p.Call)
	if p.Summary != "" {
		fmt.Fprintf(w, "\n%s\n", p.Summary)
	}
	fmt.Fprint(w, "\nFlags:\n")
	fs.VisitAll(func(f *flag.Flag) {
		arg, text := flag.UnquoteUsage(f)
		fmt.Fprintf(w, "  %-22s %s", strings.TrimSpace("--"+f.Name+" "+arg), text)
		if f.DefValue != "" && f.DefValue != "false" {
			fmt.Fprintf(w, " (default %s)", f.DefValue)
		}
		fmt.Fprintln(w)
	})
	fmt.Fprintf(w, "\nIt ends with 0 when it is told to stop, 1 when its connection fails and the hub started it,\n"+
		"2 when its flags make no sense, 4 when the hub does not let it in.\n")
}

// options checks the settings and reads the password.
func (p Program) options(set *settings) (o Options, types []string, err error) {
	for t := range strings.SplitSeq(set.types, ",") {
		if t = strings.TrimSpace(t); t == "" {
			continue
		}
		if _, err := hub.ParsePattern(t); err != nil {
			return o, nil, fmt.Errorf("--types: %w", err)
		}
		types = append(types, t)
	}
	if set.concurrency < 1 || set.concurrency > 1024 {
		return o, nil, fmt.Errorf("--concurrency %d: want 1 to 1024", set.concurrency)
	}
	o = Options{Name: set.name, User: set.user, Concurrency: set.concurrency}
	if set.passwordFile != "" {
		f, err := os.Open(set.passwordFile)
		if err != nil {
			return o, nil, fmt.Errorf("--password-file: %w", err)
		}
		defer f.Close()
		line, err := bufio.NewReader(io.LimitReader(f, 4096)).ReadString('\n')
		if o.Password = strings.TrimRight(line, "\r\n"); o.Password == "" {
			return o, nil, fmt.Errorf("--password-file %q: no password in its first line (%v)", set.passwordFile, err)
		}
	}
	if (o.User == "") != (o.Password == "") {
		return o, nil, errors.New("--user and --password-file go together")
	}
	return o, types, nil
}

// serveOnce serves one connection and returns the exit code.
func (p Program) serveOnce(ctx context.Context, socket string, h hub.Handler, types []string, o Options) int {
	err := connect(ctx, socket, h, types, o)
	if err == nil || ctx.Err() != nil {
		return ExitOK
	}
	o.Log.Error("ended", "reason", errtext.Of(err))
	if denied(err) {
		return ExitRefused
	}
	return ExitFailed
}

// serveReconnecting reconnects, with backoff, until ctx ends or the hub denies access.
func (p Program) serveReconnecting(ctx context.Context, socket string, h hub.Handler, types []string, o Options) int {
	var b backoff.Backoff
	var connectedAt time.Time // zero: not connected
	lastLogged := ""
	o.Ready = func() {
		connectedAt, lastLogged = time.Now(), ""
		o.Log.Info("connected", "socket", socket, "types", strings.Join(types, " "))
	}
	o.KeepToken = func(token string) { o.Token = token }
	for {
		err := connect(ctx, socket, h, types, o)
		if ctx.Err() != nil {
			return ExitOK
		}
		if denied(err) {
			o.Log.Error("refused", "reason", errtext.Of(err))
			return ExitRefused
		}
		text := "the hub said goodbye"
		if err != nil {
			text = errtext.Of(err)
		}
		if text != lastLogged {
			o.Log.Warn("not connected: trying again", "reason", text)
			lastLogged = text
		}
		lost := !connectedAt.IsZero()
		if lost && time.Since(connectedAt) >= backoff.Max {
			b.Reset()
		}
		connectedAt = time.Time{}
		timer := time.NewTimer(b.Delay(err, lost))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ExitOK
		}
	}
}

func connect(ctx context.Context, socket string, h hub.Handler, types []string, o Options) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", socket)
	switch {
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w: join the socket's group, and serve as an account (--user, --password-file)", err)
	case err != nil:
		return fmt.Errorf("%w: does besterd run, and is that its socket (--socket)?", err)
	}
	return Serve(ctx, c, h, types, o)
}

// denied reports whether the hub has refused the login for good, so that a retry is useless.
func denied(err error) bool {
	return errors.Is(err, ErrRefused) && errors.Is(err, hub.ErrDenied)
}

// logger logs to stderr. It leaves out the time if the hub started the process, since the
// hub adds its own.
func logger(stderr io.Writer, started bool) *slog.Logger {
	o := &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if started && len(groups) == 0 && a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}
	return slog.New(slog.NewTextHandler(stderr, o))
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
