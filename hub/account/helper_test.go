package account

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/besterhub/bester/hub"
)

// newStore makes a Store with a fresh file.
func newStore(t testing.TB) *Store {
	t.Helper()
	return createStore(t, filepath.Join(t.TempDir(), "accounts"), Options{})
}

func createStore(t testing.TB, path string, opts Options) *Store {
	t.Helper()
	opts.Cost = bcrypt.MinCost
	s, err := Create(path, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Some tests start the test binary as a second process. It then adds $ACCOUNT_TEST_COUNT
// accounts to the file $ACCOUNT_TEST_FILE, named $ACCOUNT_TEST_NAME and a number, and
// prints each name when Add has returned.
func TestMain(m *testing.M) {
	if path := os.Getenv("ACCOUNT_TEST_FILE"); path != "" {
		if err := addMany(path, os.Getenv("ACCOUNT_TEST_NAME"), os.Getenv("ACCOUNT_TEST_COUNT")); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func addMany(path, name, count string) error {
	var n int
	if _, err := fmt.Sscan(count, &n); err != nil {
		return err
	}
	if limit := os.Getenv("ACCOUNT_TEST_FSIZE"); limit != "" {
		if err := limitFileSize(limit); err != nil {
			return err
		}
	}
	s, err := Open(path, Options{Cost: bcrypt.MinCost})
	if err != nil {
		return err
	}
	for i := range n {
		user := fmt.Sprintf("%s%d", name, i)
		if err := s.Add(hub.UserName(user), "secret", DefaultPermissions()); err != nil {
			return err
		}
		fmt.Println(user)
	}
	return nil
}

// other starts the test binary as that process. lines reads what it prints.
func other(t *testing.T, path, name string, count int, env ...string) (cmd *exec.Cmd, lines *bufio.Scanner) {
	t.Helper()
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "ACCOUNT_TEST_FILE="+path, "ACCOUNT_TEST_NAME="+name, fmt.Sprint("ACCOUNT_TEST_COUNT=", count))
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.StdoutPipe()
	must(t, err)
	err = cmd.Start()
	if errors.Is(err, syscall.ENOEXEC) {
		t.Skip("built for another machine: the emulator that runs this cannot start a second process")
	}
	must(t, err)
	t.Cleanup(func() {
		cmd.Process.Kill() // for when the test has failed
		cmd.Wait()
	})
	return cmd, bufio.NewScanner(out)
}
