package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/dial"
	"github.com/besterhub/bester/hub/wire"
)

// send connects, sends one frame, and waits for the status and for the server to close.
// The error is errSilent or errNoAnswer if the server took the message and did not say what
// became of it. send also reports whether the server could be reached.
func (f *ClassicForwarder) send(s *destination, j *job) (reached bool, err error) {
	ctx, cancel := context.WithTimeout(f.ctx, f.o.Timeout)
	defer cancel()
	dialer := dial.Dialer{Write: f.o.Timeout}
	if j.status == nil {
		dialer.Check = func(at netip.AddrPort) error {
			if j.known.unnamed.allows(s.address, at.Addr()) {
				return nil
			}
			return errNotAllowed
		}
	}
	conn, err := dialer.DialContext(ctx, "tcp", s.address)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	unblock := context.AfterFunc(f.ctx, func() { conn.Close() })
	defer unblock()
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	_, writeErr := conn.Write(j.frame)
	if half, ok := conn.(interface{ CloseWrite() error }); ok && writeErr == nil {
		half.CloseWrite() // if it fails, reading returns why
	}
	conn.SetReadDeadline(time.Now().Add(f.o.AnswerTimeout))
	err = readStatus(conn) // counts first: a server may refuse before it has read everything
	if (err == errSilent || err == errNoAnswer) && writeErr != nil {
		err = writeErr
	}
	return true, err
}

const (
	maxAnswer = 64 << 10 // the longest answer that is read from a server, in bytes
	maxFrames = 16       // how many frames after the status are waited out
)

var (
	// errSilent: the message was sent whole, and the server closed without a status, as the
	// original's servers do. It is an error of a server that has sent a status before.
	errSilent = errors.New("it closed the connection without the status that it sent before: is its hub being stopped?")
	// errNoAnswer: the message was sent whole, and no status came in time.
	errNoAnswer = errors.New("it took the message, but did not confirm it in time")
)

// readStatus reads the server's status of the message and waits until the server closes:
// then it is ready for the next one. Whatever comes that is no status is an error that
// says what it looks like. A server that resets the connection has not read the message.
func readStatus(conn io.Reader) error {
	p := &prefix{r: conn}
	r := bformat.NewReader(p, maxAnswer)
	defer r.Release()
	frame, err := r.Next()
	switch {
	case err == nil:
	case len(p.first) > 0:
		return notAHub(p.first)
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, net.ErrClosed): // it is slow, or Shutdown does not wait
		return errNoAnswer
	default:
		return errSilent
	}
	err = wire.ParseClassicStatus(frame)
	if errors.Is(err, wire.ErrMalformed) {
		return notAHub(p.first)
	}
	if err != nil {
		return fmt.Errorf("refused: %w", err)
	}
	for n := 0; err == nil && n < maxFrames; n++ {
		_, err = r.Next()
	}
	return nil
}

// A prefix notes the first bytes that are read from r.
type prefix struct {
	r     io.Reader
	first []byte
}

func (p *prefix) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if room := 24 - len(p.first); room > 0 {
		p.first = append(p.first, b[:min(n, room)]...)
	}
	return n, err
}

// notAHub says what answered in place of a Bester hub, by its first bytes, and what to do.
func notAHub(first []byte) error {
	const port = "the address must be a port where that hub listens without TLS"
	starts := func(s string) bool { return bytes.HasPrefix(first, []byte(s)) }
	switch {
	case len(first) > 1 && first[0] >= 0x14 && first[0] <= 0x17 && first[1] == 3: // a TLS record
		return errors.New("a TLS port answered, and servers are reached without TLS: " + port)
	case starts("HTTP/"), starts("<"):
		return errors.New("a web server answered, no Bester hub: " + port)
	case starts("SSH-"):
		return errors.New("an SSH server answered, no Bester hub: " + port)
	}
	return fmt.Errorf("what answered (%q) is no Bester hub: %s", first, port)
}

// explain turns a network error into one that says what the operator should check.
func explain(err error) error {
	var name *net.DNSError
	var timeout interface{ Timeout() bool }
	text := ""
	switch {
	case errors.Is(err, errNotAllowed):
		return hub.Reason(hub.ErrDenied, "%v", errNotAllowed)
	case errors.As(err, &name) && errors.Is(err, dial.ErrNoAnswer):
		text = fmt.Sprintf("nobody on this network answers to %q: is that machine on, and does it run avahi-daemon?", name.Name)
	case errors.As(err, &name) && name.IsNotFound:
		text = fmt.Sprintf("there is no host %q: does the hub's config have the right address?", name.Name)
	case errors.As(err, &name):
		text = fmt.Sprintf("the address of %q cannot be found out: is there a network, and a name server?", name.Name)
	case errors.Is(err, syscall.ECONNREFUSED):
		text = "connection refused: does its hub run, and listen on that address and port?"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		text = "there is no way to it: is it on, and in a network that this machine can reach?"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		text = "it reset the connection before it had read the message: is this hub's address in its peers.classic, and is that a port without TLS? Its log says why"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		text = "no answer in time: is it on, and does a firewall let this through?"
	default:
		return err
	}
	return hub.Reason(err, "%s", text)
}
