package errtext_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/besterhub/bester/hub/errtext"
)

func Example() {
	_, err := os.ReadFile("cert.pem")
	fmt.Println(errtext.Of(fmt.Errorf("--ca: %w", err)))
	// Output: --ca: cert.pem: there is no such file or folder
}

// Real errors, as the system gives them: each says where once, and no word of a library.
func TestOf(t *testing.T) {
	folder := t.TempDir()
	missing, file := filepath.Join(folder, "missing"), filepath.Join(folder, "file")
	if err := os.WriteFile(file, []byte("text"), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	address := l.Addr().String()
	_, open := os.Open(missing)
	_, through := os.Open(filepath.Join(file, "x"))
	_, read := os.ReadFile(folder)
	_, dial := net.Dial("unix", missing)
	_, refused := net.Dial("unix", file)
	_, taken := net.Listen("tcp4", address)
	_, folderless := net.Listen("unix", filepath.Join(missing, "s"))
	_, group := user.LookupGroup("no-such-group")
	_, look := exec.LookPath("no-such-program")
	for _, c := range []struct {
		err  error
		want string
	}{
		{open, missing + ": there is no such file or folder"},
		{fmt.Errorf("config: %w: make it", open), "config: " + missing + ": there is no such file or folder: make it"},
		{fmt.Errorf("%s: %w", missing, open), missing + ": there is no such file or folder"},
		{fmt.Errorf("listen unix %s/s: %w", missing, open), "listen unix " + missing + "/s: " + missing + ": there is no such file or folder"},
		{through, filepath.Join(file, "x") + ": a part of the path is no folder"},
		{read, folder + ": it is a folder: want a file"},
		{dial, missing + ": there is no such socket"},
		{refused, file + ": nobody listens there"},
		{taken, address + ": another program has it: stop that, or choose another"},
		{fmt.Errorf("listen tcp4 %s: %w", address, taken), "listen tcp4 " + address + ": another program has it: stop that, or choose another"},
		{folderless, filepath.Join(missing, "s") + ": there is no folder for it"},
		{group, "no-such-group: there is no such group"},
		{look, "no-such-program: there is no such program"},
		{exec.Command(missing).Run(), missing + ": there is no such program"},
		{exec.Command(file).Run(), file + ": it is no program for this machine"},
		{os.Rename(missing, file), file + ": there is no such file or folder"},
		{errors.Join(open, syscall.ENOSPC), missing + ": there is no such file or folder\nno space is left on the disk"},
		{&os.PathError{Op: "read", Path: "/dev/stdin", Err: syscall.EISDIR}, "standard input: it is a folder: want a file"},
		{errors.New("own words"), "own words"},
	} {
		if got := errtext.Of(c.err); got != c.want {
			t.Errorf("%q: got %q, want %q", c.err, got, c.want)
		}
		for _, raw := range []string{"open ", "dial ", "fork/exec", "connect:", "bind:", "no such file or directory"} {
			if strings.Contains(errtext.Of(c.err), raw) {
				t.Errorf("%q has %q in it", errtext.Of(c.err), raw)
			}
		}
	}
}
