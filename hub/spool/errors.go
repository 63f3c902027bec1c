package spool

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// Errors that a caller may want to tell apart.
var (
	// ErrClosed: the spool was closed.
	ErrClosed = errors.New("closed")
	// ErrFull: the spool is full and the policy drops nothing; nothing was taken.
	ErrFull = errors.New("spool is full")
	// ErrTooLarge: the record is larger than Options.MaxRecord; nothing was taken.
	ErrTooLarge = errors.New("record is too large")
	// ErrLocked: another process, or another Spool of this one, has the folder.
	ErrLocked = errors.New("folder is in use by another process")
	// ErrNotHandedOut: a sequence was confirmed that the reader has not been given.
	ErrNotHandedOut = errors.New("record was not handed out")
)

// Why the card fails. An error of a failing card wraps one of these and the error of
// the system. A record that was refused with one of them is not counted and not handed
// out while the spool is open. But a part of the failed write may be on the card and
// show up after a restart: a caller that sends the record again may then have it twice.
var (
	ErrNoSpace  = errors.New("no space on the card")
	ErrReadOnly = errors.New("file system is read-only")
	ErrGone     = errors.New("folder is gone")
	ErrIO       = errors.New("card fails")
)

// A diskError says which operation on the card failed, and its class.
type diskError struct {
	op    string
	class error
	cause error
}

func (e *diskError) Error() string   { return fmt.Sprintf("spool: %s: %v: %v", e.op, e.class, e.cause) }
func (e *diskError) Unwrap() []error { return []error{e.class, e.cause} }

// transient tells whether an error of Open says nothing of the file's content: too
// many files are open, or this user lacks the permission.
func transient(err error) bool {
	for _, e := range []error{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EINTR, unix.EACCES, unix.EPERM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// classify wraps an error of the card in a cardError.
func classify(op string, err error) error {
	var known *diskError
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
	return &diskError{op, class, err}
}
