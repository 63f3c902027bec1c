package classictest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A serverConf is the server.conf of a hub. What is not given is a hub with one tcp4
// listener on a free port of the loopback, and accounts in "accounts".
type serverConf struct {
	handlers []string          // types, each with a handler on the socket T.sock
	binaries map[string]string // handlerBinary of some of them
	network  map[string]any    // the whole block network
	peers    any               // network.peers
	admin    any               // admin.info
	toml     string            // a bester.toml instead of all that
}

type object = map[string]any

func (c serverConf) file() (name, content string) {
	if c.toml != "" {
		return "bester.toml", c.toml
	}
	network := c.network
	if network == nil {
		network = object{"types": []string{"tcp4"}, "tcp4": object{"address": "127.0.0.1", "port": "0"}}
	}
	if c.peers != nil {
		network["peers"] = c.peers
	}
	typeMap := object{}
	for _, h := range c.handlers {
		typeMap[h] = object{"handlerBinary": c.binaries[h], "unixDomainSocketPath": socketOf(h)}
	}
	all := object{
		"network":  network,
		"handlers": object{"availableTypes": append([]string{}, c.handlers...), "typeMap": typeMap},
		"database": object{"type": "file", "file": object{"path": "accounts"}},
	}
	if c.admin != nil {
		all["admin"] = object{"info": c.admin}
	}
	b, err := json.MarshalIndent(all, "", "\t")
	if err != nil {
		panic(err)
	}
	return "server.conf", string(b)
}

func socketOf(kind string) string { return strings.ReplaceAll(kind, "/", "-") + ".sock" }

// A daemon is a besterd process.
type daemon struct {
	t         *testing.T
	dir       string // its working directory
	cmd       *exec.Cmd
	log       *logBuffer
	exited    chan struct{}
	listeners []string // as it prints them
	fds       int      // open when it was ready
	stopped   bool
}

// workDir is a working directory with the accounts in it. Its path is short enough for
// UNIX sockets.
func workDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "b")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.WriteFile(filepath.Join(dir, "accounts"), accounts, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// start starts a besterd and waits until it is ready. When the test ends, it must
// have as few descriptors open as in the beginning, and end with status 0 on SIGTERM.
func start(t *testing.T, c serverConf) *daemon {
	t.Helper()
	return startIn(t, workDir(t), c)
}

func startIn(t *testing.T, dir string, c serverConf) *daemon {
	t.Helper()
	name, content := c.file()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return launch(t, dir, name)
}

// launch is start with a config file that is in the folder already.
func launch(t *testing.T, dir string, file ...string) *daemon {
	t.Helper()
	if len(file) == 0 {
		file = []string{"server.conf"}
	}
	d := &daemon{t: t, dir: dir, log: newLogBuffer(), exited: make(chan struct{})}
	d.cmd = programCommand(besterd, file...)
	d.cmd.Dir = dir
	d.cmd.Stderr = d.log
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		d.cmd.Wait()
		d.log.end()
		close(d.exited)
	}()
	t.Cleanup(d.stop)
	ready := d.wantLog(`\bready\b`)
	d.listeners = regexp.MustCompile(`(tcp4|tcp6|unix)://[^\s"\]]+(\]:\d+)?`).FindAllString(ready, -1)
	if len(d.listeners) == 0 {
		t.Fatalf("no listeners in %q", ready)
	}
	d.fds = d.descriptors()
	return d
}

// wantLog waits for a line of the log that the pattern matches, and returns it.
func (d *daemon) wantLog(pattern string) string {
	d.t.Helper()
	line, err := d.log.wait(pattern)
	if err != nil {
		d.cmd.Process.Kill()
		d.t.Fatalf("%v", err)
	}
	return line
}

func (b *logBuffer) wait(pattern string) (string, error) {
	re := regexp.MustCompile(`.*` + pattern + `.*\n`)
	timer := time.AfterFunc(timeout, b.end)
	defer timer.Stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		if m := re.Find(b.text); m != nil {
			return string(m), nil
		}
		if b.ended {
			return "", fmt.Errorf("nothing that matches %q in:\n%s", pattern, b.text)
		}
		b.changed.Wait()
	}
}

// listener returns the address of the listener on that network.
func (d *daemon) listener(network string) string {
	d.t.Helper()
	for _, l := range d.listeners {
		if rest, ok := strings.CutPrefix(l, network+"://"); ok {
			if network == "unix" && !filepath.IsAbs(rest) {
				return "unix://" + filepath.Join(d.dir, rest)
			}
			return l
		}
	}
	d.t.Fatalf("no %s among the listeners %q", network, d.listeners)
	return ""
}

// host is the tcp4 listener as host:port.
func (d *daemon) host() string { return strings.TrimPrefix(d.listener("tcp4"), "tcp4://") }

// dial connects to the first listener.
func (d *daemon) dial() *conn {
	d.t.Helper()
	network, _, _ := strings.Cut(d.listeners[0], "://")
	return dial(d.t, d.listener(network))
}

// login connects and logs a user in.
func (d *daemon) login(user string) *conn {
	d.t.Helper()
	c := d.dial()
	c.send(login(user, passwordOf(user)))
	c.want(loggedIn)
	return c
}

// withT returns the daemon for a subtest, which gets its failures and cleanups.
func (d *daemon) withT(t *testing.T) *daemon {
	sub := *d
	sub.t = t
	return &sub
}

// proc reads a file of the process under /proc.
func (d *daemon) proc(name string) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", d.cmd.Process.Pid, name))
	if err != nil {
		d.t.Fatalf("%v\n%s", err, d.log)
	}
	return string(b)
}

// status returns a number in /proc/PID/status: VmRSS in KiB, Threads.
func (d *daemon) status(key string) int {
	d.t.Helper()
	m := regexp.MustCompile(key + `:\s*(\d+)`).FindStringSubmatch(d.proc("status"))
	if m == nil {
		d.t.Fatalf("no %s in /proc/PID/status", key)
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

func (d *daemon) descriptors() int {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", d.cmd.Process.Pid))
	if err != nil {
		d.t.Fatal(err)
	}
	return len(entries)
}

// processorTick is the unit in which Linux counts the processor time of processes.
const processorTick = 10 * time.Millisecond

// processorTime returns what the process has used of processors.
func (d *daemon) processorTime() time.Duration {
	d.t.Helper()
	_, rest, _ := strings.Cut(d.proc("stat"), ") ") // the name before it may have spaces
	fields := strings.Fields(rest)                  // from the third on
	if len(fields) < 13 {
		d.t.Fatalf("/proc/PID/stat ends with %q", rest)
	}
	user, err := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	if err := errors.Join(err, err2); err != nil {
		d.t.Fatal(err)
	}
	return time.Duration(user+system) * processorTick
}

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(timeout); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after %v: %s", timeout, what)
		}
	}
}

// wantNoLeak expects the descriptors to come back to what they were in the beginning.
func (d *daemon) wantNoLeak() {
	d.t.Helper()
	eventually(d.t, fmt.Sprintf("descriptors back to %d", d.fds), func() bool { return d.descriptors() <= d.fds })
	if n := d.status("Threads"); n > 100 {
		d.t.Errorf("%d threads", n)
	}
}

// stop checks that nothing is left over and ends the daemon.
func (d *daemon) stop() {
	if d.stopped || d.fds == 0 { // never ready: that has been said
		d.cmd.Process.Kill()
		<-d.exited
		return
	}
	d.wantAlive()
	d.wantNoLeak()
	d.terminate()
}

func (d *daemon) wantAlive() {
	d.t.Helper()
	select {
	case <-d.exited:
		d.stopped = true
		d.t.Fatalf("besterd has ended: %v\n%s", d.cmd.ProcessState, d.log)
	default:
	}
}

// terminate ends the daemon with SIGTERM.
func (d *daemon) terminate() {
	d.t.Helper()
	d.stopped = true
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		d.t.Fatal(err)
	}
	select {
	case <-d.exited:
	case <-time.After(timeout):
		d.cmd.Process.Signal(syscall.SIGQUIT)
		<-d.exited
		d.t.Errorf("still running %v after SIGTERM\n%s", timeout, d.log)
		return
	}
	if code := d.cmd.ProcessState.ExitCode(); code != 0 {
		d.t.Errorf("after SIGTERM: %v\n%s", d.cmd.ProcessState, d.log)
	}
	for _, sign := range []string{"panic", "DATA RACE", "fatal error", "bug in the hub"} {
		if bytes.Contains([]byte(d.log.String()), []byte(sign)) {
			d.t.Errorf("%q in the log:\n%s", sign, d.log)
		}
	}
}

// startRefused runs a besterd that cannot start, and returns what it says.
func startRefused(t *testing.T, dir, content string) string {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "server.conf"), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := programCommand(besterd, "server.conf")
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(timeout, func() { cmd.Process.Kill() })
	defer timer.Stop()
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 1 {
		t.Fatalf("%v, want exit status 1\n%s", cmd.ProcessState, &stderr)
	}
	return stderr.String()
}

// informer is the address of the informer.
func (d *daemon) informer() string { return "unix://" + filepath.Join(d.dir, "bInformer") }
