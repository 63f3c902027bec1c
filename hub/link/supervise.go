package link

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Command is a handler's program, which the hub starts and keeps running. It is
// started anew whenever it ends, after 100 ms at first and twice as long each time,
// up to 30 s; once it has run for a minute, after 100 ms again. Its output goes to the log.
type Command struct {
	// Argv is the program and its arguments. Empty: nothing is started.
	Argv []string
	// Dir is its working directory. If empty, the hub's.
	Dir string
	// Env is added to the hub's environment, as "KEY=value".
	Env []string
	// Socket is the path where the hub listens, which the program finds in BESTER_SOCKET,
	// beside its handler's name in BESTER_HANDLER. Empty: it has to know by itself.
	Socket string
}

// Times of a supervisor.
const (
	firstPause = 100 * time.Millisecond
	mostPause  = 30 * time.Second
	steady     = time.Minute     // a program that has run so long starts with firstPause again
	patience   = 5 * time.Second // from SIGTERM to SIGKILL
)

// A supervisor keeps one program running.
type supervisor struct {
	name     string
	command  Command
	log      *slog.Logger
	out      *lines
	prepare  func() // called before each start, if not nil
	restarts atomic.Uint64

	mu       sync.Mutex
	begun    bool
	pid      int    // its process group; 0 while it does not run, or may have been reaped
	why      string // how it last ended, while it waits to be started again
	stopping chan struct{}
	stopped  chan struct{} // closed when run has returned; nil before start
}

func newSupervisor(name string, c Command, log *slog.Logger) *supervisor {
	return &supervisor{name: name, command: c, log: log, out: newLines(name, log), stopping: make(chan struct{})}
}

// start starts the program, unless that was done before.
func (s *supervisor) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.begun {
		return
	}
	s.begun = true
	s.stopped = make(chan struct{})
	go s.run()
}

// stop ends the program and all of its process group, with SIGTERM and after 5 s with
// SIGKILL, and waits until it has gone. It is not started again.
func (s *supervisor) stop() {
	s.mu.Lock()
	select {
	case <-s.stopping:
	default:
		close(s.stopping)
	}
	begun := s.begun
	s.begun = true // it never will
	s.mu.Unlock()
	if !begun || s.stopped == nil {
		return
	}
	s.signal(syscall.SIGTERM)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-s.stopped:
		return
	case <-timer.C:
	}
	s.log.Warn("handler does not end by itself: killed", "handler", s.name, "after", patience)
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

// down returns how the program has last ended, if it is waiting to be started again.
func (s *supervisor) down() (why string, yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.why, s.why != ""
}

// run starts the program again and again until stop.
func (s *supervisor) run() {
	defer close(s.stopped)
	var pause time.Duration
	for {
		began := time.Now()
		err := s.once()
		select {
		case <-s.stopping:
			s.log.Info("handler stopped", "handler", s.name, "status", status(err))
			return
		default:
		}
		pause = nextPause(pause, time.Since(began))
		s.log.Warn("handler ended", "handler", s.name, "status", status(err), "restart", pause)
		s.mu.Lock()
		s.why = status(err)
		s.mu.Unlock()
		timer := time.NewTimer(pause)
		select {
		case <-s.stopping:
			timer.Stop()
			return
		case <-timer.C:
		}
		s.restarts.Add(1)
	}
}

// nextPause returns how long to wait before the next start, after a wait of last (0
// if it was the first start) and a run of ran.
func nextPause(last, ran time.Duration) time.Duration {
	if last == 0 || ran >= steady {
		return firstPause
	}
	return min(2*last, mostPause)
}

// once starts the program and waits for its end. What it leaves behind in its process
// group is killed.
func (s *supervisor) once() error {
	if s.prepare != nil {
		s.prepare()
	}
	cmd := exec.Command(s.command.Argv[0], s.command.Argv[1:]...)
	cmd.Dir = s.command.Dir
	cmd.Env = s.environment()
	cmd.Stdout, cmd.Stderr = s.out, s.out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second // for a grandchild that has left the group and kept the pipe

	s.mu.Lock()
	select {
	case <-s.stopping: // stop has signalled nobody
		s.mu.Unlock()
		return nil
	default:
	}
	if err := cmd.Start(); err != nil {
		s.mu.Unlock()
		return fmt.Errorf("cannot be started: %w", err)
	}
	pid := cmd.Process.Pid
	s.pid, s.why = pid, ""
	s.mu.Unlock()
	s.log.Info("handler started", "handler", s.name, "pid", pid)

	// While it is a zombie its number cannot be given to another group.
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

// environment is the hub's own, without what its service manager meant for it alone.
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

// status says how a program has ended: "exit status 1", "signal: killed".
func status(err error) string {
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		return "exit status 0"
	}
	return err.Error()
}
