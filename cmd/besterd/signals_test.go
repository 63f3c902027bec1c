package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A hangingFile is a certificate that a hub reads and that does not come until the test
// lets it, like a file on a card that hangs.
type hangingFile struct {
	*testing.T
	folder           string
	certificate, key []byte
}

func newHangingFile(t *testing.T) *hangingFile {
	t.Helper()
	folder := t.TempDir()
	certificate, key, err := makeCertificate("127.0.0.1", false)
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, "key.pem"), key, 0o600)
	}
	if err == nil {
		err = unix.Mkfifo(filepath.Join(folder, "cert.pem"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &hangingFile{t, folder, certificate, key}
}

// listener is the config of a listener that needs it.
func (h *hangingFile) listener() string {
	return fmt.Sprintf("[[listen]]\nnetwork = \"tls\"\naddress = \"127.0.0.1:0\"\ncertificate = %q\nkey = %q\n",
		filepath.Join(h.folder, "cert.pem"), filepath.Join(h.folder, "key.pem"))
}

// hangs waits until the hub reads the file, and returns the other end.
func (h *hangingFile) hangs() *os.File {
	h.Helper()
	f, err := os.OpenFile(filepath.Join(h.folder, "cert.pem"), os.O_WRONLY, 0)
	if err != nil {
		h.Fatal(err)
	}
	return f
}

// comes lets the hub have the file.
func (h *hangingFile) comes(f *os.File) {
	h.Helper()
	path := filepath.Join(h.folder, "cert.pem")
	if err := os.WriteFile(path+"~", h.certificate, 0o600); err != nil {
		h.Fatal(err)
	}
	if err := os.Rename(path+"~", path); err != nil {
		h.Fatal(err)
	}
	f.Write(h.certificate)
	f.Close()
}

// Signals that come while the hub starts are acted on when it is ready.
func TestSignalsDuringTheStart(t *testing.T) {
	file := newHangingFile(t)
	p := startHubProcess(t, file.listener())
	f := file.hangs()
	for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGPIPE} {
		p.signal(s)
	}
	file.comes(f)
	p.await("msg=ready")
	p.await(`msg="config applied"`)
	p.signal(syscall.SIGTERM)
	p.await("msg=ended")
	p.ends(0)
}

func TestEndDuringTheStart(t *testing.T) {
	file := newHangingFile(t)
	p := startHubProcess(t, file.listener())
	f := file.hangs()
	p.signal(syscall.SIGTERM)
	file.comes(f)
	p.await("msg=ended")
	p.ends(0)
}

func TestEndDuringAStartThatHangs(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for 5 s")
	}
	file := newHangingFile(t)
	p := startHubProcess(t, file.listener())
	defer file.hangs().Close()
	p.signal(syscall.SIGTERM)
	p.await("^besterd: .*before it had started")
	p.ends(1)
}

func TestEndDuringAReloadThatHangs(t *testing.T) {
	file := newHangingFile(t)
	p := startHubProcess(t, "")
	p.await("msg=ready")
	if err := os.WriteFile(p.config, []byte(p.listener()+file.listener()), 0o600); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGHUP)
	defer file.hangs().Close()
	p.signal(syscall.SIGTERM)
	p.await("msg=ended")
	p.ends(0)
}

func TestStackDump(t *testing.T) {
	p := startHubProcess(t, "")
	p.await("msg=ready")
	p.signal(syscall.SIGQUIT)
	p.await("^SIGQUIT: quit")
	p.await("main.main")
	io.Copy(io.Discard, p.lines)
	p.ends(2)
}
