package classictest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// handlerBinary is started and supervised when nobody listens on the socket and the
// file is executable; otherwise only the socket is used.
func TestHandlerBinary(t *testing.T) {
	skipInEmulator(t)
	t.Parallel()
	program, err := filepath.Abs(filepath.Join("testdata", "handler.py"))
	if err != nil {
		t.Fatal(err)
	}
	// install writes a program that says that it has run and serves the socket.
	install := func(t *testing.T, dir string, mode os.FileMode) {
		t.Helper()
		script := fmt.Sprintf("#!/bin/sh\necho $$ >>started\nexec '%s' -B '%s' echo.sock users alice\n", pythonPath(t), program)
		if err := os.WriteFile(filepath.Join(dir, "echo.sh"), []byte(script), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, "echo.sh"), mode); err != nil {
			t.Fatal(err)
		}
	}
	c := serverConf{handlers: []string{"echo"}, binaries: map[string]string{"echo": "./echo.sh"}}
	starts := func(dir string) []string {
		b, _ := os.ReadFile(filepath.Join(dir, "started"))
		return strings.Fields(string(b))
	}

	t.Run("started_when_nobody_listens", func(t *testing.T) {
		dir := workDir(t)
		install(t, dir, 0o755)
		hub := startIn(t, dir, c)
		alice := hub.login("alice")
		alice.send(message("echo", "1", `"started"`))
		alice.want(received(`"started"`, "echo"), good("1"))
		alice.send(message("echo", "2", `"again"`))
		alice.want(received(`"again"`, "echo"), good("2"))
		if n := len(starts(dir)); n != 1 {
			t.Errorf("started %d times", n)
		}
		alice.Close()
		hub.terminate()
		if pid := starts(dir)[0]; exists("/proc/" + pid) {
			t.Errorf("process %s is still there after the hub", pid)
		}
	})
	t.Run("started_again_when_it_ends", func(t *testing.T) {
		dir := workDir(t)
		install(t, dir, 0o755)
		hub := startIn(t, dir, c)
		alice := hub.login("alice")
		alice.send(message("echo", "1", "1"))
		alice.want(received("1", "echo"), good("1"))
		if out, err := exec.Command("kill", "-9", starts(dir)[0]).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		// Messages may fail until it is back.
		eventually(t, "a message through the new process", func() bool {
			alice.send(message("echo", "2", "2"))
			if alice.recv() == received("2", "echo") {
				alice.want(good("2"))
				return true
			}
			return false
		})
		if n := len(starts(dir)); n != 2 {
			t.Errorf("started %d times, want 2", n)
		}
		alice.Close()
		hub.terminate()
	})
	t.Run("not_started_when_somebody_listens", func(t *testing.T) {
		dir := workDir(t)
		install(t, dir, 0o755)
		(&daemon{t: t, dir: dir}).answer("echo", toUsers("alice"))
		hub := startIn(t, dir, c)
		alice := hub.login("alice")
		alice.send(message("echo", "1", "1"))
		alice.want(received("1", "echo"), good("1"))
		if n := starts(dir); len(n) > 0 {
			t.Errorf("started as %q", n)
		}
	})
	t.Run("started_when_a_dead_process_left_its_socket", func(t *testing.T) {
		dir := workDir(t)
		install(t, dir, 0o755)
		(&daemon{t: t, dir: dir}).answer("echo", toUsers("alice")).close()
		hub := startIn(t, dir, c)
		alice := hub.login("alice")
		alice.send(message("echo", "1", "1"))
		alice.want(received("1", "echo"), good("1"))
		alice.Close()
		hub.terminate()
	})
	for name, prepare := range map[string]func(t *testing.T, dir string){
		"not_executable": func(t *testing.T, dir string) { install(t, dir, 0o644) },
		"not_there":      func(t *testing.T, dir string) {},
	} {
		t.Run("only_the_socket_where_it_is_"+name, func(t *testing.T) {
			dir := workDir(t)
			prepare(t, dir)
			hub := startIn(t, dir, c)
			alice := hub.login("alice")
			alice.send(message("echo", "1", "1"))
			alice.wantBad(`"1"`)
			hub.answer("echo", toUsers("alice"))
			alice.send(message("echo", "2", "2"))
			alice.want(received("2", "echo"), good("2"))
			if n := starts(dir); len(n) > 0 {
				t.Errorf("started as %q", n)
			}
		})
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
