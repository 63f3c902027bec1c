//go:build !linux

package socket

import (
	"net"
	"time"
)

// setUserTimeout does nothing: only Linux has this timeout.
func setUserTimeout(*net.TCPConn, time.Duration) {}
