package link

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/wire"
)

// Backoff of an exchange.
const (
	minDialBackoff = time.Millisecond // before the first retry; doubled for each further one
	maxDialBackoff = 50 * time.Millisecond
)

// sendRequest connects until the deadline, which is on clock, sends w.frame and returns a
// reader of the answer. The caller must call readAnswer, which closes the connection.
func (c *Classic) sendRequest(w *worker, deadline time.Duration) (*bformat.Reader, error) {
	conn, err := c.dial(deadline)
	if err != nil {
		c.logFailure(err)
		return nil, err
	}
	c.mu.Lock()
	w.conn = conn
	c.stats.Sent++
	select {
	case <-c.aborted:
		conn.Close()
	default:
	}
	c.mu.Unlock()
	conn.SetDeadline(time.Now().Add(c.c.Timeout))
	// A handler may answer and close before it has read everything. Its answer counts, so
	// a write error is ignored here and shows up when the answer is read.
	conn.Write(w.frame)
	return bformat.NewReader(conn, c.c.MaxFrame), nil
}

// readAnswer reads the answer, closes the connection and returns the command.
func (c *Classic) readAnswer(in *bformat.Reader, w *worker) (hub.Command, error) {
	frame, err := in.Next()
	c.closeConnection(w)
	var command hub.Command
	if err == nil {
		if command, err = wire.ParseClassicAnswer(frame, &w.dec); err == nil {
			c.count(&c.stats.Answered)
			if c.command != nil {
				c.command.noteAnswer()
			}
			return command, nil
		}
		c.count(&c.stats.Malformed)
		err = hub.Reason(hub.ErrHandler, "handler %q: %v", c.c.Name, err)
	} else {
		err = c.unanswered(err)
	}
	c.logFailure(err)
	return command, err
}

// closeConnection closes w's connection, if it has one.
func (c *Classic) closeConnection(w *worker) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w.conn != nil {
		w.conn.Close()
		w.conn = nil
	}
}

// unanswered returns the sender's error for an answer that could not be read.
func (c *Classic) unanswered(err error) error {
	var limit *bformat.LimitError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.count(&c.stats.Timeouts)
		return hub.Reason(hub.ErrTimeout, "handler %q: no answer for %v", c.c.Name, c.c.Timeout)
	case errors.As(err, &limit):
		c.count(&c.stats.Malformed)
		return hub.Reason(hub.ErrHandler, "handler %q: an answer of %d bytes, at most %d are allowed", c.c.Name, limit.Length, limit.Limit)
	case errors.Is(err, net.ErrClosed):
		return hub.Reason(hub.ErrClosed, "handler %q is being ended", c.c.Name)
	case errors.Is(err, io.ErrUnexpectedEOF):
		c.count(&c.stats.Malformed)
		return hub.Reason(hub.ErrHandler, "handler %q ended inside its answer", c.c.Name)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return hub.Reason(hub.ErrHandler, "handler %q ended before it answered", c.c.Name)
	}
	return hub.Reason(hub.ErrHandler, "handler %q: %v", c.c.Name, err)
}

// dial connects to the handler. If nobody listens and the hub is to start the program, dial
// starts it and waits for it to listen, or for its restart.
func (c *Classic) dial(deadline time.Duration) (net.Conn, error) {
	if clock() > deadline {
		c.count(&c.stats.Timeouts)
		return nil, hub.Reason(hub.ErrTimeout, "handler %q: took no message for %v", c.c.Name, c.c.Timeout)
	}
	backoff := minDialBackoff
	for {
		select {
		case <-c.aborted:
			return nil, hub.Reason(hub.ErrClosed, "handler %q is being ended", c.c.Name)
		default:
		}
		reason := "accepts no connection on"
		left := deadline - clock()
		conn, err := net.DialUnix("unix", nil, c.addr)
		switch {
		case err == nil:
			if c.command != nil {
				c.command.noteReachable()
			}
			return conn, nil
		case errors.Is(err, syscall.EAGAIN):
			// Its backlog is full. The kernel does not notify us when that changes.
		case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED):
			if err := c.ensureStarted(left); err != nil {
				return nil, err
			}
			reason = "its program was started, but does not listen on"
		default:
			return nil, hub.Reason(hub.ErrHandler, "handler %q: %v", c.c.Name, err)
		}
		if left <= 0 {
			c.count(&c.stats.Timeouts)
			return nil, hub.Reason(hub.ErrTimeout, "handler %q: %s %q for %v", c.c.Name, reason, c.c.Path, c.c.Timeout)
		}
		timer := time.NewTimer(min(backoff, left))
		select {
		case <-timer.C:
		case <-c.aborted:
			timer.Stop()
		}
		backoff = min(2*backoff, maxDialBackoff)
	}
}

// ensureStarted starts the program if that was not done yet, or returns why nobody will
// listen within the time that is left.
func (c *Classic) ensureStarted(left time.Duration) error {
	if c.command == nil {
		return hub.Reason(hub.ErrHandler, "handler %q: nobody listens on %q", c.c.Name, c.c.Path)
	}
	if err := checkExecutable(c.c.Command); err != nil && !c.command.everReachable.Load() { // else it is back soon
		return hub.Reason(hub.ErrHandler, "handler %q: nobody listens on %q, and its program cannot be started: %v", c.c.Name, c.c.Path, err)
	}
	c.command.start()
	if why, yes := c.command.failFast(left); yes {
		return hub.Reason(hub.ErrHandler, "handler %q: nobody listens on %q: %s; it is started again soon", c.c.Name, c.c.Path, why)
	}
	return nil
}

// checkExecutable returns why the program cannot be started, nil if it seems that it can.
func checkExecutable(c Command) error {
	if c.Dir != "" { // a relative path is relative to Dir, which LookPath does not know
		if fi, err := os.Stat(c.Dir); err != nil || !fi.IsDir() {
			return fmt.Errorf("no directory %q", c.Dir)
		}
		return nil
	}
	_, err := exec.LookPath(c.Argv[0])
	return err
}

// notExist reports whether there is no file of that name.
func notExist(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, os.ErrNotExist)
}
