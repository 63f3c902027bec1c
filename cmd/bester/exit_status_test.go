package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/client"
	hubsession "github.com/besterhub/bester/hub/session"
)

// realHub starts a hub without accounts. It lets everybody in on the socket open, and nobody
// on the socket closed. It replies to messages of type echo, and fails those of type fail.
func realHub(t *testing.T) (open, closed string) {
	t.Helper()
	r := hub.NewRouter(hub.RouterOptions{Name: "real"})
	for pattern, f := range map[hub.Pattern]hub.HandlerFunc{
		"echo":  func(m *hub.Message, a *hub.Answer) error { a.Reply(m.Data); return nil },
		"fail":  func(*hub.Message, *hub.Answer) error { return errors.New("as it should") },
		"quiet": func(_ *hub.Message, a *hub.Answer) error { a.Drop(); return nil },
	} {
		stop, err := r.Serve(pattern, f)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
	}
	s := hubsession.NewServer(hubsession.Options{Router: r, Hub: "real", Status: func() []byte { return []byte(`{"hub":"real"}`) }})
	done := make(chan struct{}, 2)
	folder := t.TempDir()
	open, closed = filepath.Join(folder, "open.sock"), filepath.Join(folder, "closed.sock")
	for _, path := range []string{open, closed} {
		l, err := hubsession.Listen("unix", path, hubsession.ListenOptions{TrustPeerCredentials: path == open})
		if err != nil {
			t.Fatal(err)
		}
		go func() { s.Serve(l); done <- struct{}{} }()
	}
	t.Cleanup(func() {
		s.Shutdown(context.Background())
		<-done
		<-done
	})
	return open, closed
}

// TestMain makes the test binary the tool itself where the demo starts it as one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "demo" {
		main()
	}
	os.Exit(m.Run())
}

// emulated reports whether this runs in an emulator that cannot start another program of its
// kind.
func emulated(t *testing.T) bool {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return errors.Is(exec.Command(self, "demo", "--help").Run(), syscall.ENOEXEC)
}

// damage damages a record of a spool that fillSpool has made.
func damage(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.spool"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no file to damage: %v", err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(file, bytes.Replace(b, []byte("one"), []byte("onf"), 1), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// An exitCase is a call of the tool that ends with a code.
type exitCase struct {
	args        string
	code        int
	stdin       string
	interrupted bool              // before it begins
	unwritable  bool              // the output
	env         map[string]string // beside what all have
	terminal    bool              // standard input is one
}

// Each command ends with the codes that its help names, each of which is seen here, and with
// no others.
func TestExitStatus(t *testing.T) {
	open, closed := realHub(t)
	folder := t.TempDir()
	good := filepath.Join(folder, "good.toml")
	write := func(path, text string) string {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write(good, "[[listen]]\nnetwork = \"unix\"\naddress = \""+filepath.Join(folder, "x.sock")+"\"\n")
	wrong := write(filepath.Join(folder, "wrong.toml"), "[nonsense]\n")
	whole, damaged := fillSpool(t, "one", "two"), fillSpool(t, "one", "two")
	damage(t, damaged)
	slow := filepath.Join(folder, "slow")
	if err := os.WriteFile(slow, []byte("#!/bin/sh\nexec sleep 1000\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(folder, "missing")
	accounts := filepath.Join(folder, "accounts")
	handle := "handle alarm --set name=t --set above=1 --socket "

	victim, err := client.Dial(t.Context(), "unix", open, client.Options{User: "victim"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if <-victim.Done(); !strings.Contains(fmt.Sprint(victim.Err()), "an administrator has ended the session") {
			t.Errorf("who was kicked is told %v", victim.Err())
		}
		victim.Close(t.Context())
	}()

	cases := []exitCase{
		{args: "", code: 0},
		{args: "", code: exitFailed, unwritable: true},
		{args: "nonsense", code: exitUsage},
		{args: "help send", code: 0},
		{args: "help send", code: exitFailed, unwritable: true},
		{args: "help nonsense", code: exitUsage},
		{args: "man " + filepath.Join(folder, "man"), code: 0},
		{args: "man " + good, code: exitFailed},
		{args: "man", code: exitUsage},
		{args: "completion", code: 0},
		{args: "completion", code: exitFailed, unwritable: true},
		{args: "completion tcsh", code: exitUsage},

		{args: "send quiet 1", code: 0},
		{args: "send fail 1", code: exitFailed},
		{args: "send quiet nonsense", code: exitFailed},
		{args: "send --password-file " + missing + " quiet 1", code: exitFailed},
		{args: "send quiet", stdin: "", code: exitFailed},
		{args: "send --to @ quiet 1", code: exitUsage},
		{args: "send", code: exitUsage},
		{args: "send --hub " + missing + ".sock quiet 1", code: exitUnreachable},
		{args: "send --hub " + closed + " quiet 1", code: exitDenied},
		{args: "send --lines quiet", stdin: "1\n2\n", code: 0},
		{args: "send --lines quiet", stdin: "1\nnonsense\n2\n", code: exitSkipped},
		{args: "send --lines --strict quiet", stdin: "1\nnonsense\n2\n", code: exitFailed},
		{args: "send --lines fail", stdin: "1\nnonsense\n", code: exitFailed},
		{args: "send quiet 1", code: exitInterrupted, interrupted: true},

		{args: "request echo 1", code: 0},
		{args: "request fail 1", code: exitFailed},
		{args: "request --timeout 100ms quiet 1", code: exitFailed},
		{args: "request echo 1", code: exitFailed, unwritable: true},
		{args: "request", code: exitUsage},
		{args: "request --hub " + missing + ".sock echo 1", code: exitUnreachable},
		{args: "request --hub " + closed + " echo 1", code: exitDenied},
		{args: "request echo 1", code: exitInterrupted, interrupted: true},

		{args: "listen --for 1ms", code: 0},
		{args: "listen --for 1ms --count 1", code: exitFailed},
		{args: "listen --count 0", code: exitUsage},
		{args: "listen --for 1ms --hub " + missing + ".sock", code: exitUnreachable},
		{args: "listen --hub " + closed, code: exitDenied},
		{args: "listen", code: exitInterrupted, interrupted: true},

		{args: "status", code: 0},
		{args: "status", code: exitFailed, unwritable: true},
		{args: "status more", code: exitUsage},
		{args: "status --hub " + missing + ".sock", code: exitUnreachable},
		{args: "status --hub " + closed, code: exitDenied},
		{args: "status", code: exitInterrupted, interrupted: true},

		{args: "route a/b", code: 0},
		{args: "route a/b", code: exitFailed, unwritable: true},
		{args: "route a/#", code: exitUsage},
		{args: "route a/b --hub " + missing + ".sock", code: exitUnreachable},
		{args: "route a/b --hub " + closed, code: exitDenied},
		{args: "route a/b", code: exitInterrupted, interrupted: true},

		{args: "kick victim", code: 0},
		{args: "kick victim", code: exitFailed},
		{args: "kick", code: exitUsage},
		{args: "kick victim --hub " + missing + ".sock", code: exitUnreachable},
		{args: "kick victim --hub " + closed, code: exitDenied},
		{args: "kick victim", code: exitInterrupted, interrupted: true},

		{args: "check " + good, code: 0},
		{args: "check --strict " + good, code: 0},
		{args: "check " + wrong, code: exitFailed},
		{args: "check " + missing, code: exitFailed},
		{args: "check " + good, code: exitFailed, unwritable: true},
		{args: "check", code: exitUsage},

		{args: "account", code: 0},
		{args: "account --config " + wrong, code: exitFailed},
		{args: "account nonsense", code: exitUsage},
		{args: "account add --cost 4 ann", stdin: "secretsecret\n", code: 0},
		{args: "account add --cost 4 ann", stdin: "secretsecret\n", code: exitFailed},
		{args: "account add --cost 4 bob", stdin: "", code: exitFailed},
		{args: "account add", code: exitUsage},
		{args: "account add --cost 4 bob", code: exitInterrupted, interrupted: true, terminal: true},
		{args: "account allow ann --admin", code: 0},
		{args: "account allow nobody --admin", code: exitFailed},
		{args: "account allow ann", code: exitUsage},
		{args: "account list", code: 0},
		{args: "account list --file " + missing, code: exitFailed},
		{args: "account list more", code: exitUsage},
		{args: "account passwd --cost 4 ann", stdin: "othersecret\n", code: 0},
		{args: "account passwd nobody", stdin: "othersecret\n", code: exitFailed},
		{args: "account passwd", code: exitUsage},
		{args: "account passwd ann", code: exitInterrupted, interrupted: true, terminal: true},
		{args: "account remove ann", code: 0},
		{args: "account remove ann", code: exitFailed},
		{args: "account remove", code: exitUsage},

		{args: handle + open, code: 0, interrupted: true},
		{args: handle + missing, code: exitFailed, env: map[string]string{"BESTER_HANDLER": "alarm"}},
		{args: "handle nonsense", code: exitUsage},
		{args: handle + open + " --set above=high", code: exitUsage},
		{args: handle + closed, code: exitDenied},

		{args: "demo --besterd " + missing, code: exitFailed},
		{args: "demo more", code: exitUsage},
		{args: "demo --besterd " + slow, code: exitUnreachable, env: map[string]string{"BESTER_TIMEOUT": "100ms"}},
		{args: "demo --besterd " + slow, code: exitInterrupted, interrupted: true},

		{args: "spool", code: 0},
		{args: "spool", code: exitFailed, unwritable: true},
		{args: "spool nonsense", code: exitUsage},
		{args: "spool verify " + whole, code: 0},
		{args: "spool verify " + damaged, code: exitFailed},
		{args: "spool verify " + missing, code: exitUsage},
		{args: "spool verify " + whole, code: exitInterrupted, interrupted: true},
		{args: "spool peek " + whole, code: 0},
		{args: "spool peek " + damaged, code: 0},
		{args: "spool peek " + whole, code: exitFailed, unwritable: true},
		{args: "spool peek " + folder, code: exitUsage},
		{args: "spool peek " + whole, code: exitInterrupted, interrupted: true},
		{args: "spool export " + whole, code: 0},
		{args: "spool export " + damaged, code: exitFailed},
		{args: "spool export --output " + good + " " + whole, code: exitUsage},
		{args: "spool export " + whole, code: exitInterrupted, interrupted: true},
	}
	for _, shell := range completionShells {
		cases = append(cases, exitCase{args: "completion " + shell.name, code: 0},
			exitCase{args: "completion " + shell.name, code: exitFailed, unwritable: true},
			exitCase{args: "completion " + shell.name + " --nonsense", code: exitUsage})
	}

	t.Setenv("BESTER_HUB", open)
	t.Setenv("BESTER_USER", "ann")
	t.Setenv("BESTER_ACCOUNTS", accounts)
	t.Setenv("BESTER_PASSWORD", "")
	seen := map[string][]int{"bester demo": {0}} // which a story runs, with a real besterd
	noDemo := emulated(t)
	for _, c := range cases {
		if noDemo && strings.HasPrefix(c.args, "demo --besterd") {
			seen["bester demo"] = append(seen["bester demo"], c.code)
			continue
		}
		seenNow := c.run(t, "2m")
		if !slices.Contains(seen[seenNow], c.code) {
			seen[seenNow] = append(seen[seenNow], c.code)
		}
	}
	// What the whole tool can do is what its commands can.
	seen["bester"] = append(seen["bester"], exitUnreachable, exitDenied, exitSkipped, exitInterrupted)

	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		path := cmd.CommandPath()
		var documented []int
		for _, m := range exitMeanings[path] {
			documented = append(documented, m.code)
		}
		slices.Sort(seen[path])
		if !slices.Equal(documented, seen[path]) {
			t.Errorf("%s: its help names the codes %v, seen were %v", path, documented, seen[path])
		}
		if _, table, _ := strings.Cut(cmd.Long, exitHeading); strings.Count(table, "\n  ")+1 < len(documented) {
			t.Errorf("%s: its help has no table of exit codes: %q", path, cmd.Long)
		}
		for _, c := range cmd.Commands() {
			walk(c)
		}
	}
	walk(rootCommand())
}

// run runs the case and returns the path of the command that it ran.
func (c exitCase) run(t *testing.T, timeout string) (command string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if c.interrupted {
		cancel()
	}
	for name, value := range c.env {
		old, was := os.LookupEnv(name)
		os.Setenv(name, value)
		defer func() {
			if os.Unsetenv(name); was {
				os.Setenv(name, old)
			}
		}()
	}
	if _, set := c.env["BESTER_TIMEOUT"]; !set {
		os.Setenv("BESTER_TIMEOUT", timeout)
		defer os.Unsetenv("BESTER_TIMEOUT")
	}
	var stdin io.Reader = strings.NewReader(c.stdin)
	var said bytes.Buffer
	var stderr io.Writer = &said
	if c.terminal {
		_, tty := pty(t)
		stdin, stderr = tty, tty
	}
	var out io.Writer = io.Discard
	if c.unwritable {
		out = writerFunc(func([]byte) (int, error) { return 0, syscall.ENOSPC })
	}
	args := strings.Fields(c.args)
	if code := run(ctx, args, stdin, out, stderr); code != c.code {
		t.Errorf("bester %s (interrupted %v, unwritable %v): exit code %d, want %d; it said: %s", c.args, c.interrupted, c.unwritable, code, c.code, &said)
	}
	root := rootCommand()
	cmd, _, err := root.Find(args)
	if err != nil {
		cmd = root
	}
	return cmd.CommandPath()
}
