package session

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
)

// An alertListener accepts the connections below TLS.
type alertListener struct{ *net.TCPListener }

func (l alertListener) Accept() (net.Conn, error) {
	conn, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	return &alertConn{TCPConn: conn}, nil
}

// An alertConn is a connection below TLS that keeps the last alert that the client has sent
// in the clear. A client with OpenSSL or Mbed TLS that refuses the certificate sends one where
// crypto/tls expects an encrypted record, and so says no more of it than "bad record MAC".
type alertConn struct {
	*net.TCPConn
	alert tls.AlertError
	found bool
}

// alertHeader is how a record with an alert in the clear begins (RFC 8446, 5.1): its type,
// version 1.2 and a length of two bytes, which are the level and the alert.
var alertHeader = []byte{21, 3, 3, 0, 2}

// NetConn returns the bare connection.
func (c *alertConn) NetConn() net.Conn { return c.TCPConn }

func (c *alertConn) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	if start := n - len(alertHeader) - 2; start >= 0 && b[start] == alertHeader[0] && bytes.HasPrefix(b[start:n], alertHeader) {
		c.alert, c.found = tls.AlertError(b[n-1]), true
	}
	return n, err
}

// What is said of clients that do not take the certificate, or speak other kinds of TLS.
const (
	remedyUntrusted = "the client does not trust this hub's certificate: give it the one that signed it, with --ca FILE or as its trusted CA, " +
		"and see that the certificate has the name by which it connects"
	remedyExpired     = "the client takes this hub's certificate for expired: renew it, or set the client's clock"
	remedyKind        = "the client cannot use this hub's kind of certificate: give the hub another one, ECDSA P-256 for most"
	remedyCommon      = "the client and this hub have no version or cipher of TLS in common: it must speak TLS 1.3"
	remedyTooOld      = "the client's TLS is too old, or limited to old versions: it must speak TLS 1.3 (OpenSSL 1.1.1 or later)"
	remedyCipher      = "the client and this hub have no cipher of TLS 1.3 in common: let it use TLS_AES_128_GCM_SHA256, which all have"
	remedyKeyExchange = "the client and this hub have no key exchange in common: let it use X25519 or P-256"
	remedyLeft        = "the client ended the TLS handshake"
	remedySilent      = "if it should log in, see that it trusts this hub's certificate, that the certificate has the name by which it connects, " +
		"and that it speaks Bester's protocol: its own message says more"
	remedyUnreadable = "the client's part of the TLS handshake cannot be read; most often it does not trust this hub's certificate: " +
		"its own message says more"
)

// explainTLS says in plain words why TLS with a client failed, and what to do; "" if err is
// none of that, or says so itself. Many errors of crypto/tls are but texts.
func (c *connection) explainTLS(err error) string {
	t, ok := c.conn.(*tls.Conn)
	if !ok {
		return ""
	}
	var alert tls.AlertError
	var op *net.OpError
	switch {
	case errors.As(err, &alert):
		return explainAlert(alert)
	case errors.As(err, &op) && op.Op == "remote error":
		return explainAlert(op.Err)
	}
	if t.ConnectionState().HandshakeComplete {
		return ""
	}
	text := err.Error()
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &record) && record.Conn != nil:
		return "a client without TLS at a TLS port: connect with tls://"
	case strings.Contains(text, "bad record MAC"):
		return remedyUnreadable
	case strings.Contains(text, "unsupported versions"), strings.Contains(text, "SSLv2"):
		return remedyTooOld
	case strings.Contains(text, "no cipher suite"):
		return remedyCipher
	case strings.Contains(text, "no key exchange"):
		return remedyKeyExchange
	case strings.Contains(text, "signature algorithms"):
		return remedyKind
	case errors.Is(err, io.ErrUnexpectedEOF):
		return remedyLeft + " in the middle of a message"
	}
	return ""
}

// explainAlert says what a TLS client meant with an alert, and what to do.
func explainAlert(alert error) string {
	text := strings.TrimPrefix(alert.Error(), "tls: ")
	switch text {
	case "unknown certificate authority", "bad certificate", "unknown certificate":
		return remedyUntrusted
	case "expired certificate", "revoked certificate":
		return remedyExpired
	case "unsupported certificate":
		return remedyKind
	case "protocol version not supported", "handshake failure", "insufficient security level":
		return remedyCommon
	case "close notify", "user canceled":
		return remedyLeft
	}
	return fmt.Sprintf("%s, for it found wrong: %s; its own message says more", remedyLeft, text)
}

// clearAlert returns the alert that the client has sent in the clear if err is what crypto/tls
// made of it, or else err.
func (c *connection) clearAlert(err error) error {
	t, ok := c.conn.(*tls.Conn)
	if !ok || t.ConnectionState().HandshakeComplete || !strings.Contains(err.Error(), "bad record MAC") {
		return err
	}
	if below, ok := t.NetConn().(*alertConn); ok && below.found {
		return below.alert
	}
	return err
}

// begunTLS reports whether the hub has answered a TLS client, so that it has the certificate.
func (c *connection) begunTLS() bool {
	t, ok := c.conn.(*tls.Conn)
	return ok && t.ConnectionState().Version != 0
}
