package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/besterhub/bester/hub"
)

// messageOptions are the flags that describe a message.
type messageOptions struct {
	target
	to   []string
	text bool
}

func (o *messageOptions) flags(cmd *cobra.Command) {
	o.target.flags(cmd)
	cmd.Flags().StringArrayVar(&o.to, "to", nil, "for this `user` or user@server; may be given more than once")
	cmd.Flags().BoolVar(&o.text, "text", false, "DATA is plain text, to be sent as a string")
	cmd.RegisterFlagCompletionFunc("to", cobra.NoFileCompletions)
}

// maxInput is how many bytes the data of one message may have, as JSON: the largest frame
// that a hub can be set to take, and as much again since JSON may be longer.
const maxInput = 128 << 20

// message makes the message. Its data is the second argument, or standard input if that
// is "-" or missing.
func (o *messageOptions) message(cmd *cobra.Command, args []string) (*hub.Message, error) {
	m, err := o.header(args[0])
	if err != nil {
		return nil, err
	}
	var data []byte
	if len(args) > 1 && args[1] != "-" {
		data = []byte(args[1])
	} else if data, err = readAll(input(cmd), maxInput); err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(data)) == 0 && !o.text {
		empty := "standard input"
		if len(args) > 1 && args[1] != "-" {
			empty = "DATA"
		}
		return nil, fmt.Errorf("there is no data: %s is empty; want JSON, such as null, or with --text a text that may be empty", empty)
	}
	if m.Data, err = o.data(data); err != nil && !o.text {
		err = fmt.Errorf("%w\nA string stands in double quotes inside single ones, '\"like this\"'", err)
	}
	return m, err
}

// readAll reads to the end. More than most bytes are an error.
func readAll(r io.Reader, most int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("standard input has more than %d bytes: no hub takes that as one message; --lines sends each line as one", most)
	}
	return data, err
}

func (o *messageOptions) header(typ string) (*hub.Message, error) {
	t, err := hub.ParseType(typ)
	if err != nil {
		return nil, usageError{err}
	}
	m := &hub.Message{Type: t}
	for _, s := range o.to {
		a, err := hub.ParseAddress(s)
		if err != nil {
			return nil, usageError{fmt.Errorf("--to: %w", err)}
		}
		m.To = append(m.To, a)
	}
	return m, nil
}

func (o *messageOptions) data(b []byte) (hub.Data, error) {
	switch {
	case o.text && !utf8.Valid(b):
		return hub.Data{}, fmt.Errorf("text is not UTF-8: %.60q; iconv converts it", b)
	case o.text:
		b, _ = json.Marshal(string(b))
	case !json.Valid(b):
		return hub.Data{}, fmt.Errorf("data is not JSON: %.60q; --text takes it as plain text", b)
	}
	return hub.Data{Encoding: hub.JSON, Bytes: b}, nil
}

func sendCommand() *cobra.Command {
	var o messageOptions
	var byLine bool
	var lines lineOptions
	cmd := &cobra.Command{
		Use:   "send TYPE [DATA]",
		Short: "Send a message and say what became of it",
		Long: `Send a message of type TYPE and wait until the hub says what became of it. That
somebody who was to get it is not there, that a route decides who gets it and not --to,
or that another server did not confirm it, is no failure, but said.

DATA is JSON; without it, or where it is -, it is read from standard input, to its
end, however long that takes. The hub then has until --timeout for the whole command.

With --lines each line of standard input is a message of its own. What has come is
sent at once, without waiting for more input or for one another's answer. Where the
hub is not there, or no longer, it is waited for; lines without its confirmation are
kept, up to 4 MiB, and sent again in order, so that each arrives at least once. Only a
--timeout that is given ends that: when there has been no hub, or no answer, for so
long. A line that is no JSON or too long is told with its number and skipped, unless
--strict stops there; empty lines are left out, except with --text.`,
		Example: `  bester send door/open '{"by":"key"}'
  bester send --to ann --text chat 'hello'
  tail -f values.json | bester send --lines reading/well/level`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case byLine:
				return o.sendLines(cmd, args, lines)
			case lines.strict, lines.quiet:
				return usageError{errors.New("--strict and --quiet are for --lines, which sends each line of standard input as a message")}
			}
			m, err := o.message(cmd, args)
			if err != nil {
				return err
			}
			ctx, cancel := o.within(cmd.Context())
			defer cancel()
			c, err := o.dial(ctx, sendOnly)
			if err != nil {
				return err
			}
			defer closeClient(ctx, c)
			note, err := c.RequestWithNote(ctx, m, nil)
			tellNote(cmd, note, m)
			return o.requestError(err, messageUnknown)
		},
	}
	o.flags(cmd)
	cmd.Flags().BoolVar(&byLine, "lines", false, "each line of standard input is a message")
	cmd.Flags().BoolVar(&lines.strict, "strict", false, "with --lines: stop at a line that cannot be sent, not skip it")
	cmd.Flags().BoolVarP(&lines.quiet, "quiet", "q", false, "with --lines: no progress on a terminal, and no word that the hub is waited for")
	return cmd
}

// tellNote tells the hub's note on m, if there is one.
func tellNote(cmd *cobra.Command, note string, m *hub.Message) {
	if note != "" {
		fmt.Fprintln(cmd.ErrOrStderr(), "bester: note:", escapeText(nameAbsent(note, m.To)))
	}
}

// messageUnknown is what an unanswered message leaves open.
const messageUnknown = ": the message may have arrived or not"
