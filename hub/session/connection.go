package session

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"time"

	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/lograte"
)

// A connection is what a listener has accepted and nobody has logged in on yet.
type connection struct {
	server  *Server
	conn    net.Conn
	trusted bool // a UNIX peer whose uid needs no password
	in      *bformat.Reader
	out     *bformat.Queue
	log     *slog.Logger
	limits  *Limits
	since   time.Time
	done    func() // the server need not wait for it any longer
}

// serve is the whole life of a connection.
func (c *connection) serve() {
	defer func() {
		if p := recover(); p != nil {
			c.server.stats.panics.Add(1)
			c.log.Error("connection closed by a bug in the hub; please report it", "panic", p, "stack", string(debug.Stack()))
			c.out.Fail(io.ErrClosedPipe)
		}
		c.conn.Close()
		c.in.Release()
	}()
	c.conn.SetReadDeadline(time.Now().Add(c.limits.Login))
	first, err := c.in.Next()
	switch {
	case err != nil:
		c.refuse(err, "first frame")
	case isNative(first):
		n := &native{session: session{connection: *c, landed: make(chan struct{}, 1)}}
		n.serve(first)
	default:
		l := &classic{session: session{connection: *c, landed: make(chan struct{}, 1)}}
		l.serve(first)
	}
}

// refuse logs and counts why a connection ends before there is a session.
func (c *connection) refuse(err error, what string) {
	var timeout net.Error
	switch {
	case errors.Is(err, io.EOF):
		return // somebody looked whether the port is open
	case isTooLong(err):
		c.server.stats.tooLong.Add(1)
	case errors.As(err, &timeout) && timeout.Timeout():
		c.server.stats.tooSlow.Add(1)
		err = errLogin
	default:
		c.server.stats.malformed.Add(1)
	}
	c.warn(&c.server.often.closed, "connection closed", slog.String("at", what), slog.Any("err", err))
}

func isTooLong(err error) bool {
	var e *bformat.LimitError
	return errors.As(err, &e)
}

// warn logs a line that anybody can cause, with where it came from.
func (c *connection) warn(l *lograte.Limiter, text string, attrs ...slog.Attr) {
	attrs = append(attrs, slog.String("peer", c.conn.RemoteAddr().String()), slog.String("listener", c.conn.LocalAddr().String()))
	c.server.warn(l, text, attrs...)
}
