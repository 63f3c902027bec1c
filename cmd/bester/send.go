package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/client"
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
	} else if data, err = io.ReadAll(io.LimitReader(input(cmd), 64<<20)); err != nil {
		return nil, err
	}
	m.Data, err = o.data(data)
	return m, err
}

func (o *messageOptions) header(typ string) (*hub.Message, error) {
	t, err := hub.ParseType(typ)
	if err != nil {
		return nil, err
	}
	m := &hub.Message{Type: t}
	for _, s := range o.to {
		a, err := hub.ParseAddress(s)
		if err != nil {
			return nil, err
		}
		m.To = append(m.To, a)
	}
	return m, nil
}

func (o *messageOptions) data(b []byte) (hub.Data, error) {
	if o.text {
		b, _ = json.Marshal(string(b))
	} else if !json.Valid(b) {
		return hub.Data{}, fmt.Errorf("data is not JSON: %.60q\nPut a string in double quotes inside single ones, '\"like this\"', or use --text", b)
	}
	return hub.Data{Encoding: hub.JSON, Bytes: b}, nil
}

func sendCommand() *cobra.Command {
	var o messageOptions
	var lines, quiet bool
	cmd := &cobra.Command{
		Use:   "send TYPE [DATA]",
		Short: "Send a message and say what became of it",
		Long: `Send a message of type TYPE and wait until the hub says what became of it. That
somebody who was to get it is not there, that a route decides who gets it and not --to,
or that another server did not confirm it, is no failure, but said.

DATA is JSON; without it, or where it is -, it is read from standard input. With
--lines each line there is a message of its own, and they are sent without waiting
for one another.`,
		Example: `  bester send door/open '{"by":"key"}'
  bester send --to ann --text chat 'hello'
  tail -f values.json | bester send --lines reading/well/level`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if lines {
				return o.sendLines(cmd, args, quiet)
			}
			m, err := o.message(cmd, args)
			if err != nil {
				return err
			}
			c, err := o.dial(cmd.Context(), sendOnly)
			if err != nil {
				return err
			}
			defer closeClient(c)
			ctx, cancel := context.WithTimeout(cmd.Context(), o.timeout)
			defer cancel()
			note, err := c.RequestWithNote(ctx, m, nil)
			if note != "" {
				fmt.Fprintln(cmd.ErrOrStderr(), "bester: note:", escapeText(note))
			}
			return explainTimeout(err)
		},
	}
	o.flags(cmd)
	cmd.Flags().BoolVar(&lines, "lines", false, "each line of standard input is a message")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "with --lines: no progress on a terminal")
	return cmd
}

// explainTimeout replaces the error of a timeout, after which the message may have been
// handled or not.
func explainTimeout(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no word from the hub in time: the message may have arrived or not")
	}
	return err
}

// sendLines sends each line as a message, as many at once as the hub allows.
func (o *messageOptions) sendLines(cmd *cobra.Command, args []string, quiet bool) error {
	if len(args) > 1 {
		return usageError{errors.New("with --lines the data comes from standard input: leave DATA out")}
	}
	m, err := o.header(args[0])
	if err != nil {
		return err
	}
	c, err := o.dial(cmd.Context(), sendOnly)
	if err != nil {
		return err
	}
	defer closeClient(c)
	p := &pipeline{client: c, inFlight: make(chan struct{}, max(1, c.Credits()))}
	if isTerminal(cmd.ErrOrStderr()) && !quiet {
		p.progress = cmd.ErrOrStderr()
	}
	in := bufio.NewScanner(input(cmd))
	in.Buffer(nil, maxLine)
	for in.Scan() {
		p.lines++
		if m.Data, err = o.line(in.Bytes()); err != nil {
			break
		}
		if err = p.send(m); err != nil {
			break
		}
	}
	if err == nil && errors.Is(in.Err(), bufio.ErrTooLong) {
		p.lines++
		err = fmt.Errorf("longer than %d bytes", maxLine)
	}
	p.wait()
	if note := p.noteSummary(); note != "" {
		fmt.Fprintln(cmd.ErrOrStderr(), "bester: note:", escapeText(note))
	}
	switch {
	case c.Err() != nil && (err != nil || p.unanswered > 0):
		return p.disconnectedError(args[0], c.Err())
	case err != nil:
		return p.stoppedError(args[0], err)
	}
	return errors.Join(in.Err(), p.failureSummary())
}

// maxLine is the longest line that is sent, in bytes.
const maxLine = 1 << 20

// line makes the data of one line.
func (o *messageOptions) line(b []byte) (hub.Data, error) {
	if !o.text && !json.Valid(b) {
		return hub.Data{}, fmt.Errorf("data is not JSON: %.60q; --text takes lines as plain text", b)
	}
	return o.data(b)
}

// A pipeline sends the messages of sendLines and counts their answers.
type pipeline struct {
	client    *client.Client
	inFlight  chan struct{} // one token for each message in flight
	progress  io.Writer     // nil: none
	lastShown time.Time

	lines int // read so far

	mu          sync.Mutex
	answered    int
	failed      int
	firstFailed int   // line of the first that failed; 0: none
	firstErr    error // of it
	noted       int   // messages that the hub had a note on
	firstNoted  int   // line of the first of these; 0: none
	firstNote   string
	unanswered  int // line of the first that was sent and not answered; 0: none
}

func (p *pipeline) send(m *hub.Message) error {
	select {
	case p.inFlight <- struct{}{}:
	default: // wait for the answer to a message in flight
		p.client.Flush()
		select {
		case p.inFlight <- struct{}{}:
		case <-p.client.Done():
			return p.client.Err()
		}
	}
	p.showProgress(time.Second)
	n := p.lines
	err := p.client.GoWithNote(m, nil, func(note string, err error) { p.onAnswer(n, note, err) })
	if err != nil {
		<-p.inFlight
	}
	return err
}

func (p *pipeline) onAnswer(line int, note string, err error) {
	p.mu.Lock()
	if note != "" {
		if p.noted++; p.firstNoted == 0 || line < p.firstNoted {
			p.firstNoted, p.firstNote = line, note
		}
	}
	switch {
	case err != nil && p.client.Err() != nil: // the message may have been handled or not
		if p.unanswered == 0 || line < p.unanswered {
			p.unanswered = line
		}
	case err != nil:
		p.failed++
		if p.firstFailed == 0 || line < p.firstFailed {
			p.firstFailed, p.firstErr = line, err
		}
		fallthrough
	default:
		p.answered++
	}
	p.mu.Unlock()
	<-p.inFlight
}

// wait waits for the answers to all messages in flight.
func (p *pipeline) wait() {
	p.client.Flush()
	for range cap(p.inFlight) {
		p.inFlight <- struct{}{}
	}
	p.showProgress(0)
	if p.progress != nil {
		fmt.Fprintln(p.progress)
	}
}

func (p *pipeline) showProgress(every time.Duration) {
	if p.progress == nil || time.Since(p.lastShown) < every {
		return
	}
	p.lastShown = time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.progress, "\r%d sent, %d failed ", p.answered, p.failed)
}

// failureSummary returns an error if messages have failed.
func (p *pipeline) failureSummary() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed > 0 {
		return fmt.Errorf("%d of %d messages failed; the first, line %d: %w", p.failed, p.answered, p.firstFailed, p.firstErr)
	}
	return nil
}

// stoppedError returns an error that says that a line could not be sent, what became of
// those before it, and how to go on.
func (p *pipeline) stoppedError(typ string, why error) error {
	err := fmt.Errorf("line %d: %w\nStopped there. %s. To go on, mend it and send what is left:\n%s",
		p.lines, why, p.summary(), resumeCommand(p.lines, typ))
	return errors.Join(err, p.failureSummary())
}

// disconnectedError is stoppedError for a connection that has ended.
func (p *pipeline) disconnectedError(typ string, why error) error {
	p.mu.Lock()
	from := p.unanswered
	p.mu.Unlock()
	if from == 0 {
		from = p.lines
	}
	err := fmt.Errorf("the connection to the hub ended: %w\n%s; of line %d and what was sent after it there is no word. To go on from there:\n%s",
		why, p.summary(), from, resumeCommand(from, typ))
	return &exitError{exitUnreachable, errors.Join(err, p.failureSummary())}
}

// noteSummary says what the hub noted on messages that have not failed; "" if nothing.
func (p *pipeline) noteSummary() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch p.noted {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("line %d: %s", p.firstNoted, p.firstNote)
	}
	return fmt.Sprintf("%d messages, line %d the first: %s", p.noted, p.firstNoted, p.firstNote)
}

// summary counts the messages that were sent and answered.
func (p *pipeline) summary() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.answered == 1 {
		return fmt.Sprintf("1 message was sent, %d failed", p.failed)
	}
	return fmt.Sprintf("%d messages were sent, %d failed", p.answered, p.failed)
}

func resumeCommand(line int, typ string) string {
	return fmt.Sprintf("  tail -n +%d FILE | bester send --lines %s", line, typ)
}
