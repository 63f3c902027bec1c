package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/besterhub/bester/hub/account"
	"github.com/besterhub/bester/hub/textfile"
)

// readPassword asks for a new password, or takes the first line of standard input
// where that is no terminal.
func readPassword(cmd *cobra.Command, name string) (string, error) {
	var password string
	var err error
	if tty, ok := cmd.InOrStdin().(*os.File); ok && term.IsTerminal(int(tty.Fd())) {
		password, err = askPassword(cmd.Context(), tty, cmd.ErrOrStderr(), name)
	} else {
		password, err = firstLine(cmd.InOrStdin())
	}
	switch {
	case err != nil:
		return "", err
	case password == "":
		return "", errors.New("a password cannot be empty; nothing was changed")
	case len(password) > account.MaxPassword:
		return "", fmt.Errorf("a password has at most %d bytes; nothing was changed", account.MaxPassword)
	case !utf8.ValidString(password):
		return "", errors.New("the password is not UTF-8, so no client could send it; nothing was changed")
	case strings.ContainsFunc(password, unicode.IsControl):
		return "", errors.New("the password has a control character in it; nothing was changed")
	}
	if n := utf8.RuneCountInString(password); n < goodPassword {
		fmt.Fprintf(cmd.ErrOrStderr(), "The password is easily guessed: it has %s, and should have %d or more.\n", plural(n, "character"), goodPassword)
	}
	return password, nil
}

// goodPassword is how many characters a password has that nothing is said about.
const goodPassword = 8

func firstLine(r io.Reader) (string, error) {
	line, err := textfile.FirstLine(r, account.MaxPassword)
	if errors.Is(err, textfile.ErrNoLine) {
		return "", errors.New("no password: standard input is empty; give one line, or run at a terminal to be asked")
	}
	if err != nil {
		return "", fmt.Errorf("password from standard input: %w; nothing was changed", err)
	}
	return line, nil
}

// askPassword asks for a password twice. The terminal's echo is off before the
// question is shown, and on again afterwards, also if ctx ends.
func askPassword(ctx context.Context, tty *os.File, out io.Writer, name string) (string, error) {
	fd := int(tty.Fd())
	state, err := term.MakeRaw(fd)
	if err != nil {
		return "", fmt.Errorf("password: cannot turn off the terminal's echo: %w", err)
	}
	defer term.Restore(fd, state)

	type answer struct {
		password string
		err      error
	}
	answers := make(chan answer, 1)
	go func() { // a read from a terminal cannot be interrupted: this ends with the process at the latest
		t := term.NewTerminal(struct {
			io.Reader
			io.Writer
		}{tty, out}, "")
		first, err := t.ReadPassword("Password for " + name + ": ")
		if err != nil {
			answers <- answer{"", err}
			return
		}
		second, err := t.ReadPassword("Again: ")
		if err == nil && first != second {
			err = errors.New("the two passwords differ; nothing was changed")
		}
		answers <- answer{first, err}
	}()
	select {
	case <-ctx.Done():
		fmt.Fprint(out, "\r\n")
		return "", fmt.Errorf("password: %w; nothing was changed", ctx.Err())
	case a := <-answers:
		if a.err == io.EOF { // Ctrl-C and Ctrl-D
			fmt.Fprint(out, "\r\n")
			return "", &exitError{exitInterrupted, errors.New("given up; nothing was changed")}
		}
		return a.password, a.err
	}
}
