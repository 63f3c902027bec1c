package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/account"
	"github.com/besterhub/bester/hub/client"
	"github.com/besterhub/bester/hub/config"
	"github.com/besterhub/bester/hub/dial"
	"github.com/besterhub/bester/hub/errtext"
)

// An endpoint is the address at which the hub is expected.
type endpoint struct {
	network, address string
	secure           bool
	explicit         bool // by --hub or BESTER_HUB
}

// String returns the endpoint as --hub accepts it.
func (p endpoint) String() string {
	if p.secure {
		return "tls://" + p.address
	}
	return p.address
}

// An unreachableError says that the hub cannot be reached, and why.
type unreachableError struct {
	what, remedy string
	tcp          bool
	cause        error
}

func (e *unreachableError) Error() string {
	return "cannot reach the hub: " + e.what + "\n" + e.remedy
}

func (e *unreachableError) Unwrap() error { return e.cause }

// closedError is the error of a session that the hub has ended, or that broke. consequence
// is added to it; it may be empty.
func closedError(reason error, consequence string) error {
	text := strings.TrimPrefix(errtext.Of(reason), hub.ErrClosed.Error()+": ")
	if errors.Is(reason, client.ErrNoReason) || text == "" {
		text = "it gave no reason, but its log may"
	}
	return hub.Reason(reason, "the hub closed the connection: %s%s", text, consequence)
}

// unreachable returns an error that says why the hub at p cannot be reached, and on a
// second line what to do.
func (p endpoint) unreachable(err error, timeout time.Duration) error {
	what, remedy := p.explain(err, timeout)
	return &exitError{exitUnreachable, &unreachableError{what, remedy, p.network == "tcp", err}}
}

// permanent reports whether a retry cannot help: the socket is closed to this user, the
// peer is no hub, only one of the two speaks TLS, or the certificate is refused.
func permanent(err error) bool {
	var unreachable *unreachableError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	return errors.As(err, &unreachable) && unreachable.tcp && connectionClosed(err) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOTSOCK) || errors.Is(err, syscall.EPROTOTYPE) ||
		errors.As(err, &certificate) || errors.As(err, &record)
}

func (p endpoint) explain(err error, timeout time.Duration) (what, remedy string) {
	var name *net.DNSError
	switch {
	case errors.As(err, &name) && errors.Is(err, dial.ErrNoAnswer):
		return fmt.Sprintf("nobody on this network answers to %q", name.Name), "Is that machine on, in this network, and does it run avahi-daemon? An IP address needs no looking up"
	case errors.As(err, &name) && name.IsNotFound:
		return fmt.Sprintf("there is no host %q", name.Name), "Look for a slip of the pen in --hub, or give its IP address"
	case errors.As(err, &name):
		return fmt.Sprintf("cannot find out the address of %q", name.Name), "Is there a network? An IP address needs no looking up"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Sprintf("the hub at %s did not answer in %v", p, timeout), "Is it the right address, and does a firewall let it through? --timeout waits longer"
	case p.network == "unix":
		return p.explainSocket(err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("nobody listens on %s", p.address), "Is besterd running there, with a [[listen]] on that address and port?"
	case p.secure:
		return p.explainTLS(err)
	case connectionClosed(err):
		return fmt.Sprintf("%s closed the connection without an answer", p.address),
			fmt.Sprintf("Is that a TLS port? Then it is --hub tls://%s", p.address)
	}
	return errtext.Of(err), "Is besterd running? Say where with --hub"
}

// connectionClosed reports whether the peer has closed the connection.
func connectionClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func (p endpoint) explainSocket(err error) (what, remedy string) {
	path := p.address
	switch {
	case errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENOTDIR):
		if !p.explicit {
			return "there is no socket at " + strings.Join(config.Sockets(), ", nor at "),
				"Is besterd running? Its log says where it listens; --hub, or BESTER_HUB, says so here"
		}
		return fmt.Sprintf("there is no socket at %s", path), "Is besterd running? Its log says where it listens"
	case errors.Is(err, syscall.ECONNREFUSED) && !isSocket(path):
		return fmt.Sprintf("%s is no socket", path), "Say where besterd listens with --hub"
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("nobody listens on the socket %s", path), "besterd was killed, or is another program's: start besterd, which takes the socket over"
	case errors.Is(err, fs.ErrPermission):
		return explainPermission(path)
	case errors.Is(err, syscall.EAGAIN): // its queue of connections is full
		return fmt.Sprintf("besterd at the socket %s takes no more connections for now", path), "Too many connect at once, or it is stuck: bester status and its log say more"
	case errors.Is(err, syscall.ENOTSOCK), errors.Is(err, syscall.EPROTOTYPE):
		return fmt.Sprintf("%s is no socket of a hub", path), "Say where besterd listens with --hub"
	case connectionClosed(err):
		return fmt.Sprintf("who listens on the socket %s closed the connection without an answer", path), "Is it besterd? Its log says why"
	}
	return errtext.Of(err), "Is besterd running? Say where with --hub"
}

// explainPermission says who may connect to a socket that is closed to this user.
func explainPermission(path string) (what, remedy string) {
	self := "you"
	if u, err := user.Current(); err == nil {
		self = u.Username
	}
	info, err := os.Stat(path)
	if err != nil {
		dir := filepath.Dir(path)
		return fmt.Sprintf("permission denied: the folder %s is closed to %s", dir, self),
			"Run this as the hub's user or root; or have the hub listen elsewhere, where its users may look"
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Sprintf("permission denied: the socket %s is closed to %s", path, self), "Run this as the hub's user or root"
	}
	owner, group := strconv.Itoa(int(s.Uid)), strconv.Itoa(int(s.Gid))
	if u, err := user.LookupId(owner); err == nil {
		owner = u.Username
	}
	if g, err := user.LookupGroupId(group); err == nil {
		group = g.Name
	}
	what = fmt.Sprintf("permission denied: the socket %s is of user %s and group %s, mode %04o; you are %s", path, owner, group, info.Mode().Perm(), self)
	if info.Mode().Perm()&0o020 == 0 || group == "root" {
		return what, "Run this as " + owner + ", or give the socket a group that you are in: [[listen]] group in the hub's config\n" + accountNeeded(self)
	}
	return what, fmt.Sprintf("Join the group and log in anew: sudo usermod -aG %s %s\n%s", group, self, accountNeeded(self))
}

// accountNeeded says what a user needs beside the right to connect to a socket, which
// authenticates only its owner and root.
func accountNeeded(self string) string {
	return fmt.Sprintf("The hub lets other users in with an account and its password: sudo bester account add %s, and here\n--password-file FILE or BESTER_PASSWORD", account.Quote(self))
}

func (p endpoint) explainTLS(err error) (what, remedy string) {
	host, _, _ := net.SplitHostPort(p.address)
	var record tls.RecordHeaderError
	var wrongName x509.HostnameError
	var invalid x509.CertificateInvalidError
	var unknownAuthority x509.UnknownAuthorityError
	switch {
	case errors.As(err, &record), connectionClosed(err):
		return fmt.Sprintf("%s speaks no TLS", p.address), fmt.Sprintf("Is that a port without TLS? Then it is --hub %s", p.address)
	case errors.As(err, &wrongName):
		return fmt.Sprintf("its certificate is not for %q but for %s", host, certificateNames(wrongName.Certificate)),
			"Call the hub by a name that its certificate has, or make it one that has this name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil:
		c := invalid.Cert
		return fmt.Sprintf("its certificate is good from %s to %s; here it is %s",
				formatTime(c.NotBefore), formatTime(c.NotAfter), formatTime(time.Now())),
			"Renew the hub's certificate, and send it SIGHUP; or set this machine's clock"
	case errors.As(err, &unknownAuthority):
		remedy = "If it vouches for itself, or is of an authority of your own, give that certificate with --ca FILE"
		return "nobody whom this machine trusts vouches for its certificate", remedy
	}
	return errtext.Of(err), "Is it a TLS port of besterd? It speaks TLS 1.3"
}

func formatTime(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// certificateNames returns the names that a certificate is for.
func certificateNames(c *x509.Certificate) string {
	all := c.DNSNames
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	if len(all) == 0 {
		return "no name at all (it has no subjectAltName)"
	}
	return escapeName(strings.Join(all, ", "))
}

// denied returns an error that says why the hub refuses the login, as far as that is known.
func (p endpoint) denied(user hub.UserName, password string, err error) error {
	if !strings.HasSuffix(err.Error(), hub.ErrDenied.Error()) { // the hub has given the reason
		return rejected(user, err)
	}
	remedy := "Is the account there (bester account list on the hub's machine), and the password right? Another user: --user NAME"
	switch {
	case password == "" && p.network == "unix":
		remedy = "No password was given, and the socket trusts the hub's own user and root alone: --password-file FILE or BESTER_PASSWORD.\nNo account yet? sudo bester account add " + account.Quote(string(user)) + " (on the hub's machine). Another user: --user NAME"
	case password == "":
		remedy = "No password was given, and this way in needs one: --password-file FILE or BESTER_PASSWORD.\nNo account yet? bester account add " + account.Quote(string(user)) + " (on the hub's machine). Another user: --user NAME"
	}
	return &exitError{exitDenied, fmt.Errorf("user %q: %w\n%s", user, err, remedy)}
}

// rejected returns an error with the hub's reason for not letting a user in, and nothing
// before it but the user.
func rejected(user hub.UserName, err error) error {
	reason := err
	if inner := errors.Unwrap(err); inner != nil && strings.HasPrefix(err.Error(), "hub at ") {
		reason = inner
	}
	return &exitError{exitDenied, hub.Reason(err, "user %q: %s", user, strings.TrimPrefix(reason.Error(), hub.ErrDenied.Error()+": "))}
}
