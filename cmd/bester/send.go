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
		Long: `Send a message of type TYPE and wait until the hub says what became of it.

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
			return failed(c.Send(ctx, m))
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
	in.Buffer(nil, 1<<20)
	n := 0
	for in.Scan() {
		n++
		if m.Data, err = o.data(in.Bytes()); err != nil {
			err = fmt.Errorf("line %d: %w", n, err)
			break
		}
		if err = s.send(m); err != nil {
			break
		}
	}
	s.wait()
	return errors.Join(err, in.Err(), s.result())
}

// A stream is what sendLines has under way.
type stream struct {
	client   *client.Client
	free     chan struct{} // one token for each message under way
	progress io.Writer     // nil: none
	shown    time.Time

	mu     sync.Mutex
	done   int
	failed int
	first  error
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
	err := s.client.Go(m, nil, s.answered)
	if err != nil {
		<-s.free
	}
	return err
}

func (s *stream) answered(err error) {
	s.mu.Lock()
	s.done++
	if err != nil {
		s.failed++
		if s.first == nil {
			s.first = err
		}
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

func (s *stream) result() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed > 0 {
		return fmt.Errorf("%d of %d messages failed; the first: %w", s.failed, s.done, s.first)
	}
	return nil
}
