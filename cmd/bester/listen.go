package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/client"
)

// jsonHelp says what --json writes of a message.
const jsonHelp = `With --json every message is an object on a line of its own:

  type   the message's type
  from   who sent it, user or user@server; left out if it was the hub itself
  id     the hub where it began and a number that never repeats there
  time   when it was sent or measured, RFC 3339 in UTC
  data   what was sent
  retained  true if it came before listen did: see --last; left out otherwise

NaN and infinities are null in JSON, bytes are base64, timestamps text. Where JSON has no
form at all for the data, an object has in their place:

  error    why: an extension, a list as a key, or no MessagePack
  display  the data as people read it
  msgpack  the data itself, MessagePack in base64`

func listenCommand() *cobra.Command {
	var l listenOptions
	cmd := &cobra.Command{
		Use:   "listen [PATTERN...]",
		Short: "Show what flows through the hub, as it comes",
		Long: `Show what flows through the hub, as it comes, until Ctrl-C.

With patterns it shows the messages whose types match one of them: + stands for one
level of a type, and # at the end for all levels that follow. So 'reading/#' shows all
readings, and '#' everything; put them in quotation marks, or the shell takes them for
its own. Shown is what a route's handlers pass on. What somebody sends to named users
is shown to these alone.

Whether there are patterns or not, it shows what handlers, routes and other users send
to the user. All this is shown if the account may receive messages of that type: listen
says where it may not receive all, and when that has changed; of a pattern it shows
what the account may receive. bester account allow NAME --add --receive PATTERN
allows more. Readings are shown one a line, other data as JSON.

Where the hub is not there, or no longer, listen waits for it and tries again: on a
socket of this machine every 0.25 s, elsewhere after 0.05 s and longer each time, up
to 5 s. Standard error is told when it begins to wait, when the reason is another, and
once when it is back. What is sent to the user meanwhile is not kept. It ends with an
error where waiting does not help: the hub does not let the user in, the address
cannot be one, or at the start the socket is closed to you, or TLS fails.

A script sets a limit with --for. The first attempt to reach the hub is finished even
if it takes longer, up to --timeout, so that the outcome does not depend on luck: if
there is no hub, its reason is told and the exit status is 3; with --count, if fewer
messages have come, it is 1.

A hub queues only so much for a user who reads slowly (session.queue in its config).
Where it had to leave messages out, a line on standard error says how many and why, in
the place of the first of them; standard output holds nothing but messages.

` + jsonHelp,
		Example: `  bester listen 'reading/#'
  bester listen --last '#' --count 10 --for 1s
  bester listen 'reading/+/bme280' 'alarm/#' --user dashboard
  bester listen --user dashboard --json | jq .data
  bester listen --user dashboard --count 1 --for 1m`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              l.run,
	}
	l.target.flags(cmd)
	cmd.Flags().Lookup("timeout").Usage = "give up one attempt to reach the hub after this `time`;\n$BESTER_TIMEOUT sets the default"
	cmd.Flags().BoolVar(&l.json, "json", false, "write JSON, one object a line")
	cmd.Flags().BoolVar(&l.last, "last", false, "show first the last message of each type, as far as the hub has kept it\n(hub.last_values in its config)")
	cmd.Flags().IntVarP(&l.count, "count", "n", 0, "end after this many messages")
	cmd.Flags().DurationVar(&l.duration, "for", 0, "end after this long; with --count, fail if fewer have come")
	cmd.Flags().BoolVarP(&l.quiet, "quiet", "q", false, "do not say on standard error that it is listening, or waiting")
	return cmd
}

// listenOptions are the flags of listen.
type listenOptions struct {
	target
	patterns    []hub.Pattern
	subscribing sync.Mutex           // held while it subscribes
	hidden      map[hub.Pattern]bool // patterns of which nothing is shown; nil before the first session
	last        bool
	json, quiet bool
	count       int
	duration    time.Duration
}

// Why listen ends: the time of --for is over, or nobody reads its output any more.
var (
	errTimeLimit = errors.New("the time is over")
	errUnread    = errors.New("nobody reads the output")
)

func (l *listenOptions) run(cmd *cobra.Command, args []string) error {
	if err := l.parsePatterns(args); err != nil {
		return err
	}
	if f := cmd.Flags(); f.Changed("count") && l.count < 1 || f.Changed("for") && l.duration <= 0 {
		return usageError{errors.New("--count and --for must be more than 0; without them it does not end by itself")}
	}
	ctx, end := context.WithCancelCause(cmd.Context())
	defer end(nil)
	p := newPrinter(cmd, l.json)
	deliver := func(m *hub.Message) {
		if l.count > 0 && p.count() == l.count {
			return
		}
		p.print(m)
		if p.failed() || p.count() == l.count {
			end(nil)
		}
	}
	gap := func(missed uint64, reason string) {
		what := "messages"
		if missed == 1 {
			what = "message"
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "bester: %d %s lost here: %s\n", missed, what, escapeText(reason))
	}
	changed := func(c *client.Client) {
		name, _ := l.userName()
		text := restrictionText(name, c.Receives())
		if text == "" && c.Receives() != nil {
			text = "\nThis account may receive everything now."
		}
		fmt.Fprintln(cmd.ErrOrStderr(), "bester: what this account may receive has changed."+text)
		go l.subscribe(ctx, cmd, c, false) // not on this goroutine, which reads the answers
	}
	s := reconnectingSession{
		dial: func(ctx context.Context) (session, error) {
			c, err := l.dial(ctx, client.Options{Deliver: deliver, Gap: gap, PermissionsChanged: changed})
			if err != nil {
				return nil, err
			}
			if err := l.subscribe(ctx, cmd, c, l.last); err != nil {
				closeClient(ctx, c)
				return nil, err
			}
			return c, nil
		},
		connected: func(c session, again string) { l.say(cmd, l.connectedText(c, again)) },
		meanwhile: "what is sent meanwhile is not kept",
		report:    func(text string) { l.say(cmd, text) },
	}
	if l.duration > 0 {
		defer time.AfterFunc(l.duration, func() { end(errTimeLimit) }).Stop()
	}
	if out, ok := cmd.OutOrStdout().(interface{ Fd() uintptr }); ok && int32(out.Fd()) >= 0 {
		go func() { // ends with the process: bester listen | head -1 is not to wait for another message
			waitUnread(out.Fd())
			end(errUnread)
		}()
	}
	err := s.run(ctx, cmd.Context())
	if n := p.unconvertible(); n > 0 {
		l.say(cmd, fmt.Sprintf("bester: %s could not be written as JSON: see the fields error and msgpack", plural(n, "message")))
	}
	switch n := p.count(); {
	case p.failed():
		return p.failure()
	case context.Cause(ctx) == errUnread:
		return nil
	case cmd.Context().Err() != nil:
		if !s.connectedBefore {
			return cmd.Context().Err()
		}
		return nil
	case err != nil && (l.count == 0 || n < l.count):
		return err
	case n < l.count:
		return fmt.Errorf("%d of %d messages came in %s", n, l.count, l.duration)
	}
	return nil
}

// say tells the operator something on standard error.
func (l *listenOptions) say(cmd *cobra.Command, text string) {
	if !l.quiet {
		fmt.Fprintln(cmd.ErrOrStderr(), escapeText(text))
	}
}

// connectedText says that there is a session, and what the account may receive.
func (l *listenOptions) connectedText(c session, again string) string {
	name, _ := l.userName()
	return fmt.Sprintf("Listening as %s at the hub %s%s%s. Ctrl-C ends it.%s", escapeName(string(name)), escapeName(c.Hub()), l.patternsText(),
		again, restrictionText(name, c.Receives()))
}
