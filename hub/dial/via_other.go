//go:build !linux

package dial

import "net"

// leaveThrough does nothing: the system chooses the interface.
func leaveThrough(*net.UDPConn, int) error { return nil }
