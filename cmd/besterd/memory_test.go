package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/client"
	"github.com/besterhub/bester/hub/session"
	"github.com/besterhub/bester/hub/wire"
)

// controlGroup makes a control group with a limit of its memory. Where it cannot, dir is empty.
func controlGroup(t *testing.T, limit int) (dir string) {
	t.Helper()
	parent, file := "", "memory.limit_in_bytes"
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(own)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) == 3 && f[1] == "memory" {
			parent = filepath.Join("/sys/fs/cgroup/memory", f[2])
		}
	}
	if parent == "" {
		parent, file = "/sys/fs/cgroup", "memory.max"
	}
	dir = filepath.Join(parent, "bester-test-"+strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return ""
	}
	t.Cleanup(func() { // a group is busy until its process is gone
		for late := time.Now().Add(timeout); os.Remove(dir) != nil && time.Now().Before(late); {
			time.Sleep(10 * time.Millisecond)
		}
	})
	if err := os.WriteFile(filepath.Join(dir, file), []byte(strconv.Itoa(limit)), 0o644); err != nil {
		return ""
	}
	return dir
}

// startInLittleMemory starts a hub in a control group of 32 MiB. Where none can be made, group
// is empty and the hub has the settings that it chooses in one.
func startInLittleMemory(t *testing.T, config string) (p *process, socket, group string) {
	t.Helper()
	besterd := skipUnlessMeasurable(t)
	folder, err := os.MkdirTemp("", "b") // short, for the socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	socket, file := filepath.Join(folder, "s"), filepath.Join(folder, "c.toml")
	config = fmt.Sprintf("[[listen]]\nnetwork = \"unix\"\naddress = %q\n", socket) + config
	group = controlGroup(t, littleMemory)
	cmd := exec.Command(besterd, file)
	if group == "" {
		t.Log("no control group can be made: measures the resident memory alone")
		config += "[session]\nmemory = \"8 MiB\"\nconnections = 204\n"
		cmd.Env = append(os.Environ(), "GOMEMLIMIT=24MiB")
	} else {
		cmd = exec.Command("sh", "-c", `echo $$ > "$0/cgroup.procs" && exec "$@"`, group, besterd, file)
	}
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if p, err = startProcess("besterd", cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	for late := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		c, err := net.Dial("unix", socket)
		if err == nil {
			c.Close()
			return p, socket, group
		}
		if time.Now().After(late) {
			t.Fatalf("not ready: %v\n%s", err, p)
		}
	}
}

const littleMemory = 32 << 20

// openSession opens a session and returns its connection, or nil if it was refused.
func openSession(t *testing.T, socket, user string) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	hello := wire.AppendHello(nil, &wire.Hello{Version: wire.Version, Role: wire.RoleClient, User: user})
	if _, err := c.Write(bformat.Append(nil, hello)); err != nil {
		return nil
	}
	if _, err := bformat.NewReader(c, 0).Next(); err != nil {
		return nil
	}
	return c
}

// A hub in a control group of 32 MiB survives as many receivers as it lets in that read
// nothing: what the system keeps for their sockets is bounded, too.
func TestReceiversThatDoNotReadInLittleMemory(t *testing.T) {
	p, socket, _ := startInLittleMemory(t, "[[route]]\nmatch = \"#\"\nto = [\"cam\"]\n")
	in := 0
	for range 180 { // of 204 connections
		if openSession(t, socket, "cam") != nil {
			in++
		}
	}
	if in < 180 {
		t.Fatalf("%d receivers were let in\n%s", in, p)
	}
	c, err := client.Dial(t.Context(), "unix", socket, client.Options{User: "sender", SendOnly: true})
	if err != nil {
		t.Fatalf("%v\n%s", err, p)
	}
	data := []byte(`"` + strings.Repeat("x", 1000) + `"`)
	for i := range 600 {
		if err := c.Request(t.Context(), &hub.Message{Type: "a", Data: hub.Data{Encoding: hub.JSON, Bytes: data}}, nil); err != nil {
			t.Fatalf("message %d to %d receivers: %v\n%s", i, in, err, p)
		}
	}
	c.Close(t.Context())
	t.Logf("%d receivers; RSS %d kB", in, kilobytes(t, p.cmd.Process.Pid, "status", "VmRSS"))
}

// A hub in a control group of 32 MiB survives 900 senders that stop inside frames of 50 KiB:
// it lets in as many as fit, refuses frames, and still serves others. Where there are no
// control groups, its resident memory stays below as much.
func TestStoppedSendersInLittleMemory(t *testing.T) {
	const senders, limit = 900, littleMemory
	p, socket, group := startInLittleMemory(t, "")

	part := append(binary.LittleEndian.AppendUint32(nil, 50<<10), make([]byte, 45<<10)...)
	in := 0
	var all []net.Conn
	for i := range senders {
		c := openSession(t, socket, fmt.Sprintf("cam%d", i))
		if c == nil {
			continue // refused
		}
		in++
		c.Write(part) // may be refused midway
		all = append(all, c)
	}
	if in < 100 || in == senders {
		t.Errorf("%d of %d senders were let in", in, senders)
	}
	for _, c := range all[:20] { // make room for somebody who asks
		c.Close()
	}
	var r struct {
		Sessions session.Stats
		Limits   limitsReport
	}
	for late := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if b, err := askStatus(t, socket); err == nil {
			if err := json.Unmarshal(b, &r); err != nil {
				t.Fatal(err)
			}
			break
		} else if time.Now().After(late) {
			t.Fatalf("the hub does not answer: %v\n%s", err, p)
		}
	}
	resident := kilobytes(t, p.cmd.Process.Pid, "status", "VmRSS") << 10
	t.Logf("%d senders were let in; RSS %d kB; %+v", in, resident>>10, r.Sessions)
	if resident > limit {
		t.Errorf("RSS %d kB, want at most %d", resident>>10, limit>>10)
	}
	if r.Sessions.NoMemory == 0 || r.Sessions.TooMany == 0 || r.Sessions.Memory > 8<<20 {
		t.Errorf("counted %+v", r.Sessions)
	}
	if l := r.Limits; group != "" && (l.Memory != limit || !strings.HasPrefix(l.From, group) || l.Session != 8<<20) {
		t.Errorf("reported %+v", l)
	}
}

// askStatus asks a hub for its report.
func askStatus(t *testing.T, socket string) (report []byte, err error) {
	t.Helper()
	c, err := client.Dial(t.Context(), "unix", socket, client.Options{User: "ask"})
	if err != nil {
		return nil, err
	}
	defer c.Close(t.Context())
	m := &hub.Message{Type: "builtin", Data: hub.Data{Encoding: hub.JSON, Bytes: []byte(`{"command":{"type":"status"}}`)}}
	var bad error
	err = c.Request(t.Context(), m, func(m *hub.Message) { report, bad = wire.AppendJSON(nil, m.Data) })
	return report, errors.Join(err, bad)
}
