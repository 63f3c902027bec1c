//go:build !linux

package dial

import "net"

// setMulticastInterface does nothing: the system chooses the interface.
func setMulticastInterface(*net.UDPConn, int) error { return nil }
