package session

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/wire"
)

// checkOrigin puts right what a peer account says of a message and may not say. It speaks
// for itself and for the hubs that Limits.MayUseOrigin allows. Nothing is lost: a message with
// another's name keeps its data, but comes from the peer itself and gets an ID of this hub.
//
// Hops can only grow: a message that another hub than the peer was the first to take has
// been forwarded at least once.
func (n *native) checkOrigin(m *hub.Message) {
	own, denied := string(n.name), ""
	switch from := string(m.From.Server); {
	case from == "":
		m.From.Server = hub.ServerName(own)
	case !n.mayUseOrigin(from):
		denied = from
		m.From.Server = hub.ServerName(own)
	}
	switch {
	case m.ID.Origin == "" && m.ID.Number != 0:
		m.ID.Origin = own
	case m.ID.Origin != "" && !n.mayUseOrigin(m.ID.Origin):
		denied = m.ID.Origin
		m.ID = hub.ID{}
	}
	if m.Hops == 0 && m.ID.Origin != "" && m.ID.Origin != own {
		m.Hops = 1
	}
	if denied != "" {
		n.server.stats.originsDenied.Add(1)
		n.warn(&n.server.logLimiters.origins, "message of a peer gets another origin: its account may not speak for the one it names",
			slog.String("user", own), slog.String("origin", denied),
			slog.String("remedy", fmt.Sprintf("if it may: peers.origins = { %q = [%q] }", own, denied)))
	}
}

// mayUseOrigin reports whether the peer may say that a message comes from a hub of that name.
func (n *native) mayUseOrigin(name string) bool {
	if n.usedPeerCredentials || name == string(n.name) {
		return true
	}
	may := n.server.limits.Load().MayUseOrigin
	return may != nil && may(string(n.name), name)
}

// isHubID reports whether a message's id, a raw JSON string, is one that a hub of this kind
// has given: origin/number. Only such a hub reads why it was refused; the connection of an
// original is closed without an answer.
func isHubID(id []byte) bool {
	origin, number, ok := bytes.Cut(bytes.Trim(id, `"`), []byte("/"))
	_, err := strconv.ParseUint(string(number), 10, 64)
	return ok && len(origin) > 0 && err == nil
}

// reportToServer has a server whose first frame was not read learn that, so that it does not
// take the close for that of an original, which says nothing. One that came to a TLS port
// without TLS gets a status. Where a frame was too long to be looked into, the connection
// is reset.
func (c *connection) reportToServer(err error) {
	var limit *bformat.LimitError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &limit) && int64(limit.Length) <= int64(c.limits.MaxFrame): // a known peer could send it
		if t, ok := c.conn.(*net.TCPConn); ok {
			t.SetLinger(0)
		}
	case errors.As(err, &record) && record.Conn != nil && record.RecordHeader[4] == '{':
		tell(record.Conn, hub.Reason(hub.ErrDenied, "this port speaks TLS, and servers are reached without: use a port where this hub listens with tcp4 or tcp6"))
	}
}

// tell writes a classic status of a message that has failed, and gives the peer the time
// to read it.
func tell(conn net.Conn, why error) {
	conn.SetDeadline(time.Now().Add(linger))
	if _, err := conn.Write(bformat.Append(nil, wire.AppendClassicStatus(nil, nil, why))); err != nil {
		return
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		io.Copy(io.Discard, conn)
	}
}
