package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/besterhub/bester/hub"
)

// jsonHelp says what --json writes of a message.
const jsonHelp = `With --json every message is an object on a line of its own:

  type   the message's type
  from   who sent it, user or user@server; left out if it was the hub itself
  id     the hub where it began and a number that never repeats there
  time   when it was sent or measured, RFC 3339 in UTC
  data   what was sent`

func listenCommand() *cobra.Command {
	var l listening
	cmd := &cobra.Command{
		Use:   "listen",
		Short: "Show what the hub has for a user, as it comes",
		Long: `Show what the hub has for a user, as it comes, until Ctrl-C.

A user gets what handlers and routes send to that name. Readings are shown one a
line, other data as JSON. ` + jsonHelp,
		Example: `  bester listen --user dashboard
  bester listen --user dashboard --json | jq .data
  bester listen --user dashboard --count 1 --for 1m`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              l.run,
	}
	l.target.flags(cmd)
	cmd.Flags().BoolVar(&l.json, "json", false, "write JSON, one object a line")
	cmd.Flags().IntVarP(&l.count, "count", "n", 0, "end after this many messages")
	cmd.Flags().DurationVar(&l.duration, "for", 0, "end after this long; with --count, fail if fewer have come")
	cmd.Flags().BoolVarP(&l.quiet, "quiet", "q", false, "do not say on standard error that it is listening")
	return cmd
}

// A listening is what the flags of listen say.
type listening struct {
	target
	json, quiet bool
	count       int
	duration    time.Duration
}

func (l *listening) run(cmd *cobra.Command, _ []string) error {
	if l.count < 0 || l.duration < 0 {
		return usageError{fmt.Errorf("--count and --for cannot be negative")}
	}
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	p := newPrinter(cmd, l.json)
	c, err := l.dial(ctx, func(m *hub.Message) {
		if l.count > 0 && p.n == l.count {
			return
		}
		p.print(m)
		if p.err != nil || p.n == l.count {
			cancel()
		}
	})
	if err != nil {
		return err
	}
	defer over(c)
	if !l.quiet {
		name, _ := l.name()
		fmt.Fprintf(cmd.ErrOrStderr(), "Listening as %s at the hub %s. Ctrl-C ends it.\n", clean(string(name)), clean(c.Hub()))
	}
	var late <-chan time.Time
	if l.duration > 0 {
		timer := time.NewTimer(l.duration)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-ctx.Done():
		return p.failure()
	case <-late:
		if n := p.count(); n < l.count {
			return fmt.Errorf("%d of %d messages came in %s", n, l.count, l.duration)
		}
		return p.failure()
	case <-c.Done():
		return &exit{exitAway, fmt.Errorf("the hub closed the connection: %w", c.Err())}
	}
}
