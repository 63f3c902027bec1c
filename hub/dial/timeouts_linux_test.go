package dial

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The kernel ends a connection whose other end has gone.
func TestDialledConnectionsHaveTimeouts(t *testing.T) {
	port := listener(t)
	for _, c := range []struct {
		write time.Duration
		want  int
	}{{0, 30_000}, {7 * time.Second, 7000}} {
		d := Dialer{Write: c.write}
		conn, err := d.DialContext(t.Context(), "tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		raw, err := conn.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) {
			if got, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT); err != nil || got != c.want {
				t.Errorf("got %d ms, %v, want %d", got, err, c.want)
			}
			if got, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE); err != nil || got == 0 {
				t.Errorf("no keepalive: %d, %v", got, err)
			}
		})
	}
}
