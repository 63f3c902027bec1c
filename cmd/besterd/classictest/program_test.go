package classictest

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A program is a Python process from testdata.
type program struct {
	t      *testing.T
	name   string
	cmd    *exec.Cmd
	in     io.WriteCloser
	lines  chan string
	errors *logBuffer
}

// findPython returns the interpreter itself: what PATH has may be a script that takes long
// to find it.
var findPython = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("python3", "-c", "import sys; print(sys.executable)").Output()
	return strings.TrimSpace(string(out)), err
})

func pythonPath(t *testing.T) string {
	t.Helper()
	path, err := findPython()
	if err != nil {
		t.Fatalf("%v: the programs in testdata need python3", err)
	}
	return path
}

// python starts a program from testdata in a working directory.
func python(t *testing.T, dir, name string, args ...string) *program {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	p := &program{t: t, name: name, lines: make(chan string, 10000), errors: newLogBuffer()}
	p.cmd = exec.Command(pythonPath(t), append([]string{"-B", path}, args...)...)
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), "PYTHONIOENCODING=utf-8")
	p.cmd.Stderr = p.errors
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	t.Cleanup(p.kill)
	return p
}

// handler starts handler.py for a type and waits until it listens.
func (d *daemon) handler(kind, mode string, args ...string) *program {
	d.t.Helper()
	p := python(d.t, d.dir, "handler.py", append([]string{socketOf(kind), mode}, args...)...)
	p.want("listening")
	return p
}

// chat starts chat.py with a user and waits until the user is logged in.
func (d *daemon) chat(user string) *program {
	d.t.Helper()
	p := python(d.t, d.dir, "chat.py", d.host(), user, passwordOf(user))
	p.want("status good auth_special")
	return p
}

// write writes a line to the program's input.
func (p *program) write(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		p.t.Fatalf("%s: %v\n%s", p.name, err, p.errors)
	}
}

// line returns the next line of the program's output; ok is false at its end.
func (p *program) line() (line string, ok bool) {
	p.t.Helper()
	select {
	case line, ok = <-p.lines:
		return line, ok
	case <-time.After(timeout):
		p.t.Fatalf("%s says nothing\n%s", p.name, p.errors)
		return "", false
	}
}

// want expects these lines next.
func (p *program) want(lines ...string) {
	p.t.Helper()
	for _, want := range lines {
		got, ok := p.line()
		if !ok {
			p.t.Fatalf("%s has ended, want %q\n%s", p.name, want, p.errors)
		}
		if got != want {
			p.t.Fatalf("%s: got %q, want %q\n%s", p.name, got, want, p.errors)
		}
	}
}

// wantSaid expects a line that begins so, and returns the rest.
func (p *program) wantSaid(prefix string) string {
	p.t.Helper()
	got, _ := p.line()
	rest, ok := strings.CutPrefix(got, prefix)
	if !ok {
		p.t.Fatalf("%s: got %q, want %q…\n%s", p.name, got, prefix, p.errors)
	}
	return rest
}

// wantEnd closes the program's input and expects it to end by itself, well.
func (p *program) wantEnd() {
	p.t.Helper()
	p.in.Close()
	for {
		if _, ok := p.line(); !ok {
			break
		}
	}
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("%s: %v\n%s", p.name, err, p.errors)
	}
}

func (p *program) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}
