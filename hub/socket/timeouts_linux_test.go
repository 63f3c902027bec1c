package socket

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pair returns both ends of a connection to a listener at the address.
func pair(t *testing.T, network, address string) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.Dial(network, l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// tcpPair returns both ends of a TCP connection on loopback.
func tcpPair(t *testing.T) (*net.TCPConn, *net.TCPConn) {
	t.Helper()
	a, b := pair(t, "tcp", "127.0.0.1:0")
	return a.(*net.TCPConn), b.(*net.TCPConn)
}

// option reads one TCP option of the connection's socket.
func option(t *testing.T, conn *net.TCPConn, name int) int {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var v int
	if cerr := raw.Control(func(fd uintptr) { v, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, name) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	return v
}

func TestSetTimeouts(t *testing.T) {
	for _, c := range []struct {
		name                              string
		write                             time.Duration
		user, idle, interval, probesCount int
	}{
		{"long", 2 * time.Minute, 120_000, 30, 10, 3},
		{"the default", 30 * time.Second, 30_000, 15, 5, 3},
		{"short", time.Second, 1000, 1, 1, 3},
		{"none", 0, 0, 30, 10, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, _ := tcpPair(t)
			SetTimeouts(tls.Client(conn, &tls.Config{}), c.write)
			for _, o := range []struct {
				name      string
				opt, want int
			}{
				{"TCP_USER_TIMEOUT", unix.TCP_USER_TIMEOUT, c.user},
				{"TCP_KEEPIDLE", unix.TCP_KEEPIDLE, c.idle},
				{"TCP_KEEPINTVL", unix.TCP_KEEPINTVL, c.interval},
				{"TCP_KEEPCNT", unix.TCP_KEEPCNT, c.probesCount},
			} {
				if got := option(t, conn, o.opt); got != o.want {
					t.Errorf("%s: got %d, want %d", o.name, got, o.want)
				}
			}
		})
	}
}

// What is no TCP connection is left alone.
func TestSetTimeoutsOfOtherConnections(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	SetTimeouts(a, time.Second)
	SetTimeouts(nil, time.Second)
	SetTimeouts(tls.Client(a, &tls.Config{}), time.Second)
}
