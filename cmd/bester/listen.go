package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/besterhub/bester/devices/senml"
	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/wire"
)

// A printer writes messages, for people or as JSON, one line each or, of readings,
// one line for each.
type printer struct {
	json   bool
	colour bool

	mu   sync.Mutex
	out  *bufio.Writer
	n    int
	err  error
	line []byte

	senml senml.Reader
}

func newPrinter(cmd *cobra.Command, json bool) *printer {
	out := cmd.OutOrStdout()
	p := &printer{json: json, out: bufio.NewWriter(out)}
	if f, ok := out.(interface{ Fd() uintptr }); ok && !json {
		p.colour = term.IsTerminal(int(f.Fd()))
	}
	return p
}

// print writes one message. An error of the output is kept.
func (p *printer) print(m *hub.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n++
	line, err := p.line[:0], error(nil)
	if p.json {
		line, err = appendObject(line, m)
	} else {
		line, err = p.appendText(line, m)
	}
	p.line = line
	if err == nil {
		_, err = p.out.Write(line)
	}
	if err == nil {
		err = p.out.Flush()
	}
	if p.err == nil {
		p.err = err
	}
}

// appendObject writes a message as one JSON object on a line of its own.
func appendObject(dst []byte, m *hub.Message) ([]byte, error) {
	dst = append(dst, `{"type":`...)
	dst = wire.AppendJSONString(dst, string(m.Type))
	if m.From != (hub.Address{}) {
		dst = append(dst, `,"from":`...)
		dst = wire.AppendJSONString(dst, m.From.String())
	}
	if m.ID != (hub.ID{}) {
		dst = append(dst, `,"id":`...)
		dst = wire.AppendJSONString(dst, m.ID.String())
	}
	if !m.Time.IsZero() {
		dst = append(dst, `,"time":`...)
		dst = wire.AppendJSONString(dst, m.Time.UTC().Format(time.RFC3339Nano))
	}
	dst = append(dst, `,"data":`...)
	dst, err := wire.AppendJSON(dst, m.Data)
	return append(dst, "}\n"...), err
}

// appendText writes a message for people: readings one a line, other data as JSON.
func (p *printer) appendText(dst []byte, m *hub.Message) ([]byte, error) {
	if lines, ok := p.appendReadings(dst, m); ok {
		return lines, nil
	}
	dst = p.appendHead(dst, sent(m), string(m.Type))
	dst, err := wire.AppendJSON(dst, m.Data)
	return append(dst, '\n'), err
}

func sent(m *hub.Message) time.Time {
	if m.Time.IsZero() {
		return time.Now()
	}
	return m.Time
}

// appendReadings writes a SenML pack. It reports false where the data is none.
func (p *printer) appendReadings(dst []byte, m *hub.Message) ([]byte, bool) {
	start, n := len(dst), 0
	mark := ""
	if strings.HasPrefix(string(m.Type), "alarm/") {
		mark = "! "
	}
	p.senml.Reset(m.Data)
	for p.senml.Next() {
		r := p.senml.Record()
		dst = p.appendHead(dst, r.At(sent(m)), mark+string(r.Name))
		dst = append(appendValue(dst, r), '\n')
		n++
	}
	if p.senml.Err() != nil || n == 0 {
		return dst[:start], false
	}
	return dst, true
}

// appendValue writes what a record says.
func appendValue(dst []byte, r *senml.Record) []byte {
	switch r.Kind {
	case senml.Number:
		unit, v := string(r.Unit), r.Number
		switch unit { // as people are used to seeing them
		case "/":
			unit, v = "%", 100*v
		case "Cel":
			unit = "°C"
		default:
			unit = clean(unit)
		}
		dst = strconv.AppendFloat(dst, v, 'g', 6, 64)
		if unit != "" {
			dst = append(append(dst, ' '), unit...)
		}
	case senml.Bool:
		dst = strconv.AppendBool(dst, r.Number != 0)
	case senml.Text:
		dst = append(dst, clean(string(r.Text))...)
	case senml.Blob:
		dst = fmt.Appendf(dst, "%d bytes", len(r.Text))
	}
	return dst
}

// appendHead writes the time and what the line is about, in a column of its own.
func (p *printer) appendHead(dst []byte, when time.Time, what string) []byte {
	const dim, bold, plain = "\x1b[2m", "\x1b[1m", "\x1b[0m"
	if p.colour {
		dst = append(dst, dim...)
	}
	dst = when.Local().AppendFormat(dst, "15:04:05.000")
	if p.colour {
		dst = append(dst, plain+bold...)
	}
	dst = fmt.Appendf(dst, "  %-44s", clean(what))
	if p.colour {
		dst = append(dst, plain...)
	}
	return append(dst, "  "...)
}

// clean keeps what a stranger sent from steering the terminal.
func clean(s string) string {
	if q := strconv.Quote(s); len(q) != len(s)+2 {
		return q
	}
	return s
}

func listenCommand() *cobra.Command {
	var t target
	var asJSON bool
	var count int
	var duration time.Duration
	cmd := &cobra.Command{
		Use:   "listen",
		Short: "Show what the hub has for a user, as it comes",
		Long: `Show what the hub has for a user, as it comes, until Ctrl-C.

A user gets what handlers and routes send to that name. Readings are shown one a
line; with --json every message is one JSON object on a line of its own.`,
		Example: `  bester listen --user dashboard
  bester listen --user dashboard --json | jq .data`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithCancel(cmd.Context())
			if duration > 0 {
				ctx, cancel = context.WithTimeout(cmd.Context(), duration)
			}
			defer cancel()
			p := newPrinter(cmd, asJSON)
			c, err := t.dial(ctx, func(m *hub.Message) {
				if count > 0 && p.n == count {
					return
				}
				p.print(m)
				if p.err != nil || p.n == count {
					cancel()
				}
			})
			if err != nil {
				return err
			}
			defer over(c)
			select {
			case <-ctx.Done():
				return p.failure()
			case <-c.Done():
				return &exit{exitAway, fmt.Errorf("the hub closed the connection: %w", c.Err())}
			}
		},
	}
	t.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON, one object a line")
	cmd.Flags().IntVarP(&count, "count", "n", 0, "end after this many messages")
	cmd.Flags().DurationVar(&duration, "for", 0, "end after this long")
	return cmd
}

func (p *printer) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if errors.Is(p.err, io.ErrClosedPipe) {
		return nil
	}
	return p.err
}

func requestCommand() *cobra.Command {
	var o outgoing
	var asJSON bool
	var count int
	cmd := &cobra.Command{
		Use:   "request TYPE [DATA]",
		Short: "Send a message and show what comes back",
		Long: `Send a message of type TYPE and show what comes back: the replies of its handlers,
and what they send to the user it is sent as. It ends with the first that comes (or as
many as --count says), or with an error when nothing came in time.

DATA is as for bester send.`,
		Example:           `  bester request clock '{"zone":"UTC"}'`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := o.message(args, cmd.InOrStdin())
			if err != nil {
				return err
			}
			p := newPrinter(cmd, asJSON)
			enough := make(chan struct{})
			show := func(m *hub.Message) {
				if p.n < count {
					if p.print(m); p.n == count {
						close(enough)
					}
				}
			}
			c, err := o.dial(cmd.Context(), show)
			if err != nil {
				return err
			}
			defer over(c)
			ctx, cancel := context.WithTimeout(cmd.Context(), o.timeout)
			defer cancel()
			if err := c.Request(ctx, m, show); err != nil {
				return failed(err)
			}
			select {
			case <-enough:
				return p.failure()
			case <-c.Done():
				return &exit{exitAway, fmt.Errorf("the hub closed the connection: %w", c.Err())}
			case <-ctx.Done():
				return errors.New("the message was handled, but nothing came back in time")
			}
		},
	}
	o.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON, one object a line")
	cmd.Flags().IntVarP(&count, "count", "n", 1, "end after this many messages")
	return cmd
}
