package main

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "write what the scripts print into their files")

func TestMain(m *testing.M) {
	if socket := os.Getenv(handlerSocket); socket != "" {
		fmt.Fprintln(os.Stderr, runHandler(socket))
		os.Exit(1)
	}
	testscript.Main(tests{m}, map[string]func(){"besterd": main})
}

// tests are the tests of this package, after which what they built is removed.
type tests struct{ *testing.M }

func (t tests) Run() int {
	defer removePrograms()
	return t.M.Run()
}
