package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// programs is where the programs are that the scripts need beside besterd, which is
// the test binary itself. They are built with -race if the tests are.
var programs struct {
	sync.Mutex
	folder string
	built  map[string]string // the sources by name
}

func removePrograms() { os.RemoveAll(programs.folder) }

// buildProgram builds a Go program, a package or a file, once, and returns where it is.
func buildProgram(name, source string) (string, error) {
	programs.Lock()
	defer programs.Unlock()
	if programs.folder == "" {
		folder, err := os.MkdirTemp("", "bester")
		if err != nil {
			return "", err
		}
		programs.folder = folder
	}
	// One folder for all: whoever has it in PATH finds every program. The scripts'
	// users, root or not, may run them.
	if err := os.Chmod(programs.folder, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(programs.folder, name)
	text, _ := os.ReadFile(source) // none of a package
	if built, ok := programs.built[name]; ok {
		if built != string(text) {
			return "", fmt.Errorf("%s: another program is called %q: each needs a name of its own", source, name)
		}
		return path, nil
	}
	build := exec.Command("go", "build", "-o", path, source)
	if race {
		build.Args = slices.Insert(build.Args, 2, "-race")
	} else {
		build.Env = append(build.Environ(), "CGO_ENABLED=0") // as users have it
	}
	out, err := build.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build %s: %w\n%s", source, err, out)
	}
	if programs.built == nil {
		programs.built = make(map[string]string)
	}
	programs.built[name] = string(text)
	return path, nil
}

// buildTool builds the tool.
func buildTool(t *testing.T) string {
	t.Helper()
	path, err := buildProgram("bester", "github.com/besterhub/bester/cmd/bester")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// skipIfEmulated skips where the test binary runs in an emulator that cannot start
// another of its kind, and returns where besterd is.
func skipIfEmulated(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("besterd")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(path, "--version").CombinedOutput()
	if errors.Is(err, syscall.ENOEXEC) {
		t.Skip("built for another machine: the emulator that runs this cannot start a second process")
	}
	if err != nil || !bytes.HasPrefix(out, []byte("besterd ")) {
		t.Fatalf("besterd --version: %v\n%s", err, out)
	}
	return path
}

// readmeExample returns the example of the README that names itself in its first two lines:
// what readers are told is what the scripts run.
func readmeExample(name string) (string, error) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		return "", err
	}
	for i, block := range strings.Split(string(readme), "\n```") {
		_, text, _ := strings.Cut(block, "\n")
		head := strings.SplitN(text, "\n", 3)
		if i%2 == 1 && len(head) == 3 && strings.Contains(head[0]+head[1], name) {
			return text + "\n", nil
		}
	}
	return "", fmt.Errorf("README.md: no example that names %q in its first two lines", name)
}
