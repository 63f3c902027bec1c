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
	"syscall"
	"time"

	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/lograte"
)

// A connection is what a listener has accepted and nobody has logged in on yet.
type connection struct {
	server     *Server
	conn       net.Conn
	trusted    bool // a UNIX peer whose uid needs no password
	handedOff  bool // to Options.Handler; under Server.mu
	in         *bformat.Reader
	out        *bformat.Queue
	writerDone chan struct{} // closed when writeLoop has ended; nil: it has not begun
	log        *slog.Logger
	limits     *Limits
	frameProgress
}

// linger is how long a peer that has been told why its connection ends may go on
// sending, and so read it.
const linger = 500 * time.Millisecond

func (s *Server) newConnection(l *Listener, conn net.Conn) *connection {
	limits := s.limits.Load()
	keepAlive(conn)
	conn.SetDeadline(time.Now().Add(limits.Login)) // a TLS handshake writes, too
	in := bformat.NewReader(conn, loginFrame)
	in.SetBudget(s.memory)
	return &connection{
		server:  s,
		conn:    conn,
		trusted: l.trusted(conn),
		in:      in,
		out: bformat.NewQueue(queueWriter(conn), bformat.QueueOptions{
			Limit: limits.Queue, Full: limits.Full, Timeout: limits.Write,
			Budget: s.memory, Dropped: s.countDropped,
		}),
		log:    s.o.Log.With("peer", conn.RemoteAddr().String()),
		limits: limits,
	}
}

// serve lets in who is on the connection. The session goes on on a goroutine of its
// own: the stack of this one has grown with the password's hash and the TLS handshake.
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

// first reads the first frame and returns the session that it begins, or nil.
func (c *connection) handshake() func() {
	if c.knownPeer() { // its first frame may be a message
		c.in.SetLimit(c.limits.Frame)
	}
	first, err := c.in.Next()
	switch {
	case err != nil:
		c.refuse(err, "first frame")
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

// guard keeps a bug from ending more than this connection.
func (c *connection) recoverPanics(f func()) {
	defer func() {
		if p := recover(); p != nil {
			c.server.stats.panics.Add(1)
			c.log.Error("connection closed by a bug in the hub; please report it", "panic", p, "stack", string(debug.Stack()))
			if c.writerDone != nil {
				c.flushAndLinger() // what came before is answered
			}
		}
	}()
	f()
}

// leave ends the connection, whatever has become of it.
func (c *connection) teardown() {
	c.close()
	c.server.connectionClosed(c)
}

// startWriter starts the goroutine that writes; from here on frames may be queued.
func (c *connection) startWriter() {
	c.writerDone = make(chan struct{})
	go c.writeLoop()
}

func (c *connection) writeLoop() {
	defer close(c.writerDone)
	if err := c.out.Run(); err != nil {
		if errors.Is(err, bformat.ErrFull) || errors.Is(err, os.ErrDeadlineExceeded) {
			c.server.stats.slow.Add(1)
			c.warn(&c.server.logLimiters.slow, "session closed: it does not read what it is sent", slog.Int("queue", c.limits.Queue), slog.Duration("write", c.limits.Write))
		}
		c.abort() // wakes the reader
	}
}

// finish writes out what waits, and gives a peer that is still sending the time to
// read it: closing on unread input would have the kernel take it back.
func (c *connection) flushAndLinger() {
	c.out.Shutdown()
	<-c.writerDone
	if half, ok := c.conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		c.conn.SetReadDeadline(time.Now().Add(linger))
		io.Copy(io.Discard, c.conn)
	}
}

// close ends the connection, if it has not ended.
func (c *connection) close() {
	c.conn.Close()
	if c.writerDone != nil {
		c.out.Fail(io.ErrClosedPipe)
		<-c.writerDone
	}
	c.in.Release()
}

// cut ends the connection at once. Closing a TLS connection would wait for the peer.
func (c *connection) abort() {
	if t, ok := c.conn.(*tls.Conn); ok {
		t.NetConn().Close()
		return
	}
	c.conn.Close()
}

// knownPeer reports whether a classic server is let in, which is told by where it
// connects from.
func (c *connection) knownPeer() bool {
	if c.trusted {
		return true
	}
	ip, err := netip.ParseAddr(c.host())
	if err != nil {
		ip = netip.Addr{} // a UNIX socket: only where all the world is let in
	}
	return c.limits.Peer != nil && c.limits.Peer(ip.Unmap().WithZone(""))
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
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return // somebody looked whether the port is open
	case c.server.ctx.Err() != nil: // Shutdown woke it
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
	c.warn(&c.server.logLimiters.closed, "connection closed", slog.String("at", what), slog.Any("err", sniffProtocol(err)))
}

// noMemory counts and logs that there was too little memory left for a frame.
func (c *connection) noMemory(err error) {
	c.server.stats.noMemory.Add(1)
	c.warn(&c.server.logLimiters.memory, "connection closed: too little memory is left for its long frame", slog.Any("err", err),
		slog.Int("memory", c.server.memory.Limit()), slog.String("remedy", remedyMemory))
}

// remedyMemory is what the operator does when the memory that sessions share is used up.
const remedyMemory = "see who sends many long frames at once or does not read; session.memory sets the limit"

func isTooLong(err error) bool {
	var e *bformat.LimitError
	return errors.As(err, &e)
}

// foreign says so where the first bytes are those of another protocol.
func sniffProtocol(err error) error {
	var record tls.RecordHeaderError
	if errors.As(err, &record) {
		return fmt.Errorf("a client without TLS at a TLS port: connect with tls:// (%w)", err)
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

// warn logs a line that anybody can cause, with where it came from.
func (c *connection) warn(l *lograte.Limiter, text string, attrs ...slog.Attr) {
	attrs = append(attrs, slog.String("peer", c.conn.RemoteAddr().String()), slog.String("listener", c.conn.LocalAddr().String()))
	c.server.warn(l, text, attrs...)
}

// keepAlive finds out within about a minute that a peer has gone without a word.
func keepAlive(conn net.Conn) {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	if t, ok := conn.(*net.TCPConn); ok {
		t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3})
	}
}

// outlet is what a connection's queue writes to.
func queueWriter(conn net.Conn) io.Writer {
	if t, ok := conn.(*tls.Conn); ok {
		return tlsWriter{t}
	}
	return conn
}

// A tlsOutlet leaves no deadline behind: reading from TLS may write, too, when the
// peer asks for new keys, and would find that the last write's deadline has passed.
type tlsWriter struct{ *tls.Conn }

func (o tlsWriter) Write(b []byte) (int, error) {
	n, err := o.Conn.Write(b)
	if err == nil {
		err = o.SetWriteDeadline(time.Time{})
	}
	return n, err
}
