package link

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/hubtest"
	"github.com/besterhub/bester/hub/wire"
)

var wire7 = wire.Hello{Name: "x", Types: []string{"reading/#"}, Credits: 7}

func (s *supervisor) running() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pid
}

func ignoreTerm() { signal.Ignore(syscall.SIGTERM) }

// handler is the configuration of this program as a handler that the hub starts.
func (h *testHub) handler(mode string) Config {
	return Config{Name: "x", Command: Command{Argv: argv(h.t), Env: []string{"BESTER_TEST=" + mode}, Socket: h.socket}}
}

func TestStartedHandlerServesAndIsStartedAgain(t *testing.T) {
	h := newHub(t, Options{})
	g, err := h.Add(h.handler("pass"))
	if err != nil {
		t.Fatal(err)
	}
	var as hubtest.Answers
	ask(&as, g, "anna", 3)
	as.Wait(t, 3)
	var pid int
	fmt.Sscanf(h.log.wait(t, 1, func(l string) bool { return contains(l, "handler started") }), "handler started handler=x pid=%d", &pid)
	syscall.Kill(pid, syscall.SIGKILL)
	h.log.wait(t, 1, func(l string) bool {
		return contains(l, "handler ended handler=x status=signal: killed restart=")
	})
	ask(&as, g, "bert", 3)
	for _, a := range as.Wait(t, 6) {
		if a.Err != nil && !contains(a.Err.Error(), "ended before") {
			t.Error(a.Err)
		}
	}
	h.until("x", "one restart", func(s Stats) bool { return s.Restarts == 1 })
}

func TestFailingProgramIsRestartedWithBackoff(t *testing.T) {
	h := newHub(t, Options{})
	if _, err := h.Add(h.handler("fail")); err != nil {
		t.Fatal(err)
	}
	for i, backoff := range []string{"100ms", "200ms", "400ms"} {
		h.log.wait(t, i+1, func(l string) bool { return contains(l, "handler ended") })
		h.log.wait(t, 1, func(l string) bool { return l == "handler ended handler=x status=exit status 7 restart="+backoff })
	}
	h.log.wait(t, 1, func(l string) bool { return l == "handler says handler=x line=about to fail" })
}

// The log says why a program cannot be started, and messages for it fail at once.
func TestProgramThatCannotBeStarted(t *testing.T) {
	script := filepath.Join(shortDir(t), "script")
	if err := os.WriteFile(script, []byte("#!/nowhere/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		argv            []string
		command, reason string
	}{
		{argv: []string{"/nowhere/at/all", "a b"}, command: `/nowhere/at/all "a b"`, reason: `"/nowhere/at/all": no such file or directory`},
		{argv: []string{"no-such-program"}, command: "no-such-program", reason: `"no-such-program" is not in the hub's PATH`},
		{argv: []string{filepath.Dir(script)}, command: filepath.Dir(script), reason: "permission denied"},
		{argv: []string{script}, command: script, reason: "what runs it, named in its first line, is not there"},
	} {
		h := newHub(t, Options{})
		g, err := h.Add(Config{Name: "x", Options: Options{Timeout: time.Hour}, Command: Command{Argv: c.argv}})
		if err != nil {
			t.Fatal(err)
		}
		var as hubtest.Answers
		ask(&as, g, "anna", 3) // before it is known, perhaps
		h.log.wait(t, 1, func(l string) bool {
			return contains(l, "handler cannot be started handler=x command="+c.command+" reason=") && contains(l, c.reason) && contains(l, "retry_in=100ms")
		})
		ask(&as, g, "bert", 3)
		for _, a := range as.Wait(t, 6) {
			wantErr(t, a.Err, hub.ErrHandler, `handler "x" is not running: its program cannot be started: `)
		}
	}
}

func TestNoMessageWaitsForAProgramThatNeverConnects(t *testing.T) {
	h := newHub(t, Options{})
	c := h.handler("fail")
	c.Timeout = time.Hour
	g, err := h.Add(c)
	if err != nil {
		t.Fatal(err)
	}
	var as hubtest.Answers
	ask(&as, g, "anna", 3)
	for _, a := range as.Wait(t, 3) {
		wantErr(t, a.Err, hub.ErrHandler, `handler "x" is not running: its program has ended: exit status 7`)
	}
}

func TestFailFast(t *testing.T) {
	for _, c := range []struct {
		why           string
		everReachable bool
		restartIn     time.Duration
		want          bool
	}{
		{"", false, 0, false}, // it runs
		{"ended", false, 0, true},
		{"ended", true, time.Second, false},
		{"ended", true, time.Hour, true},
	} {
		s := supervisor{why: c.why, restartAt: time.Now().Add(c.restartIn)}
		s.everReachable.Store(c.everReachable)
		if _, got := s.failFast(time.Minute); got != c.want {
			t.Errorf("%+v: got %v", c, got)
		}
	}
}

// Starting a program may take long; meanwhile its state can be read without blocking.
func TestStartDoesNotBlockReadersOfTheState(t *testing.T) {
	s := supervisor{why: "ended"}
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		s.failFast(time.Minute)
		s.down()
		s.noteReachable()
		s.noteAnswer()
	}()
	select {
	case <-asked:
	case <-time.After(hubtest.WaitTimeout):
		t.Error("waits for the start")
	}
}

// When the hub is killed, the kernel ends the programs that it has started.
func TestProgramEndsWithAHubThatIsKilled(t *testing.T) {
	line := argv(t)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Env = append(os.Environ(), "BESTER_TEST=hub")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	_, err = fmt.Fscanf(out, "started %d\n", &pid)
	cmd.Process.Kill()
	cmd.Wait()
	if err != nil {
		t.Fatal(err)
	}
	until(t, "end of the program", func() (Stats, bool) { return Stats{}, !alive(pid) })
}

// A program that ignores SIGTERM is killed together with its process group. No zombie and
// no file descriptor is left.
func TestStopKillsTheWholeGroup(t *testing.T) {
	if testing.Short() {
		t.Skip("waits 5 s for the kill")
	}
	h := newHub(t, Options{})
	before := descriptors(t)
	g, err := h.Add(h.handler("deaf"))
	if err != nil {
		t.Fatal(err)
	}
	var pid, child int
	fmt.Sscanf(h.log.wait(t, 1, func(l string) bool { return contains(l, "handler started") }), "handler started handler=x pid=%d", &pid)
	fmt.Sscanf(h.log.wait(t, 1, func(l string) bool { return contains(l, "line=child") }), "handler says handler=x line=child %d", &child)
	h.log.wait(t, 1, func(l string) bool { return contains(l, "line=deaf") })
	if err := g.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.log.wait(t, 1, func(l string) bool { return contains(l, "handler does not end by itself: killed") })
	for _, p := range []int{pid, child} {
		until(t, fmt.Sprint("end of ", p), func() (Stats, bool) { return Stats{}, !alive(p) })
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors are open, %d were", after, before)
	}
}

// alive reports whether there is such a process that is not waiting to be reaped by somebody else.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return rest[0] != 'Z'
}

func descriptors(t *testing.T) int {
	ds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("needs /proc")
	}
	return len(ds)
}

// classicProgram is the configuration of testdata/classic.py as a handlerBinary.
func classicProgram(t *testing.T, log *logRecorder) ClassicConfig {
	t.Helper()
	path := filepath.Join(shortDir(t), "s")
	script, err := filepath.Abs("testdata/classic.py")
	if err != nil {
		t.Fatal(err)
	}
	return ClassicConfig{
		Name: "old", Path: path, Needed: true, Options: Options{Log: newLogger(log)},
		Command: Command{Argv: []string{pythonPath(t), script, path}},
	}
}

func TestNeededProgramIsStartedWhenThereIsNoSocket(t *testing.T) {
	log := newLogRecorder()
	c := newClassic(t, classicProgram(t, log))
	log.wait(t, 1, func(l string) bool { return contains(l, "handler started") })
	var as hubtest.Answers
	as.Ask(c, message("t", "anna", 0, "0"))
	if a := as.Wait(t, 1)[0]; a.Err != nil {
		t.Error(a.Err)
	}
	// It dies, leaves its socket file, and is started again; the next message waits for that.
	as.Ask(c, message("t", "anna", 1, `"die"`))
	wantErr(t, as.Wait(t, 2)[1].Err, hub.ErrHandler, "ended before it answered")
	log.wait(t, 1, func(l string) bool { return contains(l, "handler ended handler=old status=exit status 3") })
	as.Ask(c, message("t", "anna", 2, "2"))
	if a := as.Wait(t, 3)[2]; a.Err != nil {
		t.Error(a.Err)
	}
	log.wait(t, 2, func(l string) bool { return contains(l, "handler started") })
}

func TestNeededProgramIsStartedWhenNobodyListens(t *testing.T) {
	log := newLogRecorder()
	config := classicProgram(t, log)
	stale(t, config.Path)
	c := newClassic(t, config)
	if _, down := c.command.down(); down || c.command.started {
		t.Error("started though there is a socket file and nobody has tried it")
	}
	var as hubtest.Answers
	as.Ask(c, message("t", "anna", 0, "0"))
	if a := as.Wait(t, 1)[0]; a.Err != nil {
		t.Error(a.Err)
	}
}

func TestNeededProgramIsNotStartedWhileSomebodyListens(t *testing.T) {
	log := newLogRecorder()
	config := classicProgram(t, log)
	classicServer(t, config.Path, answering(frame(good)))
	c := newClassic(t, config)
	var as hubtest.Answers
	as.Ask(c, message("t", "anna", 0, "0"))
	if a := as.Wait(t, 1)[0]; a.Err != nil || c.command.started {
		t.Errorf("got %v, started: %v", a.Err, c.command.started)
	}
	c.command.prepare() // must not: somebody listens
	as.Ask(c, message("t", "anna", 1, "1"))
	if a := as.Wait(t, 2)[1]; a.Err != nil {
		t.Errorf("a live socket was removed: %v", a.Err)
	}
}

func TestNeededProgramThatIsNoProgram(t *testing.T) {
	log := newLogRecorder()
	config := classicProgram(t, log)
	config.Command.Argv = []string{filepath.Join(filepath.Dir(config.Path), "missing")}
	var as hubtest.Answers
	as.Ask(newClassic(t, config), message("t", "anna", 0, "0"))
	wantErr(t, as.Wait(t, 1)[0].Err, hub.ErrHandler, "its program cannot be started")
}
