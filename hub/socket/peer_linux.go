package socket

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// peerState is Peer, where up to tail unread bytes count as none.
func peerState(raw syscall.RawConn, tail int) (state PeerState) {
	err := raw.Control(func(fd uintptr) {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		if n, err := unix.Poll(poll, 0); n < 1 || err != nil {
			return
		}
		if poll[0].Revents&unix.POLLERR != 0 {
			state = PeerGone
			return
		}
		unread := make([]byte, tail+1)
		n, _, err := unix.Recvfrom(int(fd), unread, unix.MSG_PEEK|unix.MSG_DONTWAIT)
		if state = PeerClosing; err == nil && n <= tail {
			state = PeerClosed
		}
	})
	if err != nil {
		return PeerGone
	}
	return state
}
