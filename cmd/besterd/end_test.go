package main

import (
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/besterhub/bester/hub/bformat"
)

// silentServer takes connections, and one frame of each, and never answers. Each frame comes
// out of the channel.
func silentServer(t *testing.T, network, address string) (net.Addr, <-chan string) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	frames := make(chan string, 100)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var open []net.Conn
		for {
			c, err := l.Accept()
			if err != nil {
				break
			}
			open = append(open, c)
			c.SetDeadline(time.Now().Add(wait))
			frame, err := bformat.NewReader(c, 0).Next()
			if err != nil {
				t.Errorf("silent server: %v", err)
			}
			frames <- string(frame)
		}
		for _, c := range open {
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-ended })
	return l.Addr(), frames
}

// rest returns what the hub says up to its end.
func (p *hubProcess) rest() string {
	p.Helper()
	b, err := io.ReadAll(p.lines)
	if err != nil {
		p.Fatal(err)
	}
	return string(b)
}

// A handler that never answers costs its own messages alone: their sender is told, and
// nothing else is cut off.
func TestEndWithAHandlerThatNeverAnswers(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "slow.sock")
	_, frames := silentServer(t, "unix", socket)
	p := startHubProcess(t, fmt.Sprintf("[hub]\ndrain = \"1s\"\n[handlers.slow]\ntypes = [\"slow\"]\ndialect = \"classic\"\nsocket = %q\ntimeout = \"1h\"\n", socket))
	p.await("msg=ready")
	hub := filepath.Join(p.folder, "hub.sock")
	type outcome struct {
		text string
		err  error
	}
	sent := make(chan outcome, 1)
	go func() {
		out, err := exec.Command(p.tool, "send", "--timeout", "1m", "--hub", hub, "slow", "1").CombinedOutput()
		sent <- outcome{string(out), err}
	}()
	select {
	case <-frames:
	case got := <-sent:
		t.Fatalf("%v, %s", got.err, got.text)
	}
	p.signal(syscall.SIGTERM)
	got := <-sent
	if got.err == nil || !strings.Contains(got.text, `handler "slow" is being ended`) {
		t.Errorf("the sender got %v, %s", got.err, got.text)
	}
	p.await("msg=ended taken=1 delivered=0 failed=1")
	text := p.await("besterd:") + p.rest()
	p.ends(1)
	for _, want := range []string{"messages were cut off", "handler slow was cut off"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %s", want, text)
		}
	}
	for _, other := range []string{"sessions", "informer", "devices", "servers", "handlers", "something"} {
		if strings.Contains(text, other+" w") || strings.Contains(text, other+" did") {
			t.Errorf("others were cut off: %s", text)
		}
	}
}
