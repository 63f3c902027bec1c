package link

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/besterhub/bester/hub/lograte"
)

// A Command is a handler's program, which the hub starts and restarts whenever it ends. A
// program that has worked is restarted at once, or after 100 ms if it ran for less than a
// second. It has worked if it answered something, ran for 5 s after it could be reached, or
// ran for a minute. Otherwise there is a backoff, which is 100 ms at first and doubles each
// time, up to 30 s. The program's output goes to the log, at a bounded rate.
//
// The program leads a process group. The hub terminates the whole group when it stops the
// handler, and kills what is left of it when the program ends by itself. If the hub is
// killed, the kernel sends SIGTERM to the program alone. Processes that the program starts
// in a group or session of their own (setsid, a daemon) outlive it; under systemd the
// service's control group ends them too.
type Command struct {
	// Argv is the program and its arguments. If empty, nothing is started.
	Argv []string
	// Dir is its working directory. If empty, the hub's.
	Dir string
	// Env is added to the hub's environment, as "KEY=value".
	Env []string
	// Socket is the path where the hub listens. The program finds it in BESTER_SOCKET, and
	// its handler's name in BESTER_HANDLER. If empty, the hub does not set BESTER_SOCKET.
	Socket string
}

// Backoff and timeouts of a supervisor.
const (
	minBackoff  = 100 * time.Millisecond
	maxBackoff  = 30 * time.Second
	shortRun    = time.Second     // after a run below this length a program is not restarted at once
	idleAfter   = 5 * time.Second // a program that could be reached and ran so long has worked
	stableAfter = time.Minute     // a program that ran so long has worked
	killTimeout = 5 * time.Second // from SIGTERM to SIGKILL
)

// How far a program has come since its last start.
const (
	unreachable int32 = iota
	reachable         // it has connected to the hub, or accepted a connection
	answered          // it has answered a message
)

// A supervisor keeps one program running.
type supervisor struct {
	name       string
	command    Command
	log        *slog.Logger
	logLimiter lograte.Limiter // of what a program can cause that ends again and again
	out        *outputLog
	prepare    func()        // called before each start, if not nil
	onExit     func()        // called after each exit that stop did not cause, if not nil
	starts     atomic.Uint64 // successful starts

	progress      atomic.Int32 // how far it has come since its last start
	everReachable atomic.Bool  // it has been reachable, now or in an earlier run

	mu       sync.Mutex
	started  bool
	pid      int // of the process group; 0 while none runs, or if it may have been reaped
	stopping chan struct{}
	stopped  chan struct{} // closed when run has returned; nil before start

	state     sync.Mutex // guards what follows; unlike mu it is not held while a program is started
	why       string     // how it last ended, while it waits for its restart; else ""
	restartAt time.Time  // when it will be restarted, if why is set
}

func newSupervisor(name string, c Command, log *slog.Logger) *supervisor {
	return &supervisor{
		name: name, command: c, log: log, logLimiter: lograte.Limiter{Every: time.Minute, Burst: 30},
		out: newOutputLog(name, log), stopping: make(chan struct{}),
	}
}

// start starts the program, unless that was done before.
func (s *supervisor) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started {
		return
	}
	s.started = true
	s.stopped = make(chan struct{})
	go s.run()
}

// stop ends the program and its whole process group, with SIGTERM and after 5 s with
// SIGKILL, and waits until the program has ended. It is not started again.
func (s *supervisor) stop() {
	s.mu.Lock()
	select {
	case <-s.stopping:
	default:
		close(s.stopping)
	}
	begun := s.started
	s.started = true // so that start does nothing
	s.mu.Unlock()
	if !begun || s.stopped == nil {
		return
	}
	s.signal(syscall.SIGTERM)
	timer := time.NewTimer(killTimeout)
	defer timer.Stop()
	select {
	case <-s.stopped:
		return
	case <-timer.C:
	}
	s.log.Warn("handler does not end by itself: killed", "handler", s.name, "after", killTimeout)
	s.signal(syscall.SIGKILL)
	<-s.stopped
}

// signal signals the process group, if there is one that has not been reaped.
func (s *supervisor) signal(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pid != 0 {
		syscall.Kill(-s.pid, sig)
	}
}

// down returns how the program last ended, if it waits for its restart.
func (s *supervisor) down() (why string, yes bool) {
	s.state.Lock()
	defer s.state.Unlock()
	return s.why, s.why != ""
}

// noteReachable notes that the program has connected to the hub, or accepted a connection.
func (s *supervisor) noteReachable() {
	s.everReachable.Store(true)
	s.progress.CompareAndSwap(unreachable, reachable)
}

// noteAnswer notes that the program has answered a message.
func (s *supervisor) noteAnswer() {
	if s.progress.Load() != answered {
		s.progress.Store(answered)
	}
}

// failFast reports whether a message that can wait for the given time should fail at once,
// and why: the program does not run and has never been reachable, or it will be restarted
// too late.
func (s *supervisor) failFast(wait time.Duration) (why string, yes bool) {
	s.state.Lock()
	defer s.state.Unlock()
	if s.why == "" || s.everReachable.Load() && time.Until(s.restartAt) < wait {
		return "", false
	}
	return s.why, true
}

// run starts the program again and again until stop.
func (s *supervisor) run() {
	defer close(s.stopped)
	var backoff time.Duration
	for {
		began := time.Now()
		err := s.runOnce()
		select {
		case <-s.stopping:
			s.log.Info("handler stopped", "handler", s.name, "status", status(err))
			return
		default:
		}
		backoff = nextBackoff(backoff, time.Since(began), s.progress.Load())
		var start *startError
		why := "its program has ended: " + status(err)
		if errors.As(err, &start) {
			why = "its program cannot be started: " + err.Error()
			s.logLine(slog.LevelError, "handler cannot be started", slog.String("command", s.command.String()),
				slog.String("reason", err.Error()), slog.Duration("retry_in", backoff))
		} else {
			s.logLine(slog.LevelWarn, "handler ended", slog.String("status", status(err)), slog.Duration("restart", backoff))
		}
		s.state.Lock()
		s.why, s.restartAt = why, time.Now().Add(backoff)
		s.state.Unlock()
		if s.onExit != nil {
			s.onExit()
		}
		timer := time.NewTimer(backoff)
		select {
		case <-s.stopping:
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// restarts is how often the program was started again.
func (s *supervisor) restarts() uint64 { return max(s.starts.Load(), 1) - 1 }

// logLine logs what happened to the program, at a bounded rate.
func (s *supervisor) logLine(level slog.Level, msg string, attrs ...slog.Attr) {
	s.logLimiter.Log(s.log, level, msg, append([]slog.Attr{slog.String("handler", s.name)}, attrs...)...)
}

// nextBackoff returns how long to wait before the next start. last is the previous backoff,
// 0 if there was none; ran is how long the program has run, and progress how far it came.
func nextBackoff(last, ran time.Duration, progress int32) time.Duration {
	switch worked := progress == answered || progress == reachable && ran >= idleAfter || ran >= stableAfter; {
	case worked && ran >= shortRun:
		return 0
	case worked, last == 0:
		return minBackoff
	}
	return min(2*last, maxBackoff)
}

// runOnce starts the program, waits for its end and kills what is left of its process
// group.
func (s *supervisor) runOnce() error {
	if s.prepare != nil {
		s.prepare()
	}
	cmd := exec.Command(s.command.Argv[0], s.command.Argv[1:]...)
	cmd.Dir = s.command.Dir
	cmd.Env = s.environment()
	cmd.Stdout, cmd.Stderr = s.out, s.out
	// The kernel sends Pdeathsig when the thread that started the program ends. Go only
	// ends a thread that a goroutine has locked, and nothing here locks one.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.WaitDelay = time.Second // for a grandchild that has left the group and kept the pipe

	s.mu.Lock()
	select {
	case <-s.stopping: // stop had no process to signal
		s.mu.Unlock()
		return nil
	default:
	}
	s.state.Lock()
	s.why = ""
	s.state.Unlock()
	s.progress.Store(unreachable)
	if err := cmd.Start(); err != nil {
		s.mu.Unlock()
		return &startError{err}
	}
	pid := cmd.Process.Pid
	s.pid = pid
	s.mu.Unlock()
	s.starts.Add(1)
	s.logLine(slog.LevelInfo, "handler started", slog.Int("pid", pid))

	// Wait without reaping: the kernel does not reuse the pid of a zombie, so the kill below
	// cannot hit another group.
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	s.mu.Lock()
	syscall.Kill(-pid, syscall.SIGKILL)
	s.pid = 0
	s.mu.Unlock()
	err := cmd.Wait()
	s.out.flush()
	return err
}

// environment returns the hub's environment without the variables that its service manager
// meant for the hub alone, and with those for the handler.
func (s *supervisor) environment() []string {
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		key, _, _ := strings.Cut(kv, "=")
		switch key {
		case "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES":
			return true
		}
		return false
	})
	env = append(env, s.command.Env...)
	if s.command.Socket != "" {
		env = append(env, "BESTER_SOCKET="+s.command.Socket)
	}
	return append(env, "BESTER_HANDLER="+s.name)
}

// A startError is why a program could not be started.
type startError struct{ error }

func (e *startError) Unwrap() error { return e.error }

// Error explains the error to an operator.
func (e *startError) Error() string {
	var path *fs.PathError
	var name *exec.Error
	switch {
	case errors.As(e.error, &name) && errors.Is(e.error, exec.ErrNotFound):
		return fmt.Sprintf("%q is not in the hub's PATH", name.Name)
	case !errors.As(e.error, &path):
		return e.error.Error()
	case errors.Is(path.Err, syscall.ENOENT) && !notExist(path.Path):
		return fmt.Sprintf("%q: what runs it, named in its first line, is not there", path.Path)
	}
	return fmt.Sprintf("%q: %v", path.Path, path.Err)
}

// String writes the command as an operator would, in one line.
func (c *Command) String() string {
	words := make([]string, len(c.Argv))
	for i, w := range c.Argv {
		if words[i] = w; w == "" || strings.ContainsAny(w, " \t\n\"'\\$") {
			words[i] = strconv.Quote(w)
		}
	}
	return strings.Join(words, " ")
}

// status says how a program has ended: "exit status 1", "signal: killed".
func status(err error) string {
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		return "exit status 0"
	}
	return err.Error()
}
