package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestStories runs the scripts in testdata/script: a hub as a process, and what people
// do with it. Beside the commands of testscript they have
//
//	start NAME PROGRAM ARG...   start a program; it and what it prints is NAME from here on
//	await NAME REGEXP [VAR]     wait for a line that it prints after the last one awaited;
//	                            VAR is set to the first group
//	printed NAME REGEXP         it has printed such a line, or, with !, not
//	signal NAME SIGNAL          HUP, INT, TERM or KILL
//	ends NAME CODE              wait for its end, with this exit code
//	certificate HOST [expired]  makes cert.pem and key.pem
//	example NAME                write the README's example of that name into a file
//	build PROGRAM FILE.go       build a Go program
func TestStories(t *testing.T) {
	besterd := skipIfEmulated(t)
	path := filepath.Dir(buildTool(t)) + ":" + os.Getenv("PATH")
	python, err := exec.Command("python3", "-c", "import sys; print(sys.executable)").Output()
	if err != nil {
		t.Fatalf("the scripts need python3: %v", err)
	}
	// Short, for the paths of sockets, and open to a user who is not root.
	root, err := os.MkdirTemp("", "b")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	for _, folder := range []string{root, filepath.Dir(filepath.Dir(besterd)), filepath.Dir(besterd)} {
		if err := os.Chmod(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", WorkdirRoot: root, UpdateScripts: *update,
		RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", path)
			e.Setenv("PYTHON", strings.TrimSpace(string(python)))
			e.Setenv("BESTER_HUB", "hub.sock")
			e.Setenv("BESTER_USER", "")
			e.Setenv("BESTER_TIMEOUT", timeout.String())
			e.Setenv("BESTER_ACCOUNTS", "accounts")
			e.Setenv("BESTERD", besterd)
			e.Setenv("GOTRACEBACK", "all")
			e.Setenv("GORACE", "atexit_sleep_ms=0") // each process would sleep for a second at its end
			for name, from := range files {
				b, err := os.ReadFile(from)
				if err != nil {
					return err
				}
				if err := os.WriteFile(filepath.Join(e.WorkDir, name), b, 0o644); err != nil {
					return err
				}
			}
			processes := make(map[string]*process)
			e.Values["processes"] = processes
			e.Defer(func() {
				for _, p := range processes {
					p.kill()
				}
			})
			return nil
		},
		Condition: func(name string) (bool, error) {
			switch name {
			case "root":
				return os.Geteuid() == 0, nil
			case "free-2223":
				l, err := net.Listen("tcp", "127.0.0.1:2223")
				if err == nil {
					l.Close()
				}
				return err == nil, nil
			}
			return false, nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"start": startCommand, "await": awaitCommand, "printed": printedCommand,
			"signal": signalCommand, "ends": endsCommand,
			"certificate": certificateCommand, "example": exampleCommand, "build": buildCommand,
		},
	})
}

// files are those of the project that the scripts use, and what they call them.
var files = map[string]string{
	"native.py":    "testdata/native.py",
	"example.toml": "../../hub/config/example.toml",
}

func exampleCommand(ts *testscript.TestScript, _ bool, args []string) {
	text, err := readmeExample(args[0])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o755))
}

func buildCommand(ts *testscript.TestScript, _ bool, args []string) {
	_, err := buildProgram(args[0], ts.MkAbs(args[1]))
	ts.Check(err)
}

// certificateCommand makes a self-signed certificate for a host.
func certificateCommand(ts *testscript.TestScript, _ bool, args []string) {
	certificate, key, err := makeCertificate(args[0], len(args) > 1)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs("cert.pem"), certificate, 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("key.pem"), key, 0o600))
}

// makeCertificate makes a self-signed certificate for a host, and its key.
func makeCertificate(host string, expired bool) (certificate, privateKey []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	if expired {
		c.NotBefore, c.NotAfter = c.NotBefore.Add(-time.Hour), c.NotAfter.Add(-90*time.Minute)
	}
	if ip := net.ParseIP(host); ip != nil {
		c.IPAddresses = []net.IP{ip}
	} else {
		c.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return certificate, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), nil
}
