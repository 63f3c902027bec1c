package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// A process is a running contender.
type process struct {
	cmd  *exec.Cmd
	says bytes.Buffer // standard error
}

// delay makes each sync of the processes so much longer; zero is as it is.
var delay time.Duration

// command is a program whose syncs are slowed down by delay.
func command(name string, args ...string) *exec.Cmd {
	if delay == 0 {
		return exec.Command(name, args...)
	}
	// -D: the program is our child, not strace's, so that it is the one that is killed.
	slow := []string{"-D", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=fsync,fdatasync",
		"-e", "inject=fsync,fdatasync:delay_exit=" + strconv.FormatInt(delay.Microseconds(), 10), name}
	return exec.Command("strace", append(slow, args...)...)
}

func start(cmd *exec.Cmd) (*process, error) {
	if interrupted.Load() {
		return nil, errors.New("interrupted")
	}
	p := &process{cmd: cmd}
	cmd.Stderr = &p.says
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL} // Ctrl-C is for this program alone
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	running.Store(p)
	return p, nil
}

var (
	running     atomic.Pointer[process] // the latest
	interrupted atomic.Bool
)

// interrupt kills the running process, so that the measurement fails, and prevents
// others from starting.
func interrupt() {
	interrupted.Store(true)
	if p := running.Load(); p != nil {
		p.cmd.Process.Kill()
	}
}

// kill is kill -9.
func (p *process) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// stop is SIGTERM, as at a shutdown, and kill -9 where that does not help.
func (p *process) stop() error {
	p.cmd.Process.Signal(os.Interrupt)
	late := time.AfterFunc(20*time.Second, func() { p.cmd.Process.Kill() })
	defer late.Stop()
	p.cmd.Wait()
	return nil
}

// resident is the peak memory of the process, in bytes.
func (p *process) resident() (uint64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmHWM:" {
			kib, err := strconv.ParseUint(f[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("no VmHWM for process %d", p.cmd.Process.Pid)
}

// await retries until the process answers.
func (p *process) await(what string, try func() error) error {
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = try(); err == nil {
			return nil
		}
	}
	p.kill()
	return fmt.Errorf("%s does not answer: %w: %s", what, err, p.says.Bytes())
}

// freePort is a loopback port on which nobody listens.
func freePort() (port int, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// siblingPath is the path of a program that make put next to this one.
func siblingPath(name string) string {
	self, err := os.Executable()
	if err != nil {
		return name
	}
	return filepath.Join(filepath.Dir(self), name)
}
