// Package classictest tests the daemon as the original's clients, handlers and
// peer servers meet it: a besterd process, started from a server.conf in a folder
// of its own, over real sockets. It shares no code with the hub's own codecs. Each
// test is named for one thing that the classic dialect says; the sentence is the
// comment above it.
//
// The programs in testdata are written the original's way, in Python with its
// standard library alone.
package classictest

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/account"
)

// The programs under test, built with -race if the tests are.
var besterd, bester string

// users have accounts in every hub here; their passwords are passwordOf(name).
var users = []string{"alice", "Alice", "bob", "carol", "dave", "erin", "Frédéric"}

func passwordOf(user string) string { return "the word of " + user }

// accounts is the content of the accounts file of every hub here.
var accounts []byte

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "besterd")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	besterd, bester = filepath.Join(dir, "besterd"), filepath.Join(dir, "bester")
	args := []string{"build"}
	if race {
		os.Setenv("GORACE", "atexit_sleep_ms=10") // not a second for each process
		args = append(args, "-race")
	}
	args = append(args, "-o", dir+"/", "github.com/besterhub/bester/cmd/besterd", "github.com/besterhub/bester/cmd/bester")
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go %v: %v\n%s", args, err, out)
		return 1
	}
	if err := findEmulator(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if accounts, err = makeAccounts(filepath.Join(dir, "accounts")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// emulator runs programs that are built for another machine, as these tests then are;
// empty: they are built for this one.
var emulator string

// findEmulator finds out whether besterd needs one.
func findEmulator() error {
	err := programCommand(besterd, "--version").Run()
	if errors.Is(err, syscall.ENOEXEC) {
		name := map[string]string{"arm": "qemu-arm-static", "arm64": "qemu-aarch64-static"}[runtime.GOARCH]
		if emulator, err = exec.LookPath(name); err == nil {
			err = programCommand(besterd, "--version").Run()
		}
	}
	return err
}

// programCommand is the command that runs one of the programs under test.
func programCommand(name string, args ...string) *exec.Cmd {
	if emulator != "" {
		return exec.Command(emulator, append([]string{name}, args...)...)
	}
	return exec.Command(name, args...)
}

func makeAccounts(path string) ([]byte, error) {
	s, err := account.Create(path, account.Options{Cost: 4})
	if err != nil {
		return nil, err
	}
	for _, name := range users {
		may := account.DefaultPermissions()
		may.Admin = name == "dave"
		if err := s.Add(hub.UserName(name), passwordOf(name), may); err != nil {
			return nil, err
		}
	}
	return os.ReadFile(path)
}

// scaled is n, or less where the race detector or an emulator makes everything slow.
func scaled(n int) int {
	switch {
	case emulator != "":
		return n / 20
	case race:
		return n / 5
	}
	return n
}

// skipInEmulator skips a test that starts many daemons if it runs in an emulator, where
// each is slow to start, with -short. The machine makes no difference to such a test.
func skipInEmulator(t *testing.T) {
	if emulator != "" && testing.Short() {
		t.Skip("starts many daemons")
	}
}

// logBuffer takes what a program writes and says when something is in it.
type logBuffer struct {
	mu      sync.Mutex
	text    []byte
	ended   bool
	changed *sync.Cond
}

func newLogBuffer() *logBuffer {
	b := new(logBuffer)
	b.changed = sync.NewCond(&b.mu)
	return b
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = append(b.text, p...)
	b.changed.Broadcast()
	return len(p), nil
}

func (b *logBuffer) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	b.changed.Broadcast()
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.text)
}
