// Package asynclog keeps a program independent of whoever reads its log: a [Writer]
// takes lines without ever blocking or failing, and one goroutine writes them. A
// reader that stalls costs lines, which are counted and reported, and nothing else.
package asynclog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// DefaultLimit is how many bytes of lines wait for a reader by default.
const DefaultLimit = 256 << 10

// chunk is how many bytes are written at once, at most, unless one line is longer.
const chunk = 16 << 10

// maxIdle is how large a buffer without lines may stay, in bytes.
const maxIdle = 32 << 10

// errNotRead is why lines are lost that found no room.
var errNotRead = errors.New("standard error was not read in time")

// A ReportFunc writes one line to w that says that lines were lost, and why.
type ReportFunc func(w io.Writer, lines uint64, reason error)

// A Writer is an io.Writer for log lines that never blocks and never fails. Lines are
// written whole and in order. When Limit bytes wait, further lines are dropped and
// counted until there is room again; a line in their place says how many. Lines that
// cannot be written are counted the same way, and the Writer goes on. Its methods may be
// called from many goroutines.
type Writer struct {
	dst   io.Writer // the writing goroutine's
	limit int

	mu      sync.Mutex
	waiting []byte // whole lines
	dropped uint64 // lines that came after those in waiting and found no room
	lost    uint64 // lines dropped, and lines that could not be written
	report  ReportFunc
	closed  bool

	wake chan struct{} // holds one value when there is something to do
	done chan struct{} // closed when the writing goroutine has returned

	// The writing goroutine's.
	unreported  uint64 // lines that were lost and not reported yet
	reason      error  // why the last of them was
	partialLine bool   // the last line was written in part
}

// New returns a Writer to dst, which it does not close. limit is how many bytes of
// lines may wait; as many again may be on their way to dst. If zero, DefaultLimit.
func New(dst io.Writer, limit int) *Writer {
	if limit <= 0 {
		limit = DefaultLimit
	}
	w := &Writer{dst: dst, limit: limit, report: Report, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go w.writeLoop()
	return w
}

// Report is the ReportFunc of a Writer that was given no other: a plain line.
func Report(w io.Writer, lines uint64, reason error) {
	fmt.Fprintf(w, "%d log lines were lost: %v\n", lines, reason)
}

// SetReport makes f the function that words the report on lost lines. It is called on
// the writing goroutine, without a lock.
func (w *Writer) SetReport(f ReportFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.report = f
}

// Write takes b, which is one or several whole lines; a missing end of line is added.
// It copies b and returns at once, always without an error.
func (w *Writer) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	end := 0
	if b[len(b)-1] != '\n' {
		end = 1
	}
	w.mu.Lock()
	if w.closed || w.dropped > 0 || len(w.waiting)+len(b)+end > w.limit {
		// Once a line is dropped, those after it are too, for the sake of the order.
		n := countLines(b)
		w.dropped += n
		w.lost += n
	} else {
		w.waiting = append(w.waiting, b...)
		if end > 0 {
			w.waiting = append(w.waiting, '\n')
		}
	}
	w.mu.Unlock()
	w.signal()
	return len(b), nil
}

func (w *Writer) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Lost returns how many lines were dropped, or could not be written, since the start.
func (w *Writer) Lost() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lost
}

// Close has what waits written, for at most timeout, and reports whether all of it was.
// What is written to w from now on is lost.
func (w *Writer) Close(timeout time.Duration) bool {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.signal()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-w.done:
		return true
	case <-timer.C:
		return false
	}
}

// writeLoop writes what waits until the Writer is closed and nothing waits.
func (w *Writer) writeLoop() {
	defer close(w.done)
	var spare []byte
	for range w.wake {
		for {
			w.mu.Lock()
			lines, dropped, closed, report := w.waiting, w.dropped, w.closed, w.report
			w.waiting, w.dropped = spare, 0
			w.mu.Unlock()
			if len(lines) == 0 && dropped == 0 {
				spare = lines
				if closed {
					return
				}
				break
			}
			w.writeLines(lines, report)
			if dropped > 0 {
				w.unreported += dropped
				w.reason = errNotRead
			}
			w.reportLost(report)
			if spare = lines[:0]; cap(spare) > maxIdle {
				spare = nil
			}
		}
	}
}

// writeLines writes whole lines, some at a time.
func (w *Writer) writeLines(lines []byte, report ReportFunc) {
	for len(lines) > 0 {
		w.reportLost(report)
		n := len(lines)
		if n > chunk {
			if n = bytes.LastIndexByte(lines[:chunk], '\n') + 1; n == 0 { // one long line
				n = bytes.IndexByte(lines, '\n') + 1
			}
		}
		if rest, err := w.write(lines[:n]); err != nil {
			w.drop(countLines(rest), err)
		}
		lines = lines[n:]
	}
}

// write writes whole lines and returns those that it could not write whole.
func (w *Writer) write(lines []byte) (rest []byte, err error) {
	if w.partialLine {
		if _, err := w.dst.Write([]byte{'\n'}); err != nil {
			return lines, err
		}
		w.partialLine = false
	}
	n, err := w.dst.Write(lines)
	if err == nil {
		return nil, nil
	}
	n = min(max(n, 0), len(lines))
	whole := bytes.LastIndexByte(lines[:n], '\n') + 1
	w.partialLine = whole < n
	return lines[whole:], err
}

// drop counts lines that could not be written.
func (w *Writer) drop(lines uint64, reason error) {
	w.unreported += lines
	w.reason = reason
	w.mu.Lock()
	w.lost += lines
	w.mu.Unlock()
}

// reportLost writes the line that says how many were lost, where that is due. If it
// cannot be written, it stays due.
func (w *Writer) reportLost(report ReportFunc) {
	if w.unreported == 0 {
		return
	}
	var line bytes.Buffer
	report(&line, w.unreported, explain(w.reason))
	if _, err := w.write(line.Bytes()); err == nil {
		w.unreported = 0
	}
}

// explain says in an operator's words why lines were lost.
func explain(err error) error {
	var path *os.PathError
	switch {
	case errors.Is(err, syscall.EPIPE):
		return errors.New("the reader of standard error had ended")
	case errors.As(err, &path):
		return fmt.Errorf("standard error could not be written: %w", path.Err)
	}
	return err
}

// countLines returns how many lines b has, the last of which may lack its end.
func countLines(b []byte) uint64 {
	n := bytes.Count(b, []byte{'\n'})
	if len(b) > 0 && b[len(b)-1] != '\n' {
		n++
	}
	return uint64(n)
}

// IgnoreBrokenPipe keeps this process alive when it writes to a pipe that nobody reads
// any more: the write fails with EPIPE and that is all. The programs that it starts have
// the default action again, which signal.Ignore would not give them. stop undoes it.
func IgnoreBrokenPipe() (stop func()) {
	signals := make(chan os.Signal, 1) // nobody receives; the runtime drops what finds no room
	signal.Notify(signals, syscall.SIGPIPE)
	return func() { signal.Stop(signals) }
}
