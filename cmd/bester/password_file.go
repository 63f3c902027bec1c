package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/besterhub/bester/hub/account"
	"github.com/besterhub/bester/hub/textfile"
)

// readPasswordFile returns the first line of a file, or of a pipe such as bash makes of
// <(command). It waits for a pipe's writer until ctx ends, at most for timeout.
func readPasswordFile(ctx context.Context, path string, timeout time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	type result struct {
		password string
		err      error
	}
	done := make(chan result, 1)
	go func() { // opening a pipe cannot be interrupted: this ends with the process at the latest
		password, err := firstLineOf(path)
		done <- result{password, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return "", fmt.Errorf("--password-file: %w", r.err)
		}
		return r.password, nil
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return "", fmt.Errorf("--password-file: %s: no line came out of it within %v", path, timeout)
		}
		return "", ctx.Err()
	}
}

func firstLineOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	line, err := textfile.FirstLine(f, account.MaxPassword)
	switch {
	case errors.Is(err, textfile.ErrNoLine):
		return "", fmt.Errorf("%s: no password in its first line", path)
	case err != nil:
		if _, bad := errors.AsType[*textfile.EncodingError](err); bad {
			err = fmt.Errorf("%s: %w", path, err)
		}
		return "", err
	case len(line) > account.MaxPassword:
		return "", fmt.Errorf("%s: its first line has over %d bytes, more than a password may have", path, account.MaxPassword)
	}
	return line, nil
}
