package dial

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A name is found by real multicast, in a network namespace of the test's own: its
// loopback is the link, and a socket on the port of multicast DNS the other machine.
func TestLookupOnARealLink(t *testing.T) {
	const inside = "DIAL_TEST_INSIDE"
	if os.Getenv(inside) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestLookupOnARealLink$", "-test.v")
		cmd.Env = append(os.Environ(), inside+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
		out, err := cmd.CombinedOutput()
		if _, ran := err.(*exec.ExitError); err != nil && !ran {
			t.Skipf("no namespaces here: %v", err)
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	raiseLoopback(t)
	c, err := net.ListenMulticastUDP("udp4", loopback(t), &net.UDPAddr{IP: groups["udp4"], Port: mdnsPort})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan bool)
	go func() {
		defer close(done)
		buf := make([]byte, 9000)
		for {
			n, from, err := c.ReadFromUDP(buf)
			if err != nil {
				return
			}
			c.WriteToUDP(answer(t, buf[:n], "pi.local.", "192.168.50.1"), from)
		}
	}()
	defer func() { c.Close(); <-done }()
	var got []netip.Addr
	for deadline := time.Now().Add(patience); ; { // one try has 4 s, which is little on a busy machine
		if got, err = Lookup(t.Context(), "pi.local"); err == nil || time.Now().After(deadline) {
			break
		}
	}
	if want := []netip.Addr{netip.MustParseAddr("192.168.50.1")}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}

// raiseLoopback takes the loopback interface up and lets it carry multicast.
func raiseLoopback(t *testing.T) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	r.SetUint16(unix.IFF_UP | unix.IFF_MULTICAST | unix.IFF_LOOPBACK)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r); err != nil {
		t.Fatal(err)
	}
}

func loopback(t *testing.T) *net.Interface {
	t.Helper()
	i, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	return i
}
