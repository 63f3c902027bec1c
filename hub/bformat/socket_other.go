//go:build !unix

package bformat

// A socket is how a bare socket is read on systems that have a better way for it.
type socket struct{}

func newSocket(*Reader) *socket { return nil }

func (*socket) read() {}
