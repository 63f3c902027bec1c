//go:build !unix

package bformat

// A socket reads bare sockets on systems that support it; see socket_unix.go.
type socket struct{}

func newSocket(*Reader) *socket { return nil }

func (*socket) read(int) {}
