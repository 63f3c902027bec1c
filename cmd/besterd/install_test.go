package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// sourceTree copies what make builds the programs from into a folder of its own.
func sourceTree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"Makefile", "go.mod", "go.sum", "cmd", "hub", "handlers", "devices"} {
		err := filepath.WalkDir(filepath.Join("../..", name), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			to := filepath.Join(dir, strings.TrimPrefix(path, "../.."))
			if d.IsDir() {
				return os.MkdirAll(to, 0o755)
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(to, data, 0o644)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// installed returns the files below dir, with their modes.
func installed(t *testing.T, dir string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		files = append(files, info.Mode().String()+" "+strings.TrimPrefix(path, dir))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// What make build has built is installed by a user who has no go, as root with sudo may be,
// and uninstalled without a trace.
func TestInstall(t *testing.T) {
	if race {
		t.Skip("the installed programs have no race detector")
	}
	skipIfEmulated(t)
	source := sourceTree(t)
	fakes := t.TempDir()
	if err := os.WriteFile(filepath.Join(fakes, "go"), []byte("#!/bin/sh\necho 'there is no go here' >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	run := func(path string, args ...string) {
		t.Helper()
		c := exec.Command("make", append([]string{"-C", source}, args...)...)
		c.Env = append(c.Environ(), "PATH="+path, "MAKEFLAGS=", "GOFLAGS=")
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("make %q: %v\n%s", args, err, out)
		}
	}
	run(os.Getenv("PATH"), "build")
	root := t.TempDir()
	where := []string{"DESTDIR=" + root, "PREFIX=/usr"}
	run(fakes+":/usr/bin:/bin", append(where, "install")...)
	files := installed(t, root)
	for _, want := range []string{
		"-rwxr-xr-x /usr/bin/bester", "-rwxr-xr-x /usr/bin/besterd",
		"-rw-r--r-- /usr/share/man/man1/bester.1", "-rw-r--r-- /usr/share/man/man1/bester-account-add.1",
		"-rw-r--r-- /usr/share/man/man8/besterd.8", "-rw-r--r-- /usr/share/bash-completion/completions/bester",
	} {
		if !slices.Contains(files, want) {
			t.Errorf("no %s in\n%s", want, strings.Join(files, "\n"))
		}
	}
	out, err := exec.Command(filepath.Join(root, "usr/bin/besterd"), "--version").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "besterd ") {
		t.Errorf("the installed besterd --version: %v\n%s", err, out)
	}
	run(fakes+":/usr/bin:/bin", append(where, "uninstall")...)
	if files := installed(t, root); len(files) > 0 {
		t.Errorf("left behind:\n%s", strings.Join(files, "\n"))
	}
}
