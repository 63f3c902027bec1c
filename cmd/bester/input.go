package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// input returns standard input. Reading from it fails when the command is interrupted,
// which a blocked read of a terminal or a pipe would not notice. On a terminal it says
// that it expects input.
func input(cmd *cobra.Command) io.Reader {
	in := cmd.InOrStdin()
	if isTerminal(in) && isTerminal(cmd.ErrOrStderr()) {
		fmt.Fprintln(cmd.ErrOrStderr(), "Reading data from the terminal. Ctrl-D ends it.")
	}
	r, w := io.Pipe()
	context.AfterFunc(cmd.Context(), func() { w.CloseWithError(cmd.Context().Err()) })
	go func() { // ends with the input, or the process
		_, err := io.Copy(w, in)
		w.CloseWithError(err)
	}()
	return r
}

// isTerminal reports whether a stream of the command is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(f.Fd()))
}
