package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// timeout is how long a script waits for what must come. It is no measure of speed.
const timeout = 2 * time.Minute

// A process is a program that a script has started.
type process struct {
	name string
	cmd  *exec.Cmd

	mu      sync.Mutex
	output  []byte        // what it has printed
	awaited int           // how much of it has been awaited
	changed chan struct{} // closed when output grows, then made anew
	exited  chan struct{} // closed when it has exited, and all it printed is in output
}

func startProcess(name string, cmd *exec.Cmd) (*process, error) {
	p := &process{name: name, cmd: cmd, changed: make(chan struct{}), exited: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p, p
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.output = append(p.output, b...)
	close(p.changed)
	p.changed = make(chan struct{})
	return len(b), nil
}

func (p *process) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return string(p.output)
}

// await waits for text after what was awaited last, and returns it and its groups.
func (p *process) await(re *regexp.Regexp) ([]string, error) {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for exited := false; ; {
		p.mu.Lock()
		changed := p.changed
		unread := p.output[p.awaited:]
		if at := re.FindSubmatchIndex(unread); at != nil {
			var groups []string
			for _, g := range re.FindSubmatch(unread) {
				groups = append(groups, string(g))
			}
			p.awaited += at[1]
			p.mu.Unlock()
			return groups, nil
		}
		p.mu.Unlock()
		if exited {
			return nil, fmt.Errorf("%s has ended, without %q", p.name, re)
		}
		select {
		case <-changed:
		case <-p.exited:
			exited = true
		case <-timer.C:
			return nil, fmt.Errorf("%s does not say %q", p.name, re)
		}
	}
}

// wait waits until the process exits and returns its exit code, or minus the signal that
// killed it.
func (p *process) wait() (int, error) {
	select {
	case <-p.exited:
	case <-time.After(timeout):
		return 0, fmt.Errorf("%s does not end", p.name)
	}
	if s, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return -int(s.Signal()), nil
	}
	return p.cmd.ProcessState.ExitCode(), nil
}

func (p *process) kill() {
	select {
	case <-p.exited:
		return
	default:
	}
	// SIGTERM comes first, so that a hub also stops its handlers, and then SIGKILL.
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(5 * time.Second):
		p.cmd.Process.Kill()
		<-p.exited
	}
}

func startCommand(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: start NAME PROGRAM ARG...")
	}
	cmd := exec.Command(args[1], args[2:]...)
	cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "BESTER_HUB", "BESTER_TIMEOUT", "BESTER_USER", "BESTER_PASSWORD", "BESTER_ACCOUNTS",
		"BESTER_SOCKET", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "PYTHON", "GOTRACEBACK", "NO_COLOR", "GORACE"} {
		if v := ts.Getenv(name); v != "" {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	var err error
	if cmd.Path, err = lookPath(ts, args[1]); err == nil {
		cmd.Err = nil
		ts.Value("processes").(map[string]*process)[args[0]], err = startProcess(args[0], cmd)
	}
	ts.Check(err)
}

// lookPath finds a program as the shell in the script would.
func lookPath(ts *testscript.TestScript, name string) (string, error) {
	if filepath.Base(name) != name {
		return ts.MkAbs(name), nil
	}
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		path := dir + "/" + name
		if info, err := os.Stat(path); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: not found", name)
}

// processNamed returns the process that a script calls by a name. If the script fails over
// it, what it has printed is shown.
func processNamed(ts *testscript.TestScript, name string) *process {
	p := ts.Value("processes").(map[string]*process)[name]
	if p == nil {
		ts.Fatalf("nothing called %s was started", name)
	}
	return p
}

func awaitCommand(ts *testscript.TestScript, _ bool, args []string) {
	p := processNamed(ts, args[0])
	groups, err := p.await(regexp.MustCompile("(?m)" + args[1]))
	if err != nil {
		ts.Fatalf("%v; it said:\n%s", err, p)
	}
	if len(args) > 2 {
		ts.Setenv(args[2], groups[1])
	}
}

func printedCommand(ts *testscript.TestScript, neg bool, args []string) {
	p := processNamed(ts, args[0])
	if regexp.MustCompile("(?m)"+args[1]).MatchString(p.String()) == neg {
		ts.Fatalf("%s printed\n%s", p.name, p)
	}
}

func signalCommand(ts *testscript.TestScript, _ bool, args []string) {
	s := unix.SignalNum("SIG" + args[1])
	if s == 0 {
		ts.Fatalf("no signal %q", args[1])
	}
	ts.Check(processNamed(ts, args[0]).cmd.Process.Signal(s))
}

func endsCommand(ts *testscript.TestScript, _ bool, args []string) {
	p := processNamed(ts, args[0])
	code, err := p.wait()
	if err != nil {
		ts.Fatalf("%v; it said:\n%s", err, p)
	}
	if fmt.Sprint(code) != args[1] {
		ts.Fatalf("%s ended with %d, want %s; it said:\n%s", p.name, code, args[1], p)
	}
}
