// Package socket removes UNIX sockets that are stale or a listener's own, and sets the timeouts of TCP connections.
package socket

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"
)

// MaxPath is the longest path of a UNIX socket that the kernel takes, in bytes.
const MaxPath = 107

// RemoveStale removes the socket at path if no program serves it any more, as after
// kill -9. It connects to find out. It returns nil if nothing is left at path, and
// syscall.EADDRINUSE if a program serves the socket. A file that is no socket is kept, and
// RemoveStale returns an error.
func RemoveStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s exists and is no socket: remove it or choose another path", path)
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		c.Close()
		return syscall.EADDRINUSE
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return os.Remove(path)
	}
	return err
}
