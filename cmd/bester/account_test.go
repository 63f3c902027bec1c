package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/bcrypt"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/account"
)

// runAccount runs "bester account ARGS..." below a root like the tool's.
func runAccount(stdin io.Reader, stderr io.Writer, args ...string) (stdout string, err error) {
	var out bytes.Buffer
	root := &cobra.Command{Use: "bester", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(accountCommand())
	root.SetArgs(append([]string{"account"}, args...))
	root.SetIn(stdin)
	root.SetOut(&out)
	root.SetErr(stderr)
	err = root.Execute()
	return out.String(), err
}

// accounts sets BESTER_ACCOUNTS to a file that is not there yet.
func accounts(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "etc", "accounts")
	t.Setenv("BESTER_ACCOUNTS", path)
	return path
}

func mustRun(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	out, err := runAccount(strings.NewReader(stdin), io.Discard, args...)
	if err != nil {
		t.Fatalf("account %q: %v", args, err)
	}
	return out
}

func mayLogin(t *testing.T, path, name, password string) bool {
	t.Helper()
	s, err := account.Open(path, account.Options{Cost: bcrypt.MinCost})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Login(t.Context(), hub.UserName(name), password)
	if err != nil && err != account.ErrDenied {
		t.Fatal(err)
	}
	return err == nil
}

// The accounts file of a config that is not besterd's usual one.
func TestAccountsOfAConfig(t *testing.T) {
	other := accounts(t) // BESTER_ACCOUNTS, which the flag goes before
	dir := t.TempDir()
	path, config := filepath.Join(dir, "those"), filepath.Join(dir, "bester.toml")
	if err := os.WriteFile(config, []byte("[accounts]\nfile = \""+path+"\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	mustRun(t, "secret\n", "add", "alice", "--cost=4", "--config", config)
	if !mayLogin(t, path, "alice", "secret") {
		t.Error("alice cannot log in")
	}
	if _, err := os.Stat(other); err == nil {
		t.Error("BESTER_ACCOUNTS was written to")
	}
	for want, args := range map[string][]string{
		"give one of them":             {"list", "--config", config, "--file", path},
		"unknown key":                  {"list", "--config", filepath.Join(dir, "wrong.toml")},
		"none.toml: no such file or d": {"list", "--config", filepath.Join(dir, "none.toml")},
	} {
		os.WriteFile(filepath.Join(dir, "wrong.toml"), []byte("x = 1\n"), 0o600)
		if _, err := runAccount(strings.NewReader(""), io.Discard, args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", args, err, want)
		}
	}
}

func TestAccountLifecycle(t *testing.T) {
	path := accounts(t)
	got := mustRun(t, "secret\n", "add", "alice", "--cost=4", "--admin")
	if want := "added alice to " + path + ": send #; receive #; reach *; admin\n"; got != want {
		t.Errorf("add: got %q, want %q", got, want)
	}
	for p, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		if st, err := os.Stat(p); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: mode %v (error %v), want %v", p, st.Mode(), err, want)
		}
	}
	if !mayLogin(t, path, "alice", "secret") {
		t.Error("alice cannot log in")
	}
	mustRun(t, "two words\r\nignored", "add", "greenhouse", "--cost=4",
		"--send", "reading/#", "--send", "a type", "--receive=", "--reach", "alice", "--reach", "bob@attic", "--serve", "f/+", "--peer")

	got = mustRun(t, "", "list")
	want := "accounts in " + path + `:
NAME        SEND                 RECEIVE  REACH             SERVE  PEER  ADMIN
alice       #                    #        *                 -      no    yes
greenhouse  reading/#, "a type"  -        alice, bob@attic  f/+    yes   no
`
	if got != want {
		t.Errorf("list: got\n%s\nwant\n%s", got, want)
	}

	got = mustRun(t, "", "allow", "greenhouse", "--send", "x", "--admin", "--peer=false")
	if want := "changed greenhouse in " + path + ": send x; receive -; reach alice, bob@attic; serve f/+; admin\n"; got != want {
		t.Errorf("allow: got %q, want %q", got, want)
	}

	got = mustRun(t, "", "allow", "greenhouse", "--add", "--send", "y", "--send", "x", "--send", "y",
		"--receive", "z", "--reach", "bob@attic", "--reach", "carol", "--serve", "g", "--peer")
	if want := "changed greenhouse in " + path + ": send x, y; receive z; reach alice, bob@attic, carol; serve f/+, g; peer; admin\n"; got != want {
		t.Errorf("allow --add: got %q, want %q", got, want)
	}

	mustRun(t, "new", "passwd", "--cost=4", "alice")
	if mayLogin(t, path, "alice", "secret") || !mayLogin(t, path, "alice", "new") {
		t.Error("the password was not changed")
	}

	got = mustRun(t, "", "remove", "alice")
	if want := "removed alice from " + path + ": send #; receive #; reach *; admin\n"; got != want {
		t.Errorf("remove: got %q, want %q", got, want)
	}
	if got := mustRun(t, "", "list"); strings.Contains(got, "alice ") {
		t.Errorf("still there:\n%s", got)
	}
}

func TestAccountListJSON(t *testing.T) {
	accounts(t)
	mustRun(t, "secret", "add", "alice", "--cost=4", "--send=a<b", "--receive=")
	text := mustRun(t, "", "list", "--json")
	var got any
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	want := []any{map[string]any{"name": "alice", "send": []any{"a<b"}, "receive": []any{}, "reach": []any{"*"},
		"serve": []any{}, "peer": false, "admin": false}}
	if !reflect.DeepEqual(got, want) || !strings.Contains(text, "a<b") {
		t.Errorf("got %s, want %v", text, want)
	}
	mustRun(t, "", "remove", "alice")
	if got := mustRun(t, "", "list", "--json"); got != "[]\n" {
		t.Errorf("no accounts: got %q, want []", got)
	}
}

func TestAccountFileFlag(t *testing.T) {
	env := accounts(t)
	path := filepath.Join(t.TempDir(), "other")
	mustRun(t, "secret", "--file", path, "add", "alice", "--cost=4")
	mustRun(t, "secret", "add", "bob", "--cost=4", "--file", path)
	if got := mustRun(t, "", "list", "--file", path); !strings.HasPrefix(got, "accounts in "+path+":\n") || strings.Count(got, "\n") != 4 {
		t.Errorf("got\n%s\nwant two accounts", got)
	}
	if _, err := os.Stat(env); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("$BESTER_ACCOUNTS was used: %v", err)
	}
}

func TestAccountErrors(t *testing.T) {
	path := accounts(t)
	if _, err := runAccount(strings.NewReader(""), io.Discard, "add", "alice"); err == nil {
		t.Error("add without a password: no error")
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an add that was given up left a file: %v", err)
	}
	if _, err := runAccount(strings.NewReader(""), io.Discard, "list"); err == nil || !strings.Contains(err.Error(), "bester account add") {
		t.Errorf("no file: got %v", err)
	}
	mustRun(t, "secret", "add", "alice", "--cost=4")
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		args  string
		stdin string
		usage bool
		want  string
	}{
		{"add alice", "x", false, `"bester account passwd"`},
		{"add a@b", "x", true, "no @"},
		{"add", "x", true, "takes one name, got 0"},
		{"add a b", "x", true, "takes one name, got 2"},
		{"add bob", "", false, "standard input is empty"},
		{"add bob", "\n", false, "cannot be empty"},
		{"add bob", strings.Repeat("x", account.MaxPassword+1) + "\n", false, "at most 1024 bytes"},
		{"add bob", strings.Repeat("x", 10*account.MaxPassword), false, "at most 1024 bytes"},
		{"add bob", "\xff\n", false, "not UTF-8"},
		{"add bob", "a\x1b[Ab\n", false, "control character"},
		{"add bob --send a#", "x", true, "--send: "},
		{"add bob --serve #/a", "x", true, "--serve: "},
		{"add bob --reach a/b", "x", true, "--reach: "},
		{"add bob --send a --send a", "x", false, "given twice"},
		{"add bob --cost 31", "x", false, "want 4 to 16"},
		{"add bob --cost x", "x", true, "--cost"},
		{"add bob --password x", "x", true, "unknown flag"},
		{"allow alice", "", true, "nothing to change"},
		{"allow bob --admin", "", false, `"bester account list"`},
		{"allow alice --send  --send a", "", true, "--send: "},
		{"allow alice --add", "", true, "nothing to change"},
		{"allow alice --add --receive ", "", true, "nothing to add"},
		{"allow alice --add --reach ", "", true, "nothing to add"},
		{"add bob --add", "x", true, "unknown flag"},
		{"remove bob", "", false, `"bester account list"`},
		{"remove", "", true, "takes one name"},
		{"passwd bob", "x", false, `"bester account list"`},
		{"list alice", "", true, "takes no arguments"},
		{"frob", "", true, `unknown command "frob"`},
	}
	for _, test := range tests {
		_, err := runAccount(strings.NewReader(test.stdin), io.Discard, strings.Split(test.args, " ")...)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got error %v, want %q in it", test.args, err, test.want)
		}
		if _, usage := errors.AsType[usageError](err); usage != test.usage {
			t.Errorf("%s: usage error: %v, want %v (%v)", test.args, usage, test.usage, err)
		}
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, before) {
		t.Errorf("the file was changed (error %v) to\n%s", err, after)
	}
}

func TestAccountCompletion(t *testing.T) {
	accounts(t)
	for _, name := range []string{"alice", "anna", "bob"} {
		mustRun(t, "secret", "add", name, "--cost=4")
	}
	tests := []struct {
		args []string
		want string
	}{
		{[]string{"remove", "a"}, "alice\nanna\n:4\n"},
		{[]string{"allow", ""}, "alice\nanna\nbob\n:4\n"},
		{[]string{"passwd", "b"}, "bob\n:4\n"},
		{[]string{"passwd", "bob", ""}, ":4\n"},
		{[]string{"add", ""}, ":4\n"},
		{[]string{"allow", "bob", "--reach", "al"}, "alice\n:4\n"},
	}
	for _, test := range tests {
		root := &cobra.Command{Use: "bester"}
		root.AddCommand(accountCommand())
		var out bytes.Buffer
		root.SetOut(&out)
		root.SetErr(io.Discard)
		root.SetArgs(append([]string{"__complete", "account"}, test.args...))
		if err := root.Execute(); err != nil || out.String() != test.want {
			t.Errorf("%q: got %q, error %v, want %q", test.args, out.String(), err, test.want)
		}
	}
}

// The help shows examples; each must be a command line that is understood.
func TestAccountHelpExamples(t *testing.T) {
	lines := 0
	for _, cmd := range append(accountCommand().Commands(), accountCommand()) {
		if help := cmd.UsageString(); !strings.Contains(help, "--file") && cmd.HasParent() {
			t.Errorf("%s: --file is not in its help", cmd.Name())
		}
		for line := range strings.Lines(cmd.Example) {
			lines++
			if !strings.Contains(line, "bester account") {
				t.Errorf("%s: example %q", cmd.Name(), line)
			}
			_, call, _ := strings.Cut(strings.TrimSpace(line), "bester account ")
			call, _, _ = strings.Cut(call, " |")
			args := strings.Fields(strings.ReplaceAll(call, "'", ""))
			root := accountCommand()
			sub, rest, err := root.Find(args)
			if err != nil || sub == root {
				t.Errorf("example %q: %v", line, err)
				continue
			}
			if strings.HasSuffix(call, "''") {
				rest = append(rest, "")
			}
			if err := sub.ParseFlags(rest); err != nil {
				t.Errorf("example %q: %v", line, err)
			}
		}
	}
	if lines < 10 {
		t.Errorf("%d examples", lines)
	}
}

// A password that is short is taken, and said to be.
func TestShortPassword(t *testing.T) {
	accounts(t)
	for password, want := range map[string]string{
		"1":               "The password is easily guessed: it has 1 character, and should have 8 or more.\n",
		"äöüäöüä":         "The password is easily guessed: it has 7 characters, and should have 8 or more.\n",
		"correct battery": "",
	} {
		var stderr bytes.Buffer
		if _, err := runAccount(strings.NewReader(password+"\n"), &stderr, "add", fmt.Sprint("user", len(password)), "--cost=4"); err != nil || stderr.String() != want {
			t.Errorf("%q: got %q, %v, want %q", password, stderr.String(), err, want)
		}
	}
}

// A user who keeps a file that the service does not read is told, once the file is changed.
func TestNoteOfTheService(t *testing.T) {
	if got := serviceNote(""); got != "" {
		t.Errorf("got %q without a service", got)
	}
	f := accountFlags{note: serviceNote("/run/bester/bester.sock")}
	cmd := &cobra.Command{}
	var stdout, stderr bytes.Buffer
	cmd.SetOut(&stdout)
	cmd.SetErr(&stderr)
	if err := f.printDone(cmd, "added %s", "ann"); err != nil {
		t.Fatal(err)
	}
	if got := stderr.String(); stdout.String() != "added ann\n" || !strings.Contains(got, "/run/bester/bester.sock") || !strings.Contains(got, "sudo bester account") {
		t.Errorf("got %q and %q", stdout.String(), got)
	}
}
