package socket

import (
	"crypto/tls"
	"net"
	"syscall"
)

// A PeerState is whether the peer of a connection is still there.
type PeerState int

// The states of a peer.
const (
	PeerOpen    PeerState = iota // or not known
	PeerClosing                  // it sends nothing more; unread bytes wait
	PeerClosed                   // it sends nothing more, and all has been read; it may still read
	PeerGone                     // the connection is broken or closed: nothing more reaches the peer
)

// closeNotify is the longest alert in bytes with which a TLS peer announces its close.
const closeNotify = 31

// Peer looks whether the peer of a TCP or UNIX connection has closed it, without reading from
// it or waiting. It works through *tls.Conn and anything else with a NetConn method. For other
// kinds of connection, and on other systems than Linux, it returns PeerOpen.
func Peer(conn net.Conn) PeerState {
	tail := 0
	if _, ok := conn.(*tls.Conn); ok {
		tail = closeNotify
	}
	for {
		switch c := conn.(type) {
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		case syscall.Conn:
			raw, err := c.SyscallConn()
			if err != nil {
				return PeerGone
			}
			return peerState(raw, tail)
		default:
			return PeerOpen
		}
	}
}
