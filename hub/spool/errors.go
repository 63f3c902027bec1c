package spool

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// What a caller may want to tell apart.
var (
	// ErrClosed: the spool was closed.
	ErrClosed = errors.New("closed")
	// ErrFull: there is no room and the policy drops nothing for it; nothing was taken.
	ErrFull = errors.New("spool is full")
	// ErrTooLarge: the record is larger than Options.MaxRecord; nothing was taken.
	ErrTooLarge = errors.New("record is too large")
	// ErrLocked: another process, or another Spool of this one, has the folder.
	ErrLocked = errors.New("folder is in use by another process")
	// ErrNotHandedOut: a sequence was confirmed that the reader has not been given.
	ErrNotHandedOut = errors.New("record was not handed out")
)

// Why the card takes nothing. Errors of a failing card wrap one of them, and
// the error of the system besides. A record that was refused with one of them is not
// counted and not handed out while the spool is open; but part of what was tried may be
// on the card, and come after a restart: who sends it again may then have it twice.
var (
	ErrNoSpace  = errors.New("no space on the card")
	ErrReadOnly = errors.New("file system is read-only")
	ErrGone     = errors.New("folder is gone")
	ErrIO       = errors.New("card fails")
)

// A cardError says what could not be done to the card, and why in our words.
type cardError struct {
	op    string
	class error
	cause error
}

func (e *cardError) Error() string   { return fmt.Sprintf("spool: %s: %v: %v", e.op, e.class, e.cause) }
func (e *cardError) Unwrap() []error { return []error{e.class, e.cause} }

// transient tells whether a file could not be opened for a reason that says nothing of
// what is in it: too many are open, or this user may not.
func transient(err error) bool {
	for _, e := range []error{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EINTR, unix.EACCES, unix.EPERM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// classify puts an error of the card into one of our classes.
func classify(op string, err error) error {
	var known *cardError
	if errors.As(err, &known) {
		return err
	}
	class := ErrIO
	switch {
	case errors.Is(err, ErrGone):
		class = ErrGone
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT), errors.Is(err, unix.EFBIG):
		class = ErrNoSpace
	case errors.Is(err, unix.EROFS):
		class = ErrReadOnly
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ESTALE), errors.Is(err, unix.ENODEV):
		class = ErrGone
	}
	return &cardError{op, class, err}
}
