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

// A messageOptions is the message that the arguments and flags describe.
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

// message makes the message; its data is data, or all of in where data is "-" or missing.
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
somebody who was to get it is not there, or that a route decides who gets it and not
--to, is no failure, but said.

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
			c, err := o.dial(cmd.Context(), nil)
			if err != nil {
				return err
			}
			defer closeClient(c)
			ctx, cancel := context.WithTimeout(cmd.Context(), o.timeout)
			defer cancel()
			note, err := c.RequestNoted(ctx, m, nil)
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

// explainTimeout says that the hub took the message but it came to nothing.
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
	c, err := o.dial(cmd.Context(), nil)
	if err != nil {
		return err
	}
	defer closeClient(c)
	s := &pipeline{client: c, inFlight: make(chan struct{}, max(1, c.Credits()))}
	if isTerminal(cmd.ErrOrStderr()) && !quiet {
		s.progress = cmd.ErrOrStderr()
	}
	in := bufio.NewScanner(input(cmd))
	in.Buffer(nil, maxLine)
	for in.Scan() {
		s.lines++
		if m.Data, err = o.line(in.Bytes()); err != nil {
			break
		}
		if err = s.send(m); err != nil {
			break
		}
	}
	if err == nil && errors.Is(in.Err(), bufio.ErrTooLong) {
		s.lines++
		err = fmt.Errorf("longer than %d bytes", maxLine)
	}
	s.wait()
	switch {
	case c.Err() != nil && (err != nil || s.unanswered > 0):
		return s.disconnectedError(args[0], c.Err())
	case err != nil:
		return s.stoppedError(args[0], err)
	}
	return errors.Join(in.Err(), s.failureSummary())
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

// A pipeline is what sendLines has under way.
type pipeline struct {
	client    *client.Client
	inFlight  chan struct{} // one token for each message under way
	progress  io.Writer     // nil: none
	lastShown time.Time

	lines int // read so far

	mu          sync.Mutex
	answered    int
	failed      int
	firstFailed int   // line of the first that failed; 0: none
	firstErr    error // of it
	unanswered  int   // line of the first that was sent and not answered; 0: none
}

func (s *pipeline) send(m *hub.Message) error {
	select {
	case s.inFlight <- struct{}{}:
	default: // wait for an answer, to what has been sent
		s.client.Flush()
		select {
		case s.inFlight <- struct{}{}:
		case <-s.client.Done():
			return s.client.Err()
		}
	}
	s.showProgress(time.Second)
	n := s.lines
	err := s.client.Go(m, nil, func(err error) { s.onAnswer(n, err) })
	if err != nil {
		<-s.inFlight
	}
	return err
}

func (s *pipeline) onAnswer(line int, err error) {
	s.mu.Lock()
	switch {
	case err != nil && s.client.Err() != nil: // nobody knows what became of it
		if s.unanswered == 0 || line < s.unanswered {
			s.unanswered = line
		}
	case err != nil:
		s.failed++
		if s.firstFailed == 0 || line < s.firstFailed {
			s.firstFailed, s.firstErr = line, err
		}
		fallthrough
	default:
		s.answered++
	}
	s.mu.Unlock()
	<-s.inFlight
}

// wait waits until all that was sent has been answered.
func (s *pipeline) wait() {
	s.client.Flush()
	for range cap(s.inFlight) {
		s.inFlight <- struct{}{}
	}
	s.showProgress(0)
	if s.progress != nil {
		fmt.Fprintln(s.progress)
	}
}

func (s *pipeline) showProgress(every time.Duration) {
	if s.progress == nil || time.Since(s.lastShown) < every {
		return
	}
	s.lastShown = time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.progress, "\r%d sent, %d failed ", s.answered, s.failed)
}

// failureSummary says what has failed of what was sent.
func (s *pipeline) failureSummary() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed > 0 {
		return fmt.Errorf("%d of %d messages failed; the first, line %d: %w", s.failed, s.answered, s.firstFailed, s.firstErr)
	}
	return nil
}

// stoppedError says that a line could not be sent, what became of those before it, and how
// to go on.
func (s *pipeline) stoppedError(typ string, why error) error {
	err := fmt.Errorf("line %d: %w\nStopped there. %s. To go on, mend it and send what is left:\n%s",
		s.lines, why, s.summary(), resumeCommand(s.lines, typ))
	return errors.Join(err, s.failureSummary())
}

// disconnectedError says the same where the connection has ended.
func (s *pipeline) disconnectedError(typ string, why error) error {
	s.mu.Lock()
	from := s.unanswered
	s.mu.Unlock()
	if from == 0 {
		from = s.lines
	}
	err := fmt.Errorf("the connection to the hub ended: %w\n%s; of line %d and what was sent after it there is no word. To go on from there:\n%s",
		why, s.summary(), from, resumeCommand(from, typ))
	return &exitError{exitUnreachable, errors.Join(err, s.failureSummary())}
}

// summary counts the messages that were sent and answered.
func (s *pipeline) summary() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answered == 1 {
		return fmt.Sprintf("1 message was sent, %d failed", s.failed)
	}
	return fmt.Sprintf("%d messages were sent, %d failed", s.answered, s.failed)
}

func resumeCommand(line int, typ string) string {
	return fmt.Sprintf("  tail -n +%d FILE | bester send --lines %s", line, typ)
}
