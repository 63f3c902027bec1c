package session

import (
	"bufio"
	"errors"
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/besterhub/bester/hub/wire"
)

// Accepted TCP connections end when what was written is not acknowledged within Limits.WriteTimeout,
// and are probed while they are idle.
func TestAcceptedConnectionsHaveTimeouts(t *testing.T) {
	h := run(t, Options{Limits: Limits{WriteTimeout: 20 * time.Second}})
	h.account(t, "ann", nil)
	for network, address := range map[string]string{"tcp": h.tcp, "tls": h.tls} {
		p := h.peer(t, network, address)
		p.hello(&wire.Hello{Role: wire.RoleClient, User: "ann", Password: "p"})
		p.wantIn("hello")
		conn := h.any(t, "ann").conn
		for c, ok := conn.(interface{ NetConn() net.Conn }); ok; c, ok = conn.(interface{ NetConn() net.Conn }) {
			conn = c.NetConn()
		}
		raw, err := conn.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) {
			timeout, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
			if err != nil || timeout != 20_000 {
				t.Errorf("%s: TCP_USER_TIMEOUT %d ms, %v", network, timeout, err)
			}
			alive, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE)
			if err != nil || alive != 1 {
				t.Errorf("%s: SO_KEEPALIVE %d, %v", network, alive, err)
			}
		})
		p.Close()
		until(t, "it has gone", func() bool { return h.Stats().Open == 0 })
	}
}

// deadLink names an environment variable: the part that the process plays.
const deadLink = "BESTER_TEST_DEAD_LINK"

// A session whose peer becomes unreachable while messages are sent to it ends within
// Limits.WriteTimeout or little more, not after the quarter of an hour that TCP waits.
func TestDeadLink(t *testing.T) {
	switch os.Getenv(deadLink) {
	case "":
		for _, tool := range []string{"unshare", "nsenter", "ip"} {
			if _, err := exec.LookPath(tool); err != nil {
				t.Skipf("needs network namespaces: %v", err)
			}
		}
		if err := exec.Command(os.Args[0], "-test.run=^$").Run(); errors.Is(err, unix.ENOEXEC) {
			t.Skip("cannot start a program for this machine: ", err)
		}
		if out, err := exec.Command("unshare", "-n", "ip", "link", "add", "va", "type", "veth", "peer", "name", "vb").CombinedOutput(); err != nil {
			t.Skipf("needs network namespaces and virtual links, and so root: %v: %s", err, out)
		}
		cmd := exec.Command("unshare", "-n", os.Args[0], "-test.run=^TestDeadLink$", "-test.v", "-test.timeout=5m")
		cmd.Env = append(os.Environ(), deadLink+"=hub")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	case "peer":
		deadLinkPeer(t)
		return
	}
	command := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %q: %v: %s", name, args, err, out)
		}
	}
	far := exec.Command("unshare", "-n", "sh", "-c", "echo in; exec sleep 300")
	out, err := far.StdoutPipe()
	if err == nil {
		err = far.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Process.Kill(); far.Wait() })
	bufio.NewReader(out).ReadString('\n')
	pid := strconv.Itoa(far.Process.Pid)
	command("ip", "link", "set", "lo", "up")
	command("ip", "link", "add", "va", "type", "veth", "peer", "name", "vb")
	command("ip", "link", "set", "vb", "netns", pid)
	command("ip", "addr", "add", "10.77.0.1/24", "dev", "va")
	command("ip", "link", "set", "va", "up")
	command("nsenter", "-t", pid, "-n", "ip", "addr", "add", "10.77.0.2/24", "dev", "vb")
	command("nsenter", "-t", pid, "-n", "ip", "link", "set", "vb", "up")

	h := run(t, Options{Limits: Limits{WriteTimeout: 2 * time.Second}})
	h.account(t, "far", nil)
	h.route(t, "t", "far")
	address := h.listen(t, "tcp4", "10.77.0.1:0", ListenOptions{})
	peer := exec.Command("nsenter", "-t", pid, "-n", os.Args[0], "-test.run=^TestDeadLink$", "-test.timeout=5m")
	peer.Env = append(os.Environ(), deadLink+"=peer", deadLink+"_HUB="+address)
	in, err := peer.StdinPipe()
	if err == nil {
		err = peer.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); peer.Wait() })
	until(t, "the far peer has logged in", func() bool { return h.Stats().Sessions == 1 })

	command("ip", "link", "set", "va", "down")
	near := h.native(t, "near")
	near.SetDeadline(time.Time{})
	began := time.Now()
	for i := uint64(1); len(h.router.Directory().Users()) > 1; i++ {
		near.send(i, "t", "1")
		near.wantIn("status")
		if time.Since(began) > 2*time.Minute {
			t.Fatal("the session is still there")
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Logf("ended after %v", time.Since(began))
}

// deadLinkPeer logs in and stays until its input ends.
func deadLinkPeer(t *testing.T) {
	c, err := net.Dial("tcp", os.Getenv(deadLink+"_HUB"))
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{Conn: c, t: t}
	p.hello(&wire.Hello{Role: wire.RoleClient, User: "far", Password: "p"})
	bufio.NewReader(os.Stdin).ReadString('\n')
	c.Close()
}
