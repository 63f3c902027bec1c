package socket

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// setUserTimeout sets how long written bytes may stay unacknowledged.
func setUserTimeout(conn *net.TCPConn, write time.Duration) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) {
		unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(max(write.Milliseconds(), 1)))
	})
}
