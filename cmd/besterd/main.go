// Command besterd is the message hub.
//
// It reads its config file, opens its listeners, links its handlers and devices,
// and runs until SIGTERM or SIGINT. SIGHUP reads the config again.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/besterhub/bester/hub/asynclog"
	"github.com/besterhub/bester/hub/config"
	"github.com/besterhub/bester/hub/errtext"
)

// version is set by the Makefile.
var version = "devel"

const usage = `usage: besterd [FILE]

The Bester message hub. FILE is its config, bester.toml, or the original's
server.conf. Without one it reads /etc/bester/bester.toml, or if there is none
bester/bester.toml in your own config folder; and without that either, it listens on
a UNIX socket and on 127.0.0.1:2223.

  bester check FILE    says what is wrong with a config
  besterd --example    prints an annotated config with every key
  besterd --version    prints the version

Signals: SIGHUP reads the config again and applies it, or refuses it and goes on
with the old one. SIGTERM and SIGINT answer or hand on what was taken, then end.

Exit status: 0 ended by a signal, 1 could not start or had to cut something
off at the end, 2 wrong usage.
`

// errUsage means that the arguments are wrong, and that this has been printed.
var errUsage = errors.New("usage")

// closeTimeout is how long log lines that wait are written at the end.
const closeTimeout = 2 * time.Second

func main() {
	signals := catchSignals() // before anything else: the hub may be told to end, or to reload, while it starts
	stderr := asynclog.New(os.Stderr, 0)
	code := 0
	switch err := run(signals, os.Args[1:], os.Stdout, stderr); {
	case errors.Is(err, errUsage):
		code = 2
	case err != nil:
		fmt.Fprintln(stderr, "besterd:", errtext.Of(err))
		code = 1
	}
	stderr.Close(closeTimeout)
	os.Exit(code)
}

func run(signals *signals, args []string, stdout io.Writer, stderr *asynclog.Writer) error {
	flags := flag.NewFlagSet("besterd", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // what is asked for goes to stdout, what is wrong to stderr
	showVersion := flags.Bool("version", false, "")
	showExample := flags.Bool("example", false, "")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		_, err := io.WriteString(stdout, usage)
		return err
	case err == nil && flags.NArg() > 1:
		err = fmt.Errorf("want one FILE, got %q", flags.Args())
		fallthrough
	case err != nil:
		fmt.Fprintf(stderr, "besterd: %v\nTry 'besterd --help'.\n", err)
		return errUsage
	}
	switch {
	case *showVersion:
		_, err := fmt.Fprintln(stdout, "besterd", version)
		return err
	case *showExample:
		_, err := io.WriteString(stdout, config.Example)
		return err
	}
	path := flags.Arg(0)
	if path == "" {
		var hidden error
		if path, hidden = config.File(); hidden != nil {
			newLog(stderr, config.Log{}).Warn("a config is passed over", "err", hidden)
		}
	}
	return serve(signals, func() (service, error) { return startService(path, stderr) })
}
