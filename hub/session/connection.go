package session

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/lograte"
	"github.com/besterhub/bester/hub/socket"
)

// A connection is an accepted connection. It lives as long as the session on it, if there
// is one.
type connection struct {
	server                *Server
	conn                  net.Conn
	mayUsePeerCredentials bool         // UNIX peer credentials replace the password
	handedOff             bool         // to Options.Handler; under Server.mu
	address               netip.Prefix // whom it counts for: see peerPrefix; zero on a UNIX socket
	accepted              time.Time    // when it was
	firstFrameRead        atomic.Bool  // its first frame has come
	evicted               bool         // it gives way to another; under Server.mu
	loggedOut             bool         // its session has ended; under Server.mu
	counted               bool         // by Server.countSession, for an account; under Server.mu
	countedFor            hub.UserName
	in                    *bformat.Reader
	out                   *bformat.Queue
	user                  *userCounters // of the session; nil if there is none
	writerDone            chan struct{} // closed when writeLoop has ended; nil if it has not begun
	log                   *slog.Logger
	limits                *Limits
	frameProgress
}

// linger is how long the hub discards further input from a peer that has been told why its
// connection ends, so that the peer can read that.
const linger = 500 * time.Millisecond

func (s *Server) newConnection(l *Listener, conn net.Conn) *connection {
	limits := s.limits.Load()
	socket.SetTimeouts(conn, limits.WriteTimeout)
	if unix, ok := conn.(*net.UnixConn); ok && limits.SocketBuffer > 0 {
		unix.SetWriteBuffer(limits.SocketBuffer)
	}
	conn.SetDeadline(time.Now().Add(limits.LoginTimeout)) // a TLS handshake writes, too
	in := bformat.NewReader(conn, maxLoginFrame)
	in.SetBudget(s.memory)
	c := &connection{
		server:                s,
		conn:                  conn,
		mayUsePeerCredentials: l.hasPeerCredentials(conn),
		in:                    in,
		log:                   s.o.Log.With("peer", conn.RemoteAddr().String()),
		limits:                limits,
		address:               peerPrefix(conn.RemoteAddr()),

		accepted: time.Now(),
	}
	c.out = bformat.NewQueue(queueWriter(conn), bformat.QueueOptions{
		Limit: limits.QueueBytes, Overflow: limits.Overflow, Timeout: limits.WriteTimeout,
		Budget: s.memory, OnLoss: c.countLost,
	})
	return c
}

// serve authenticates the peer. The session then runs on a new goroutine, since the password
// hash and the TLS handshake have grown the stack of this one.
func (c *connection) serve() {
	var session func()
	defer func() {
		if session == nil {
			c.teardown()
		}
	}()
	c.recoverPanics(func() { session = c.handshake() })
	if session != nil {
		go func() {
			defer c.teardown()
			c.recoverPanics(session)
		}()
	}
}

// handshake reads the first frame and returns the session that it begins, or nil.
func (c *connection) handshake() func() {
	if c.classicPeerAllowed() { // its first frame may be a message
		c.in.SetLimit(c.limits.MaxFrame)
	}
	first, err := c.in.Next()
	c.firstFrameRead.Store(true)
	switch {
	case err != nil:
		c.refuse(err, "first frame")
		c.reportToServer(err)
		return nil
	case isNative(first):
		n := new(native)
		n.session.init(c)
		return n.begin(first)
	}
	l := new(classic)
	l.session.init(c)
	return l.begin(first)
}

// recoverPanics recovers a panic of f, so that a bug ends no more than this connection.
func (c *connection) recoverPanics(f func()) {
	defer func() {
		if p := recover(); p != nil {
			c.server.stats.panics.Add(1)
			c.server.logLimiters.panics.Log(c.log, slog.LevelError, "connection closed by a bug in the hub; please report it",
				slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
			if c.writerDone != nil {
				c.flushAndLinger() // earlier messages are answered
			}
		}
	}()
	f()
}

// teardown closes the connection and removes it from the server.
func (c *connection) teardown() {
	c.close()
	c.server.deliveries.close(c)
	c.server.connectionClosed(c)
}

// startWriter starts the writer goroutine; from then on frames may be queued.
func (c *connection) startWriter() {
	c.writerDone = make(chan struct{})
	go c.writeLoop()
}

func (c *connection) writeLoop() {
	defer close(c.writerDone)
	if err := c.out.Run(); err != nil {
		if errors.Is(err, bformat.ErrFull) || errors.Is(err, os.ErrDeadlineExceeded) {
			c.server.stats.slowReaders.Add(1)
			c.warn(&c.server.logLimiters.slowReaders, "session closed: it does not read what it is sent", slog.Int("queue", c.limits.QueueBytes), slog.Duration("write", c.limits.WriteTimeout))
		}
		c.abort() // wakes the reader
	}
}

// flushAndLinger writes the queued frames. It then discards input for a while, which gives
// a peer that is still sending the time to read them: if a connection is closed with unread
// input, the kernel resets it and the peer may lose what was sent.
func (c *connection) flushAndLinger() {
	c.in.Release()
	c.out.Shutdown()
	<-c.writerDone
	if half, ok := c.conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		c.conn.SetReadDeadline(time.Now().Add(linger))
		io.Copy(io.Discard, c.conn)
	}
}

// close closes the connection and waits for the writer.
func (c *connection) close() {
	c.conn.Close()
	if c.writerDone != nil {
		c.out.Fail(io.ErrClosedPipe)
		<-c.writerDone
	}
	c.in.Release()
}

// abort closes the connection at once. Closing a TLS connection would wait for the peer.
func (c *connection) abort() {
	if t, ok := c.conn.(*tls.Conn); ok {
		t.NetConn().Close()
		return
	}
	c.conn.Close()
}

// classicPeerAllowed reports whether a classic server may connect from this address.
func (c *connection) classicPeerAllowed() bool {
	if c.mayUsePeerCredentials {
		return true
	}
	ip, err := netip.ParseAddr(c.host())
	if err != nil {
		ip = netip.Addr{} // a UNIX socket: allowed only if every address is
	}
	return c.limits.MayPeer != nil && c.limits.MayPeer(ip.Unmap().WithZone(""))
}

func (c *connection) host() string {
	host, _, err := net.SplitHostPort(c.conn.RemoteAddr().String())
	if err != nil {
		return c.conn.RemoteAddr().String()
	}
	return host
}

// refuse logs and counts why a connection ends before there is a session.
func (c *connection) refuse(err error, what string) {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		if c.begunTLS() {
			c.warn(&c.server.logLimiters.closed, "TLS client closed the connection before its first frame", slog.String("remedy", remedySilent))
		}
		return // probably a port scan or health check
	case c.wasEvicted():
		return // counted and logged
	case c.server.ctx.Err() != nil: // Shutdown woke the reader
		return
	case isTooLong(err):
		c.server.stats.tooLong.Add(1)
	case errors.Is(err, bformat.ErrMemory):
		c.noMemory(err)
		return
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.server.stats.tooSlow.Add(1)
		err = errLogin
	default:
		c.server.stats.malformed.Add(1)
	}
	c.warn(&c.server.logLimiters.closed, "connection closed", slog.String("at", what), slog.Any("err", c.sniffProtocol(err)))
}

// noMemory counts and logs that too little memory was left for a frame.
func (c *connection) noMemory(err error) {
	c.server.stats.noMemory.Add(1)
	c.warn(&c.server.logLimiters.memory, "connection closed: too little memory is left for its frame", slog.Any("err", err),
		slog.Int("memory", c.server.memory.Limit()), slog.String("remedy", remedyMemory))
}

// remedyMemory tells the operator what to do when the shared memory of sessions is used up.
const remedyMemory = "see who sends many long frames at once or does not read; session.memory sets the limit"

func isTooLong(err error) bool {
	var e *bformat.LimitError
	return errors.As(err, &e)
}

// sniffProtocol returns a clearer error than err if TLS failed, or the first bytes are those
// of another protocol.
func (c *connection) sniffProtocol(err error) error {
	err = c.clearAlert(err)
	if text := c.explainTLS(err); text != "" {
		return fmt.Errorf("%s (%w)", text, err)
	}
	var e *bformat.LimitError
	if !errors.As(err, &e) {
		return err
	}
	b := binary.LittleEndian.AppendUint32(nil, e.Length)
	switch {
	case b[0] == 0x16 && b[1] == 3: // TLS: a handshake record of version 3.x
		return errors.New(`a TLS client at a plain port: connect without TLS, or add a [[listen]] with network = "tls"`)
	case slices.Contains([]string{"GET ", "HEAD", "POST", "PUT ", "OPTI", "CONN", "PRI "}, string(b)):
		return errors.New("an HTTP client: this port speaks Bester's own protocol")
	case string(b) == "SSH-":
		return errors.New("an SSH client: this port speaks Bester's own protocol")
	}
	return err
}

// warn logs, rate limited, an event that any peer can cause, with the peer's address.
func (c *connection) warn(l *lograte.Limiter, text string, attrs ...slog.Attr) {
	c.warnFor(l, "", text, attrs...)
}

// warnFor is warn for lines that are limited for each subject by itself.
func (c *connection) warnFor(l *lograte.Limiter, subject, text string, attrs ...slog.Attr) {
	attrs = append(attrs, slog.String("peer", c.conn.RemoteAddr().String()), slog.String("listener", c.conn.LocalAddr().String()))
	c.server.warnFor(l, subject, text, attrs...)
}

// queueWriter returns the writer of a connection's queue.
func queueWriter(conn net.Conn) io.Writer {
	if t, ok := conn.(*tls.Conn); ok {
		return tlsWriter{t}
	}
	return conn
}

// A tlsWriter clears the write deadline after each write. Reading from TLS may write, too,
// when the peer requests a key update, and would fail if the last deadline had passed.
type tlsWriter struct{ *tls.Conn }

func (o tlsWriter) Write(b []byte) (int, error) {
	n, err := o.Conn.Write(b)
	if err == nil {
		err = o.SetWriteDeadline(time.Time{})
	}
	return n, err
}
