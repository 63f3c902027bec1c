package dial

import (
	"net"

	"golang.org/x/sys/unix"
)

// setMulticastInterface has the socket's multicast packets leave through one interface: without
// it only that of the default route would be asked, and none where there is no such
// route.
func setMulticastInterface(conn *net.UDPConn, index int) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	if err := raw.Control(func(fd uintptr) {
		set = unix.SetsockoptIPMreqn(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &unix.IPMreqn{Ifindex: int32(index)})
	}); err != nil {
		return err
	}
	return set
}
