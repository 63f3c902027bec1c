package socket

import (
	"net"
	"time"
)

// SetTimeouts lets the kernel end the TCP connection under conn when its peer has become
// unreachable without closing it: the radio is off, the cable is out, a router has dropped
// the connection from its table. Without it, bytes that were written wait up to 15 minutes
// for an acknowledgement, and an idle connection waits for ever.
//
// What was written must be acknowledged within write (TCP_USER_TIMEOUT, on Linux; it is
// also the longest that a peer may keep its receive window shut). An idle connection is
// probed after 30 s and then every 10 s, 3 times. The kernel ends an idle connection at
// the first unanswered probe that comes after write; with a write below 60 s the probes
// therefore begin at half of write, so that one lost probe ends nothing.
//
// If write is zero or less, only the probes are set. SetTimeouts works through *tls.Conn
// and anything else with a NetConn method; it does nothing to other kinds of connection.
func SetTimeouts(conn net.Conn, write time.Duration) {
	t := tcpUnder(conn)
	if t == nil {
		return
	}
	// A socket that refuses an option is closed or behaves as before.
	t.SetKeepAliveConfig(keepAlive(write))
	if write > 0 {
		setUserTimeout(t, write)
	}
}

// keepAlive returns the probes of a connection whose writes may take that long.
func keepAlive(write time.Duration) net.KeepAliveConfig {
	k := net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3}
	if write > 0 && write < 2*k.Idle {
		k.Idle = max(write/2, time.Second)
		k.Interval = max(write/6, time.Second)
	}
	return k
}

// tcpUnder returns the TCP connection under conn, or nil if there is none.
func tcpUnder(conn net.Conn) *net.TCPConn {
	for {
		switch c := conn.(type) {
		case *net.TCPConn:
			return c
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		default:
			return nil
		}
	}
}
