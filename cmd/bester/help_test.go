package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// The help of all commands is in one golden file.
func TestHelp(t *testing.T) {
	t.Setenv("BESTER_SOCKET", "/run/bester/bester.sock")
	var b bytes.Buffer
	var walk func(cmd *cobra.Command)
	help := func(args ...string) {
		fmt.Fprintf(&b, "$ bester %s --help\n", strings.Join(args, " "))
		if code := run(context.Background(), append(args, "--help"), strings.NewReader(""), &b, &b); code != 0 {
			t.Errorf("bester %s --help: exit code %d", args, code)
		}
		b.WriteByte('\n')
	}
	walk = func(cmd *cobra.Command) {
		help(strings.Fields(cmd.CommandPath())[1:]...)
		for _, c := range cmd.Commands() {
			walk(c)
		}
	}
	walk(rootCommand())
	for _, kind := range kindNames() {
		help("handle", kind)
	}
	golden(t, "testdata/help.txt", b.Bytes())
	for n, line := range strings.Split(b.String(), "\n") {
		if len([]rune(line)) > 120 {
			t.Errorf("testdata/help.txt:%d: %d columns", n+1, len([]rune(line)))
		}
	}
}

// There is a man page for every command, and it says what --help does.
func TestManPages(t *testing.T) {
	folder := t.TempDir()
	var out bytes.Buffer
	if code := run(context.Background(), []string{"man", folder}, nil, &out, &out); code != 0 {
		t.Fatalf("exit code %d: %s", code, &out)
	}
	pages, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	if len(pages) < 15 {
		t.Errorf("%d pages", len(pages))
	}
	for _, p := range pages {
		page, err := os.ReadFile(filepath.Join(folder, p.Name()))
		if err != nil {
			t.Fatal(err)
		}
		name := strings.ReplaceAll(strings.TrimSuffix(p.Name(), ".1"), "-", " ")
		var own bytes.Buffer
		manText(&own, exitTable(exitMeanings[name]))
		if !bytes.Contains(page, append([]byte(".SH EXIT STATUS\n"), own.Bytes()...)) {
			t.Errorf("%s: has not the exit codes of %s alone", p.Name(), name)
		}
		literal := false // what the formatter does not fill must fit as it is
		for n, line := range strings.Split(string(page), "\n") {
			literal = line == ".nf" || literal && line != ".fi"
			if columns := len([]rune(strings.NewReplacer(`\(aq`, "'", `\`, "").Replace(line))); literal && columns > 96 {
				t.Errorf("%s:%d: %d columns", p.Name(), n+1, columns)
			}
		}
	}
	for _, name := range []string{"bester.1", "bester-completion.1", "bester-listen.1", "bester-spool-verify.1"} {
		page, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "testdata/"+name, page)
	}
}

// Completion offers the flags that every handler has, and no others.
func TestHandlerFlags(t *testing.T) {
	var help bytes.Buffer
	if code := run(context.Background(), []string{"handle", "alarm", "--help"}, nil, &help, &help); code != 0 {
		t.Fatalf("exit code %d: %s", code, &help)
	}
	_, flags, _ := strings.Cut(help.String(), "\nFlags:\n")
	have := []string{"--help"} // does not name itself
	for line := range strings.Lines(flags) {
		if name, _, _ := strings.Cut(strings.TrimSpace(line), " "); strings.HasPrefix(name, "--") {
			have = append(have, name)
		}
	}
	slices.Sort(have)
	if !slices.Equal(have, handlerFlags) {
		t.Errorf("got %q, want %q", handlerFlags, have)
	}
}
