package link

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/besterhub/bester/handlers"
	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/hubtest"
)

// The test binary also runs as handler processes: BESTER_TEST says which.
func TestMain(m *testing.M) {
	switch os.Getenv("BESTER_TEST") {
	case "":
		os.Exit(m.Run())
	case "pass":
		handlers.Main(hub.HandlerFunc(hubtest.Pass), "reading/#")
	case "poison":
		handlers.Main(hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error {
			if m.Type == "reading/poison" {
				os.Exit(3)
			}
			a.Pass(m.Data)
			return nil
		}), "reading/#")
	case "hang":
		handlers.Main(hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error { select {} }), "reading/#")
	case "fail":
		fmt.Println("about to fail")
		os.Exit(7)
	case "hub": // one that keeps a program running, until it is killed
		log := newLogRecorder()
		s := newSupervisor("x", Command{Argv: []string{"sleep", "1000"}}, newLogger(log))
		s.start()
		for s.running() == 0 {
			time.Sleep(time.Millisecond)
		}
		fmt.Println("started", s.running())
		time.Sleep(time.Hour)
	case "nothing":
	case "deaf": // ends by SIGKILL alone, and so does its child
		child := exec.Command("sleep", "1000")
		child.Start()
		fmt.Println("child", child.Process.Pid)
		ignoreTerm()
		fmt.Println("deaf")
		time.Sleep(time.Hour)
	}
}

// self is the command line of this program. If the kernel cannot run it directly, as under
// a user-mode emulator, the emulator comes first.
var self = sync.OnceValues(func() ([]string, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path)
	cmd.Env = append(os.Environ(), "BESTER_TEST=nothing")
	if err := cmd.Run(); !errors.Is(err, syscall.ENOEXEC) {
		return []string{path}, err
	}
	emulator, err := exec.LookPath(map[string]string{"arm": "qemu-arm-static", "arm64": "qemu-aarch64-static"}[runtime.GOARCH])
	return []string{emulator, path}, err
})

func argv(t testing.TB, args ...string) []string {
	t.Helper()
	first, err := self()
	if err != nil {
		t.Fatal(err)
	}
	return append(slices.Clone(first), args...)
}

// program starts this program as a handler process, which the test kills when it ends.
func (h *testHub) program(mode, name string, args ...string) *exec.Cmd {
	h.t.Helper()
	line := argv(h.t, append([]string{"--socket", h.socket, "--name", name}, args...)...)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Env = append(os.Environ(), "BESTER_TEST="+mode)
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd
}

func TestKillNineWithMessagesInFlight(t *testing.T) {
	h := newHub(t, Options{})
	if _, err := h.Add(Config{Name: "x"}); err != nil {
		t.Fatal(err)
	}
	victim := h.program("hang", "x")
	h.until("x", "connected", func(s Stats) bool { return s.Processes == 1 })
	var as hubtest.Answers
	g := h.Group("x")
	const n = DefaultCredits + 20
	for i := range n {
		as.Ask(g, message("reading/a", fmt.Sprint("sender", i), 0, "0"))
	}
	h.until("x", "in flight", func(s Stats) bool { return s.InFlight == DefaultCredits })
	victim.Process.Signal(syscall.SIGKILL)
	for _, a := range as.Wait(t, DefaultCredits) {
		wantErr(t, a.Err, hub.ErrHandler, "ended before it answered")
	}
	h.program("pass", "x") // what was waiting goes to the next
	for _, a := range as.Wait(t, n)[DefaultCredits:] {
		if a.Err != nil {
			t.Error(a.Err)
		}
	}
}

func TestTermFinishesAndExitsZero(t *testing.T) {
	h := newHub(t, Options{})
	cmd := h.program("pass", "x", "--concurrency", "3")
	h.until("x", "connected", func(s Stats) bool { return s.Processes == 1 })
	var as hubtest.Answers
	ask(&as, h.Group("x"), "anna", 50)
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("exit: %v", err)
	}
	for _, a := range as.Wait(t, 50) {
		if a.Err != nil && !contains(a.Err.Error(), "took no message") {
			t.Error(a.Err)
		}
	}
}

// findPython returns the interpreter itself: what PATH has may be a script that takes long
// to find it.
var findPython = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("python3", "-c", "import sys; print(sys.executable)").Output()
	return strings.TrimSpace(string(out)), err
})

func pythonPath(t testing.TB) string {
	t.Helper()
	path, err := findPython()
	if err != nil {
		t.Skip("needs python3: ", err)
	}
	return path
}

func python(t testing.TB, script string, args ...string) (*exec.Cmd, *lineReader) {
	t.Helper()
	cmd := exec.Command(pythonPath(t), append([]string{filepath.Join("testdata", script)}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd, &lineReader{t, out}
}

type lineReader struct {
	t testing.TB
	r io.Reader
}

// want reads one line.
func (l *lineReader) want(want string) {
	l.t.Helper()
	var line []byte
	for b := make([]byte, 1); ; line = append(line, b[0]) {
		if _, err := l.r.Read(b); err != nil || b[0] == '\n' {
			break
		}
	}
	if string(line) != want {
		l.t.Fatalf("the program said %q, want %q", line, want)
	}
}

func TestClassicHandlerInPython(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	_, out := python(t, "classic.py", path)
	out.want("listening")
	c := newClassic(t, ClassicConfig{Path: path})
	var as hubtest.Answers
	for i := range 50 { // more at once than its backlog of 1
		as.Ask(c, message("t", fmt.Sprint("s", i), i, fmt.Sprint(i)))
	}
	for _, a := range as.Wait(t, 50) {
		if want := fmt.Sprintf(`{"was": %d}`, a.Message.ID.Number); a.Err != nil || a.Text(0) != want {
			t.Errorf("got %q (%v), want %q", a.Text(0), a.Err, want)
		}
	}
	as.Ask(c, message("t", "anna", 50, `"die"`))
	wantErr(t, as.Wait(t, 51)[50].Err, hub.ErrHandler, "ended before it answered")
}

func TestNativeHandlerInPython(t *testing.T) {
	h := newHub(t, Options{})
	_, out := python(t, "native.py", h.socket, "py", "reading/+,other", "3")
	out.want("hello hub")
	h.until("py", "connected", func(s Stats) bool { return s.Processes == 1 })
	var r hubtest.Recorder
	defer h.router.Directory().Join("anna", &r)()
	for i := range 9 {
		m := message("reading/a", "anna", i, fmt.Sprint(i*1000-1))
		m.Receipt = &r
		if err := h.router.Put(m); err != nil {
			t.Fatal(err)
		}
	}
	for i, got := range r.Messages(t, 9) { // it answers three at a time, the last first
		if got.ID.Number != uint64(i) {
			t.Errorf("message %d came where %d was due", got.ID.Number, i)
		}
	}
	for _, o := range r.Receipts(t, 9) {
		if o.Err != nil {
			t.Error(o.Err)
		}
	}
	go h.Shutdown(t.Context())
	out.want("goodbye")
}

// Peers answer in any order, end at any time and reconnect. Every message is done once, and
// those of one sender in order.
func TestDisorder(t *testing.T) {
	h := newHub(t, Options{})
	g, err := h.Add(Config{Name: "x", Types: []hub.Pattern{}, Options: Options{QueueMessages: 1 << 20, QueueBytes: 64 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	ended := make(chan struct{})
	const peers = 3
	for range peers {
		go func() {
			defer func() { ended <- struct{}{} }()
			for {
				select {
				case <-stop:
					return
				default:
					h.disorderly()
				}
			}
		}()
	}
	var as hubtest.Answers
	const senders, each = 6, 400
	for s := range senders {
		go ask(&as, g, fmt.Sprint("sender", s), each)
	}
	answers := as.Wait(t, senders*each)
	close(stop)
	for range peers {
		<-ended
	}
	next := make(map[hub.Address]uint64)
	failures := 0
	for _, a := range answers {
		if a.Message.ID.Number != next[a.Message.From] {
			t.Fatalf("%v: message %d was done where %d was due", a.Message.From, a.Message.ID.Number, next[a.Message.From])
		}
		next[a.Message.From]++
		if a.Err != nil {
			failures++
			if !strings.Contains(a.Err.Error(), "ended before it answered") {
				t.Errorf("failed with %v", a.Err)
			}
		}
	}
	for _, f := range as.Faults() {
		t.Error(f)
	}
	if s := g.Stats(); s.Failed != uint64(failures) || s.InFlight != 0 {
		t.Errorf("%d failures, stats %+v", failures, s)
	}
}

// disorderly is one life of a peer: it answers some messages in any order, then ends.
func (h *testHub) disorderly() {
	p := h.peer(wire7)
	defer p.conn.Close()
	var held []uint64
	for range rand.IntN(200) {
		p.conn.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
		frame, err := p.in.Next()
		if err != nil {
			break // no message came: end the connection
		}
		held = append(held, uint64(frame[0])|uint64(frame[1])<<8)
		if len(held) == 7 || rand.IntN(3) == 0 {
			rand.Shuffle(len(held), func(i, j int) { held[i], held[j] = held[j], held[i] })
			for _, tag := range held {
				p.pass(tag)
			}
			held = held[:0]
		}
	}
}
