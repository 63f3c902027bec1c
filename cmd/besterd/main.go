// Command besterd is the message hub.
//
// It reads its config file, opens its listeners, links its handlers and devices,
// and runs until SIGTERM or SIGINT. SIGHUP reads the config again.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/besterhub/bester/hub/config"
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

func main() {
	err := run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, errUsage):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "besterd:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
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
		path = config.File()
	}
	c, err := load(path)
	if err != nil {
		return err
	}
	log := newLog(stderr, c.Log)
	// Signals are caught before anybody can know that the hub runs.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	hangups := make(chan os.Signal, 1) // two that come at once are one
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	d, err := start(c, log)
	if err != nil {
		return err
	}
	log.Info("ready", "version", version, "config", configName(path), "hub", c.Hub.Name, "listeners", d.listenerNames(), "pid", os.Getpid())
	for {
		select {
		case <-hangups:
			d.reload(ctx, path, log)
		case <-ctx.Done():
			log.Info("ending: what was taken is answered or handed on", "why", context.Cause(ctx))
			stop() // a second signal ends it at once
			err := d.shutdown(log)
			d.logTotals(log)
			return err
		}
	}
}
