package session

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/besterhub/bester/hub/wire"
)

// scarce are the descriptors of a process that may have few.
type scarce struct {
	mu   sync.Mutex
	left int
}

type scarceDescriptor struct{ of *scarce }

func (s *scarce) take() (io.Closer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left == 0 {
		return nil, os.NewSyscallError("accept4", syscall.EMFILE)
	}
	s.left--
	return scarceDescriptor{s}, nil
}

func (d scarceDescriptor) Close() error {
	d.of.mu.Lock()
	defer d.of.mu.Unlock()
	d.of.left++
	return nil
}

// A scarceListener accepts real connections, each of which takes a descriptor. The test
// gives them back.
type scarceListener struct {
	net.Listener
	of *scarce
}

func (l scarceListener) Accept() (net.Conn, error) {
	d, err := l.of.take()
	if err != nil {
		return nil, &net.OpError{Op: "accept", Net: "unix", Err: err}
	}
	c, err := l.Listener.Accept()
	if err != nil {
		d.Close()
	}
	return c, err
}

// Out of descriptors, peers with trusted credentials are let in, and others are closed at once, counted and
// logged. With descriptors again, all are let in.
func TestOutOfDescriptors(t *testing.T) {
	few := &scarce{left: reservedDescriptors + 4} // one is for the Accept that waits
	h := run(t, Options{})
	for h.descriptors.release() {
	}
	h.descriptors.mu.Lock()
	h.descriptors.open = few.take
	h.descriptors.mu.Unlock()
	for h.descriptors.release() { // a listener has just filled it
	}
	path := filepath.Join(filepath.Dir(h.unix), "few")
	l, err := Listen("unix", path, ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	l.Listener = scarceListener{l.Listener, few}
	h.listening++
	go func() { h.done <- h.Serve(l) }()

	var idle []*peer
	for range 4 {
		idle = append(idle, h.peer(t, "unix", path))
	}
	until(t, "all descriptors are taken", func() bool { return h.Stats().Open == 4 })
	for range 3 {
		h.peer(t, "unix", path).want("end")
		scarceDescriptor{few}.Close()
	}
	if s := h.Stats(); s.NoDescriptors != 3 || s.Open != 4 {
		t.Errorf("counted %+v", s)
	}
	h.log.want(t, "no descriptors are left", "LimitNOFILE=")

	l.trustPeerCredentials.Store(true)
	own := h.peer(t, "unix", path)
	own.hello(&wire.Hello{Role: wire.RoleClient, User: "own"})
	own.wantIn("hello")
	own.lives()
	l.trustPeerCredentials.Store(false)

	for range len(idle) + 1 {
		scarceDescriptor{few}.Close()
	}
	for _, p := range append(idle, own) {
		p.Close()
	}
	until(t, "they have been closed", func() bool { return h.Stats().Open == 0 && h.descriptors.full() })
	h.account(t, "ann", nil)
	p := h.peer(t, "unix", path)
	p.text(classicLogin("ann", "p"))
	p.want(classicIn)
	p.Close()
}

func TestOutOfDescriptorsErrors(t *testing.T) {
	for err, want := range map[error]bool{
		&net.OpError{Err: os.NewSyscallError("accept4", syscall.EMFILE)}: true,
		os.NewSyscallError("accept4", syscall.ENFILE):                    true,
		syscall.ECONNABORTED: false, net.ErrClosed: false, errors.New("x"): false,
	} {
		if got := outOfDescriptors(err); got != want {
			t.Errorf("%v: %t", err, got)
		}
	}
}
