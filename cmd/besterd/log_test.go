package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// wait is how long a test waits for what must come. It is no measure of speed.
const wait = time.Minute

// A hubProcess is besterd as a process whose standard error is a pipe.
type hubProcess struct {
	*testing.T
	tool   string
	folder string
	config string // path
	cmd    *exec.Cmd
	stderr *os.File // the end to read
	lines  *bufio.Reader
	exited chan struct{}
}

// startHubProcess starts besterd on a config with a listener, more of which is in text.
// The command line comes behind before, which may change what a process inherits.
func startHubProcess(t *testing.T, text string, before ...string) *hubProcess {
	t.Helper()
	besterd := skipIfEmulated(t)
	folder, err := os.MkdirTemp("", "b") // short, for the paths of sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	p := &hubProcess{T: t, tool: buildTool(t), folder: folder, config: filepath.Join(folder, "bester.toml"), exited: make(chan struct{})}
	if err := os.WriteFile(p.config, []byte(p.listener()+text), 0o600); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, 4096); err != nil {
		t.Fatal(err)
	}
	p.stderr, p.lines = r, bufio.NewReader(r)
	args := append(before, besterd, p.config)
	p.cmd = exec.Command(args[0], args[1:]...)
	p.cmd.Stderr = w
	err = p.cmd.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		p.cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.exited
		r.Close()
	})
	return p
}

func (p *hubProcess) listener() string {
	return fmt.Sprintf("[[listen]]\nnetwork = \"unix\"\naddress = %q\n", filepath.Join(p.folder, "hub.sock"))
}

// await reads the log up to a line that matches.
func (p *hubProcess) await(text string) string {
	p.Helper()
	re := regexp.MustCompile(text)
	timer := time.AfterFunc(wait, func() { p.cmd.Process.Signal(syscall.SIGQUIT) }) // what it does then is said
	defer timer.Stop()
	var read strings.Builder
	for {
		line, err := p.lines.ReadString('\n')
		if err != nil {
			p.Fatalf("%v before a line like %q; it said:\n%s", err, text, read.String())
		}
		if read.WriteString(line); re.MatchString(line) {
			return line
		}
	}
}

func (p *hubProcess) signal(s os.Signal) {
	p.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.Fatal(err)
	}
}

// ends waits until it ends, with this exit code.
func (p *hubProcess) ends(code int) {
	p.Helper()
	select {
	case <-p.exited:
	case <-time.After(wait):
		go p.cmd.Process.Signal(syscall.SIGQUIT)
		stacks, _ := io.ReadAll(p.lines)
		p.Fatalf("the hub does not end:\n%s", stacks)
	}
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.Fatalf("%v, want exit code %d", p.cmd.ProcessState, code)
	}
}

// lost asks the hub how many lines of log were lost.
func (p *hubProcess) lost() (n uint64) {
	p.Helper()
	out, err := exec.Command(p.tool, "status", "--json", "--timeout", "1m", "--hub", filepath.Join(p.folder, "hub.sock")).Output()
	if err != nil {
		p.Fatalf("bester status: %v", err)
	}
	var report struct {
		LogLost uint64 `json:"log_lost"`
	}
	if err := json.Unmarshal(out, &report); err != nil {
		p.Fatal(err)
	}
	return report.LogLost
}

// loseLines makes the hub log until lines are lost.
func (p *hubProcess) loseLines() {
	p.Helper()
	bad := fmt.Sprintf("%s[accounts]\nfile = %q\n", p.listener(), strings.Repeat("/long", 10000)) // refused with a line as long
	if err := os.WriteFile(p.config, []byte(bad), 0o600); err != nil {
		p.Fatal(err)
	}
	for end := time.Now().Add(wait); p.lost() == 0; {
		if time.Now().After(end) {
			p.Fatal("no line of the log is lost")
		}
		p.signal(syscall.SIGHUP)
		time.Sleep(time.Millisecond)
	}
}

func TestLogReaderEnds(t *testing.T) {
	for name, before := range map[string][]string{
		"by default":      nil,
		"SIGPIPE ignored": {"sh", "-c", `trap '' PIPE; exec "$@"`, "sh"}, // as systemd starts services
	} {
		t.Run(name, func(t *testing.T) {
			p := startHubProcess(t, "", before...)
			p.await("msg=ready")
			p.stderr.Close()
			p.loseLines()
			p.signal(syscall.SIGTERM)
			p.ends(0)
		})
	}
}

func TestLogReaderStalls(t *testing.T) {
	p := startHubProcess(t, "[hub]\ndrain = \"1s\"\n[handlers.away]\ntypes = [\"away\"]\ndialect = \"classic\"\nsocket = \"nobody\"\n")
	p.await("msg=ready")
	p.loseLines()
	out, err := exec.Command(p.tool, "send", "--timeout", "1m", "--hub", filepath.Join(p.folder, "hub.sock"), "away", "1").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "nobody listens") {
		t.Errorf("a message to a handler that is away: %v, %s", err, out)
	}
	p.signal(syscall.SIGTERM)
	p.ends(0)
	// What did get out is whole lines.
	rest, err := io.ReadAll(p.lines)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(rest), "\n")
	for _, l := range lines[:max(len(lines)-1, 0)] { // the last was being written
		if !strings.HasPrefix(l, "time=") {
			t.Errorf("a line without a beginning: %.80q", l)
		}
	}
}

func TestLogReaderIsSlow(t *testing.T) {
	p := startHubProcess(t, "")
	p.await("msg=ready")
	p.loseLines()
	if err := os.WriteFile(p.config, []byte(p.listener()), 0o600); err != nil {
		t.Fatal(err)
	}
	line := p.await("lines were lost")
	if !regexp.MustCompile(`level=WARN msg="log lines were lost" lines=[1-9]\d* reason="standard error was not read in time"`).MatchString(line) {
		t.Errorf("got %q", line)
	}
	p.signal(syscall.SIGHUP)
	p.await(`msg="config applied"`)
	p.signal(syscall.SIGTERM)
	p.await("msg=ended")
	p.ends(0)
}

// A handler or listener whose messages about itself nobody reads any more goes on.
func TestToolsOutliveTheReaderOfTheirStandardError(t *testing.T) {
	p := startHubProcess(t, "")
	p.await("msg=ready")
	hub := filepath.Join(p.folder, "hub.sock")
	for _, args := range [][]string{
		{"handle", "throttle", "--types", "x", "--socket", hub, "--set", "every=1s"},
		{"listen", "--hub", hub, "--user", "ann"},
	} {
		cmd := exec.Command(p.tool, args...)
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := bufio.NewReader(stderr).ReadString('\n'); err != nil { // it is connected
			t.Fatalf("%q: %v", args, err)
		}
		stderr.Close()
		t.Cleanup(func() {
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Errorf("%q: %v", args, err)
			}
			if err := cmd.Wait(); cmd.ProcessState.Exited() == false {
				t.Errorf("%q: %v", args, err)
			}
		})
	}
	// Both say that the hub has gone, and come back when it has.
	p.signal(syscall.SIGTERM)
	p.ends(0)
	again := exec.Command(p.cmd.Path, p.config)
	if err := again.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		again.Process.Signal(syscall.SIGTERM)
		again.Wait()
	})
	for end := time.Now().Add(wait); ; time.Sleep(10 * time.Millisecond) {
		out, err := exec.Command(p.tool, "status", "--hub", hub).CombinedOutput()
		if err == nil && strings.Contains(string(out), "ann") && strings.Contains(string(out), "throttle") {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%v\n%s", err, out)
		}
	}
}
