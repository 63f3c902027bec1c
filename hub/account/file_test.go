package account

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/besterhub/bester/hub"
)

func TestCreateMakesFileAndFolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "etc", "bester", "accounts")
	s := createStore(t, path, Options{})
	if n := len(s.List()); n != 0 {
		t.Errorf("%d accounts in a new file", n)
	}
	for p, want := range map[string]fs.FileMode{path: 0o600, filepath.Dir(path): 0o700 | fs.ModeDir} {
		st, err := os.Stat(p)
		must(t, err)
		if st.Mode() != want {
			t.Errorf("%s has mode %v, want %v", p, st.Mode(), want)
		}
	}
	if s.Emptied() {
		t.Error("a new file looks as if it was emptied")
	}
	must(t, s.Add("a", "secret", DefaultPermissions()))
	if got := string(readFile(t, path)); strings.Contains(got, noAccounts) || !strings.Contains(got, header[0]) {
		t.Errorf("the file with its first account:\n%s", got)
	}
	if again := createStore(t, path, Options{}); again.Lookup("a") == nil {
		t.Error("Create emptied a file that was there")
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, mode fs.FileMode) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, nil, 0o600))
		must(t, os.Chmod(path, mode))
		return path
	}
	fifo := filepath.Join(dir, "fifo")
	must(t, syscall.Mkfifo(fifo, 0o600))
	tests := []struct{ path, want string }{
		{filepath.Join(dir, "absent"), "bester account add"},
		{file("group", 0o640), "chmod 600 " + dir + "/group"},
		{file("others", 0o604), "chmod 600 " + dir + "/others"},
		{file("write", 0o620), "chmod 600 " + dir + "/write"},
		{dir, "not a regular file"},
		{fifo, "not a regular file"},
	}
	for _, test := range tests {
		if _, err := Open(test.path, Options{}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("Open(%s): got error %v, want %q in it", test.path, err, test.want)
		}
	}
	if _, err := Open(filepath.Join(dir, "absent"), Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
	path := file("good", 0o600)
	for _, cost := range []int{3, 17, -1} {
		if _, err := Open(path, Options{Cost: cost}); err == nil {
			t.Errorf("cost %d: no error", cost)
		}
	}
	// A change refuses the same.
	s := createStore(t, path, Options{})
	must(t, os.Chmod(path, 0o644))
	if err := s.Add("a", "secret", DefaultPermissions()); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("Add to an open file: got %v", err)
	}
}

func TestChangeKeepsModeOwnerAndLink(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	must(t, os.WriteFile(target, nil, 0o600))
	must(t, os.Chmod(target, 0o400))
	must(t, os.Symlink("real", link))
	uid, gid := os.Geteuid(), os.Getegid()
	if uid == 0 { // else there is nobody to give the file to
		uid, gid = 12345, 54321
		must(t, os.Chown(target, uid, gid))
	}
	before, err := os.Stat(target)
	must(t, err)
	s := createStore(t, link, Options{})
	must(t, s.Add("a", "secret", DefaultPermissions()))

	if to, err := os.Readlink(link); err != nil || to != "real" {
		t.Errorf("link leads to %q (error %v), want real", to, err)
	}
	after, err := os.Stat(target)
	must(t, err)
	owner := after.Sys().(*syscall.Stat_t)
	if after.Mode() != 0o400 || int(owner.Uid) != uid || int(owner.Gid) != gid {
		t.Errorf("mode %v, owner %d:%d, want -r--------, %d:%d", after.Mode(), owner.Uid, owner.Gid, uid, gid)
	}
	if os.SameFile(before, after) {
		t.Error("the file was written in place, not replaced")
	}
	if !bytes.Contains(readFile(t, target), []byte("account a\n")) {
		t.Error("the account is not in the file")
	}
}

func TestWritersInSeveralProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts")
	mine := createStore(t, path, Options{})
	const processes, each = 4, 8
	var wg sync.WaitGroup
	for i := range processes {
		cmd, lines := other(t, path, fmt.Sprintf("p%d-", i), each)
		wg.Go(func() {
			for lines.Scan() {
				if strings.HasPrefix(lines.Text(), "error") {
					t.Error(lines.Text())
				}
			}
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
	for i := range 2 { // and in this process, with a Store of its own each
		s := createStore(t, path, Options{})
		wg.Go(func() {
			for j := range each {
				if err := s.Add(hub.UserName(fmt.Sprintf("g%d-%d", i, j)), "secret", DefaultPermissions()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	must(t, mine.Reload())
	if got, want := len(mine.List()), (processes+2)*each; got != want {
		t.Errorf("%d accounts, want %d", got, want)
	}
}

// A writer that is killed at any moment leaves a complete file, which holds at least all
// changes that it had confirmed, and nothing that makes the next writer fail.
func TestKilledWhileWriting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts")
	mine := createStore(t, path, Options{})
	said := make(map[hub.UserName]bool)
	for round := range 6 {
		cmd, lines := other(t, path, fmt.Sprintf("r%d-", round), MaxAccounts)
		for i := 0; i < 3+round && lines.Scan(); i++ {
			said[hub.UserName(lines.Text())] = true
		}
		must(t, cmd.Process.Kill())
		for lines.Scan() {
			said[hub.UserName(lines.Text())] = true
		}
		cmd.Wait()

		must(t, mine.Reload())
		for name := range said {
			if mine.Lookup(name) == nil {
				t.Fatalf("round %d: %q was added, and is gone", round, name)
			}
		}
		if n := len(mine.List()); n > len(said)+round+1 || len(said) < 3 {
			t.Fatalf("round %d: %d accounts of %d", round, n, len(said))
		}
	}
	must(t, mine.Add("last", "secret", DefaultPermissions()))
}

// Simulates a full disk: no file may grow past a limit.
func TestWriteFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts")
	s := createStore(t, path, Options{})
	must(t, s.Add("a", "secret", DefaultPermissions()))
	before := readFile(t, path)
	_, lines := other(t, path, "b", 1, fmt.Sprint("ACCOUNT_TEST_FSIZE=", len(before)+10))
	if !lines.Scan() || !strings.Contains(lines.Text(), "nothing was changed") || !strings.Contains(lines.Text(), "file too large") {
		t.Errorf("got %q, want an error that says so", lines.Text())
	}
	if after := readFile(t, path); !bytes.Equal(after, before) {
		t.Errorf("the file is now\n%s", after)
	}
	if _, err := os.Lstat(path + ".new"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the new file was left behind: %v", err)
	}
}

func limitFileSize(bytes string) error {
	var n uint64
	if _, err := fmt.Sscan(bytes, &n); err != nil {
		return err
	}
	signal.Ignore(syscall.SIGXFSZ)
	return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: n})
}

func TestStaleTempFileIsReplaced(t *testing.T) {
	s := newStore(t)
	stale := s.Path() + ".new"
	must(t, os.WriteFile(stale, []byte("account evil\n"), 0o666))
	must(t, s.Reload()) // a reader ignores it
	must(t, s.Add("a", "secret", DefaultPermissions()))

	// A symbolic link in its place is not followed.
	victim := filepath.Join(t.TempDir(), "victim")
	must(t, os.WriteFile(victim, []byte("precious"), 0o600))
	must(t, os.Symlink(victim, stale))
	must(t, s.Add("b", "secret", DefaultPermissions()))
	if got := readFile(t, victim); string(got) != "precious" {
		t.Errorf("a file behind a link was written: %q", got)
	}
	if bytes.Contains(readFile(t, s.Path()), []byte("evil")) || len(s.List()) != 2 {
		t.Error("the file holds what the crash left")
	}

	// What cannot be removed is an error, and the old file stays.
	must(t, os.MkdirAll(filepath.Join(stale, "full"), 0o700))
	before := readFile(t, s.Path())
	if err := s.Add("c", "secret", DefaultPermissions()); err == nil || !strings.Contains(err.Error(), "nothing was changed") {
		t.Errorf("got error %v", err)
	}
	if !bytes.Equal(readFile(t, s.Path()), before) || s.Lookup("c") != nil {
		t.Error("an Add that failed changed something")
	}
}
