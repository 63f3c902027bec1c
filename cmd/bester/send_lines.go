package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/client"
)

// The walk of a line, with --lines:
//
//  1. The lineReader reads it, with all lines that have arrived with it.
//  2. run takes the batch, checks each line, and keeps it.
//  3. sendKept sends as many as the hub takes at a time, and flushes what it has sent:
//     nothing waits for the input.
//  4. The hub answers: the line is confirmed or has failed, and is no longer kept.
//  5. When a session ends, what has no answer is sent again in the next one, in order.

// lineOptions are the flags of send --lines.
type lineOptions struct {
	strict bool
	quiet  bool
	// hubTimeout is how long the hub may be away, or not answer; 0: for ever.
	hubTimeout time.Duration
}

// maxKept is how many bytes of lines are kept while they have no answer, besides a last
// batch. Then no more is read: who writes to the pipe waits.
const maxKept = 4 << 20

// fullRetry is how long to wait when the connection takes no more for now and no answer is
// awaited that would say when it does.
const fullRetry = 20 * time.Millisecond

// A keptLine is a line that has been read and has no answer yet.
type keptLine struct {
	number int
	data   hub.Data
	done   bool // it has its answer
}

// A lineSender sends lines as messages. Its fields belong to the goroutine of run, except
// where they say otherwise.
type lineSender struct {
	lineOptions
	header   *hub.Message
	typ      string
	text     bool // lines are plain text: an empty one is a message too
	data     func(b []byte) (hub.Data, error)
	dial     func(ctx context.Context) (session, error)
	input    func() io.Reader
	report   func(text string) // tells the operator; called from two goroutines
	progress *progressLine     // nil: none

	limit    atomic.Int64 // bytes of a line; read by the lineReader
	lastDial atomic.Pointer[error]

	kept  []*keptLine // in the order of the input
	sent  int         // how many of kept have been sent in this session
	bytes int         // of kept

	session  session // nil: none
	sessions int     // how many there have been
	inFlight int
	full     bool // the connection took no more
	answers  answerQueue

	lastLine     int   // the number of the last line taken from the input
	ended        error // why no more is read; nil: more is
	wrong        error // of the line at which strict stopped
	lastProgress time.Time
	lineCounts
}

// sendLines sends each line of standard input as a message.
func (o *messageOptions) sendLines(cmd *cobra.Command, args []string, lines lineOptions) error {
	if len(args) > 1 {
		return usageError{errors.New("with --lines the data comes from standard input: leave DATA out")}
	}
	m, err := o.header(args[0])
	if err != nil {
		return err
	}
	if cmd.Flags().Changed("timeout") {
		lines.hubTimeout = o.timeout
	}
	s := &lineSender{
		lineOptions: lines, header: m, typ: args[0], text: o.text, data: o.data,
		dial:   func(ctx context.Context) (session, error) { return o.target.dial(ctx, sendOnly) },
		input:  func() io.Reader { return input(cmd) },
		report: func(text string) { fmt.Fprintln(cmd.ErrOrStderr(), escapeText(text)) },
	}
	// What is typed at the terminal would be in the same line.
	if isTerminal(cmd.ErrOrStderr()) && !isTerminal(cmd.InOrStdin()) && !lines.quiet {
		s.progress = newProgressLine(cmd.ErrOrStderr(), 0, time.Second)
		cmd.SetErr(s.progress)
	}
	return s.run(cmd.Context())
}

// A newSession is a session that has begun; again is empty for the first.
type newSession struct {
	session
	again string
}

// run sends until the input has ended and every line has its answer.
func (s *lineSender) run(command context.Context) error {
	ctx, cancel := context.WithCancel(command)
	defer cancel()
	sessions, batches, connectionEnded := make(chan newSession), make(chan batch), make(chan error, 1)
	connection := reconnectingSession{
		dial: func(ctx context.Context) (session, error) {
			c, err := s.dial(ctx)
			if ctx.Err() == nil { // otherwise it has no reason of its own
				s.lastDial.Store(&err)
			}
			return c, err
		},
		connected: func(c session, again string) {
			select {
			case sessions <- newSession{c, again}:
			case <-ctx.Done():
			}
		},
		meanwhile: "what is not confirmed is kept and sent again",
	}
	if !s.quiet {
		connection.report = s.report
	}
	go func() { connectionEnded <- connection.run(ctx, ctx) }()
	s.answers.wake = make(chan struct{}, 1)
	s.lastProgress = time.Now()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()

	for {
		s.takeAnswers()
		if s.ended != nil && len(s.kept) == 0 {
			cancel()
			<-connectionEnded // it has said goodbye
			return s.outcome(nil)
		}
		s.sendKept()
		s.showProgress()
		var in chan batch // nil: no more is taken for now
		if s.ended == nil && s.sessions > 0 && s.bytes < maxKept {
			in = batches
		}
		var sessionEnded <-chan struct{}
		if s.session != nil {
			sessionEnded = s.session.Done()
		}
		timer.Reset(s.nextCheck())
		select {
		case b := <-in:
			s.take(b)
		case <-s.answers.wake:
		case c := <-sessions:
			if s.begin(c); s.sessions == 1 {
				go newLineReader(s.input(), &s.limit).run(batches, ctx.Done())
			}
		case <-sessionEnded:
			s.session = nil
			s.lastProgress = time.Now()
		case <-timer.C:
			if s.timedOut() {
				cancel()
				<-connectionEnded
				s.takeAnswers()
				return s.outcome(s.timeoutError())
			}
		case err := <-connectionEnded: // no session again, or ctx has ended
			s.takeAnswers()
			return s.outcome(cmp.Or(command.Err(), err))
		}
	}
}

// take keeps the lines of a batch that can be sent.
func (s *lineSender) take(b batch) {
	for _, l := range b.lines {
		if s.wrong != nil {
			return
		}
		s.lastLine = l.number
		switch {
		case l.text == nil:
			s.refuse(l.number, fmt.Errorf("%d bytes are more than the hub takes: hub.frame in its config sets the limit", l.length))
			continue
		case !s.text && len(bytes.TrimSpace(l.text)) == 0:
			continue
		}
		data, err := s.data(l.text)
		if err != nil {
			s.refuse(l.number, err)
			continue
		}
		s.kept = append(s.kept, &keptLine{number: l.number, data: data})
		s.bytes += len(data.Bytes)
	}
	if s.ended == nil {
		s.ended = b.err
	}
}

// refuse skips a line that cannot be sent or, with strict, stops there.
func (s *lineSender) refuse(number int, err error) {
	if s.strict {
		s.wrong, s.ended, s.lastLine = err, io.EOF, number
		return
	}
	if more, ok := s.skip(number, err); ok {
		s.report(fmt.Sprintf("bester: line %d is skipped: %v%s", number, err, more))
	}
}

// begin takes a new session: what has no answer is sent in it.
func (s *lineSender) begin(c newSession) {
	s.session = c.session
	s.sessions++
	s.sent, s.inFlight, s.full = 0, 0, false
	frame := c.MaxFrame()
	if frame <= 0 {
		frame = bformat.DefaultLimit
	}
	s.limit.Store(2 * int64(frame)) // JSON may be longer than what is sent of it
	s.lastProgress = time.Now()
	if c.again != "" && !s.quiet {
		s.report(fmt.Sprintf("Connected to the hub %s%s; unconfirmed lines that are sent again: %d.", escapeName(c.Hub()), c.again, len(s.kept)))
	}
}

// sendKept sends what is kept, as far as the hub takes it, and flushes.
func (s *lineSender) sendKept() {
	s.full = false
	if s.session == nil {
		return
	}
	window := max(1, s.session.Credits())
	before := s.sent
	for s.sent < len(s.kept) && s.inFlight < window && !s.full {
		l, session := s.kept[s.sent], s.sessions
		if l.done {
			s.sent++
			continue
		}
		m := *s.header
		m.Data = l.data
		err := s.session.GoWithNote(&m, nil, func(note string, err error) { s.answers.put(answer{l, session, nameAbsent(note, s.header.To), err}) })
		switch {
		case err == nil:
			s.inFlight++
			s.sent++
		case errors.Is(err, client.ErrDisconnected): // its end is about to be seen
			return
		case errors.Is(err, hub.ErrFull):
			s.full = true
		default: // it cannot be sent
			s.forget(s.sent)
			if s.refuse(l.number, err); s.wrong != nil {
				s.forgetFrom(s.sent)
			}
		}
	}
	if s.sent > before || s.full {
		s.session.Flush()
	}
}

// forget removes the line at i, which has not been sent.
func (s *lineSender) forget(i int) {
	s.bytes -= len(s.kept[i].data.Bytes)
	s.kept = slices.Delete(s.kept, i, i+1)
}

// forgetFrom removes the lines from i on, which have not been sent.
func (s *lineSender) forgetFrom(i int) {
	for len(s.kept) > i {
		s.forget(len(s.kept) - 1)
	}
}

// takeAnswers takes the answers that have come.
func (s *lineSender) takeAnswers() {
	for _, a := range s.answers.take() {
		if a.session == s.sessions {
			s.inFlight--
		}
		if a.line.done || errors.Is(a.err, client.ErrDisconnected) {
			continue
		}
		a.line.done = true
		s.bytes -= len(a.line.data.Bytes)
		s.lastProgress = time.Now()
		if more, ok := s.note(a.line.number, a.note); ok {
			s.report(fmt.Sprintf("bester: note: line %d: %s%s", a.line.number, a.note, more))
		}
		if more, ok := s.answer(a.line.number, a.err); ok {
			s.report(fmt.Sprintf("bester: line %d failed: %v%s", a.line.number, a.err, more))
		}
	}
	for len(s.kept) > 0 && s.kept[0].done {
		s.kept[0] = nil
		s.kept = s.kept[1:]
		s.sent = max(0, s.sent-1)
	}
}

// nextCheck is how long to wait until something is to be done that no event tells.
func (s *lineSender) nextCheck() time.Duration {
	switch {
	case s.full:
		return fullRetry
	case s.hubTimeout > 0 || s.progress != nil && len(s.kept) > 0:
		return min(time.Second, max(s.hubTimeout/8, time.Millisecond))
	}
	return time.Hour
}

// timedOut reports whether there has been no session, or no answer, for longer than
// patience. The first attempt is always finished: its reason is the one that is told.
func (s *lineSender) timedOut() bool {
	awaited := s.session == nil && s.lastDial.Load() != nil || s.session != nil && s.inFlight > 0
	return s.hubTimeout > 0 && awaited && time.Since(s.lastProgress) >= s.hubTimeout
}

// timeoutError is the error when there is no patience left.
func (s *lineSender) timeoutError() error {
	if s.session == nil {
		if err := s.lastDial.Load(); err != nil && *err != nil {
			return *err
		}
	}
	return &exitError{exitUnreachable, fmt.Errorf("the hub did not answer in %v", s.hubTimeout)}
}

// An answerQueue carries answers from the goroutine that reads the connection. It holds no
// more than there are in flight.
type answerQueue struct {
	wake chan struct{} // receives after put

	mu      sync.Mutex
	waiting []answer
}

// An answer is what became of a line that was sent.
type answer struct {
	line    *keptLine
	session int // the number of the session that it was sent in
	note    string
	err     error
}

func (q *answerQueue) put(a answer) {
	q.mu.Lock()
	q.waiting = append(q.waiting, a)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *answerQueue) take() []answer {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := q.waiting
	q.waiting = nil
	return all
}
