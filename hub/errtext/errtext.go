// Package errtext puts errors of the operating system into plain words, for people: what
// is wrong and where, once.
package errtext

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"strings"
	"syscall"
)

// Of returns the text of err, in which the errors of files, sockets, programs and system
// calls that it wraps are in plain words: "open a.pem: no such file or directory" becomes
// "a.pem: there is no such file or folder". A place that the text names before such an error
// is not named again. What is none of these keeps its text. err may not be nil.
func Of(err error) string {
	text := err.Error()
	replace(&text, err)
	return text
}

// replace puts err, or else the errors that it wraps, into plain words wherever text has them.
func replace(text *string, err error) {
	if place, reason := explain(err); reason != "" {
		before, after, found := strings.Cut(*text, err.Error())
		if found {
			if place != "" && !named(before, place) {
				reason = place + ": " + reason
			}
			*text = before + reason + after
		}
		return
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			replace(text, inner)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			replace(text, inner)
		}
	}
}

// named reports whether text names a place, not only one whose name goes on.
func named(text, place string) bool {
	for {
		_, after, found := strings.Cut(text, place)
		if !found || after == "" || strings.IndexByte(" :,;)\"\n", after[0]) >= 0 {
			return found
		}
		text = after
	}
}

// explain returns where an error of the system happened, which may be "", and the reason.
// The reason is "" if err is no such error.
func explain(err error) (place, reason string) {
	switch e := err.(type) {
	case *fs.PathError:
		if e.Op == "fork/exec" {
			return e.Path, programReason(e.Err)
		}
		return standardName(e.Path), Of(e.Err)
	case *os.LinkError:
		return e.New, Of(e.Err)
	case *os.SyscallError:
		return "", Of(e.Err)
	case *exec.Error:
		return e.Name, programReason(e.Err)
	case *net.OpError:
		return opPlace(e), opReason(e)
	case *net.DNSError:
		if e.IsNotFound {
			return e.Name, "there is no such host"
		}
		return e.Name, "its address cannot be found out: is there a network?"
	case user.UnknownGroupError:
		return string(e), "there is no such group"
	case user.UnknownUserError:
		return string(e), "there is no such user"
	case syscall.Errno:
		if text, ok := reasons[e]; ok {
			return "", text
		}
		return "", ""
	}
	switch err {
	case context.DeadlineExceeded, os.ErrDeadlineExceeded:
		return "", "no answer in time"
	case context.Canceled:
		return "", "interrupted"
	}
	return "", ""
}

// reasons are the errors of system calls in plain words.
var reasons = map[syscall.Errno]string{
	syscall.ENOENT:        "there is no such file or folder",
	syscall.EACCES:        "permission denied: this user may not do that",
	syscall.EPERM:         "permission denied: only its owner or root may do that",
	syscall.EISDIR:        "it is a folder: want a file",
	syscall.ENOTDIR:       "a part of the path is no folder",
	syscall.ENOSPC:        "no space is left on the disk",
	syscall.EDQUOT:        "the quota of the disk is used up",
	syscall.EROFS:         "the file system can only be read",
	syscall.EIO:           "the disk fails (I/O error)",
	syscall.EMFILE:        "this process has too many files open: raise its limit (LimitNOFILE=, ulimit -n)",
	syscall.ENFILE:        "this machine has too many files open",
	syscall.ENAMETOOLONG:  "the name is too long",
	syscall.ECONNREFUSED:  "nobody listens there",
	syscall.ECONNRESET:    "the other end closed the connection",
	syscall.EPIPE:         "the other end closed the connection",
	syscall.EADDRINUSE:    "another program has it: stop that, or choose another",
	syscall.EADDRNOTAVAIL: "this machine has no such address now",
	syscall.EAFNOSUPPORT:  "this machine has no such network (is IPv6 off?)",
	syscall.ENETUNREACH:   "no network leads there",
	syscall.EHOSTUNREACH:  "that machine cannot be reached",
	syscall.ETIMEDOUT:     "no answer in time",
}

// programReason says why a program cannot be started.
func programReason(err error) string {
	switch {
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return "there is no such program"
	case errors.Is(err, fs.ErrPermission):
		return "this user may not run it: is it a program, and executable?"
	case errors.Is(err, syscall.ENOEXEC):
		return "it is no program for this machine"
	}
	return Of(err)
}

// opPlace is the address that an error of a socket is about.
func opPlace(e *net.OpError) string {
	if e.Addr != nil {
		return e.Addr.String()
	}
	return ""
}

// opReason is the reason of an error of a socket. A path is that of a UNIX socket.
func opReason(e *net.OpError) string {
	var name *net.DNSError
	switch {
	case errors.As(e.Err, &name):
		_, reason := explain(name)
		return "host " + name.Name + ": " + reason
	case strings.HasPrefix(e.Net, "unix") && e.Op == "dial" && errors.Is(e.Err, syscall.ENOENT):
		return "there is no such socket"
	case strings.HasPrefix(e.Net, "unix") && e.Op == "listen" && errors.Is(e.Err, syscall.ENOENT):
		return "there is no folder for it"
	case errors.Is(e.Err, os.ErrDeadlineExceeded):
		return "no answer in time"
	}
	return Of(e.Err)
}

// standardName is what people call a file of the process.
func standardName(path string) string {
	switch path {
	case "/dev/stdin":
		return "standard input"
	case "/dev/stdout":
		return "standard output"
	case "/dev/stderr":
		return "standard error"
	}
	return path
}
