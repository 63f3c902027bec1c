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

// An outgoing is the message that the arguments and flags describe.
type outgoing struct {
	target
	to   []string
	text bool
}

func (o *outgoing) flags(cmd *cobra.Command) {
	o.target.flags(cmd)
	cmd.Flags().StringArrayVar(&o.to, "to", nil, "for this `user` or user@server; may be given more than once")
	cmd.Flags().BoolVar(&o.text, "text", false, "DATA is plain text, to be sent as a string")
	cmd.RegisterFlagCompletionFunc("to", cobra.NoFileCompletions)
}

// message makes the message; its data is data, or all of in where data is "-" or missing.
func (o *outgoing) message(cmd *cobra.Command, args []string) (*hub.Message, error) {
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

func (o *outgoing) header(typ string) (*hub.Message, error) {
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

func (o *outgoing) data(b []byte) (hub.Data, error) {
	if o.text {
		b, _ = json.Marshal(string(b))
	} else if !json.Valid(b) {
		return hub.Data{}, fmt.Errorf("data is not JSON: %.60q\nPut a string in double quotes inside single ones, '\"like this\"', or use --text", b)
	}
	return hub.Data{Encoding: hub.JSON, Bytes: b}, nil
}

func sendCommand() *cobra.Command {
	var o outgoing
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
			defer over(c)
			ctx, cancel := context.WithTimeout(cmd.Context(), o.timeout)
			defer cancel()
			note, err := c.RequestWithNote(ctx, m, nil)
			if note != "" {
				fmt.Fprintln(cmd.ErrOrStderr(), "bester: note:", plain(note))
			}
			return failed(err)
		},
	}
	o.flags(cmd)
	cmd.Flags().BoolVar(&lines, "lines", false, "each line of standard input is a message")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "with --lines: no progress on a terminal")
	return cmd
}

// failed says that the hub took the message but it came to nothing.
func failed(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no word from the hub in time: the message may have arrived or not")
	}
	return err
}

// sendLines sends each line as a message, as many at once as the hub allows.
func (o *outgoing) sendLines(cmd *cobra.Command, args []string, quiet bool) error {
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
	defer over(c)
	s := &stream{client: c, free: make(chan struct{}, max(1, c.Credits()))}
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
	case c.Err() != nil && (err != nil || s.lost > 0):
		return s.cutOff(args[0], c.Err())
	case err != nil:
		return s.stopped(args[0], err)
	}
	return errors.Join(in.Err(), s.result())
}

// maxLine is the longest line that is sent, in bytes.
const maxLine = 1 << 20

// line makes the data of one line.
func (o *outgoing) line(b []byte) (hub.Data, error) {
	if !o.text && !json.Valid(b) {
		return hub.Data{}, fmt.Errorf("data is not JSON: %.60q; --text takes lines as plain text", b)
	}
	return o.data(b)
}

// A stream is what sendLines has under way.
type stream struct {
	client   *client.Client
	free     chan struct{} // one token for each message under way
	progress io.Writer     // nil: none
	shown    time.Time

	lines int // read so far

	mu     sync.Mutex
	done   int
	failed int
	first  int   // line of the first that failed; 0: none
	why    error // of it
	lost   int   // line of the first that was sent and not answered; 0: none
}

func (s *stream) send(m *hub.Message) error {
	select {
	case s.free <- struct{}{}:
	default: // wait for an answer, to what has been sent
		s.client.Flush()
		select {
		case s.free <- struct{}{}:
		case <-s.client.Done():
			return s.client.Err()
		}
	}
	s.show(time.Second)
	n := s.lines
	err := s.client.Go(m, nil, func(err error) { s.answered(n, err) })
	if err != nil {
		<-s.free
	}
	return err
}

func (s *stream) answered(line int, err error) {
	s.mu.Lock()
	switch {
	case err != nil && s.client.Err() != nil: // nobody knows what became of it
		if s.lost == 0 || line < s.lost {
			s.lost = line
		}
	case err != nil:
		s.failed++
		if s.first == 0 || line < s.first {
			s.first, s.why = line, err
		}
		fallthrough
	default:
		s.done++
	}
	s.mu.Unlock()
	<-s.free
}

// wait waits until all that was sent has been answered.
func (s *stream) wait() {
	s.client.Flush()
	for range cap(s.free) {
		s.free <- struct{}{}
	}
	s.show(0)
	if s.progress != nil {
		fmt.Fprintln(s.progress)
	}
}

func (s *stream) show(every time.Duration) {
	if s.progress == nil || time.Since(s.shown) < every {
		return
	}
	s.shown = time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.progress, "\r%d sent, %d failed ", s.done, s.failed)
}

// result says what has failed of what was sent.
func (s *stream) result() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed > 0 {
		return fmt.Errorf("%d of %d messages failed; the first, line %d: %w", s.failed, s.done, s.first, s.why)
	}
	return nil
}

// stopped says that a line could not be sent, what became of those before it, and how
// to go on.
func (s *stream) stopped(typ string, why error) error {
	err := fmt.Errorf("line %d: %w\nStopped there. %s. To go on, mend it and send what is left:\n%s",
		s.lines, why, s.before(), goOn(s.lines, typ))
	return errors.Join(err, s.result())
}

// cutOff says the same where the connection has ended.
func (s *stream) cutOff(typ string, why error) error {
	s.mu.Lock()
	from := s.lost
	s.mu.Unlock()
	if from == 0 {
		from = s.lines
	}
	err := fmt.Errorf("the connection to the hub ended: %w\n%s; of line %d and what was sent after it there is no word. To go on from there:\n%s",
		why, s.before(), from, goOn(from, typ))
	return &exit{exitAway, errors.Join(err, s.result())}
}

// before counts the messages that were sent and answered.
func (s *stream) before() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done == 1 {
		return fmt.Sprintf("1 message was sent, %d failed", s.failed)
	}
	return fmt.Sprintf("%d messages were sent, %d failed", s.done, s.failed)
}

func goOn(line int, typ string) string {
	return fmt.Sprintf("  tail -n +%d FILE | bester send --lines %s", line, typ)
}
