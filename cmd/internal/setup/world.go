package setup

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/besterhub/bester/hub/account"
	"github.com/besterhub/bester/hub/config"
)

// Warnings looks at the machine around a config that is right in itself: whether the
// files, programs, folders and addresses that it names are there and fit. What it finds
// may be otherwise where and when besterd runs, under another user or from another folder.
func Warnings(c *config.Config) []config.Problem {
	w := world{c: c, now: time.Now()}
	for i, l := range c.Listen {
		at := fmt.Sprintf("#%d", i)
		switch l.Network {
		case config.Unix:
			w.socket(l.Address, true, "listen", at, "address")
			if _, err := user.LookupGroup(l.Group); l.Group != "" && err != nil {
				w.warn(fmt.Sprintf("there is no group %q on this machine: groupadd %[1]s", l.Group), "listen", at, "group")
			}
		case config.TLS:
			w.certificate(l, at)
		}
		if l.Network != config.Unix {
			w.address(l.Address, "listen", at, "address")
		}
	}
	if path := c.Accounts.File; path != "" {
		if _, err := account.Open(path, account.Options{}); err != nil && !errors.Is(err, fs.ErrNotExist) {
			w.warn(err.Error(), "accounts", "file")
		}
	}
	if c.Informer.Socket != "" {
		w.socket(c.Informer.Socket, false, "informer", "socket")
	}
	for _, h := range c.Handlers {
		if h.Dialect == config.Classic && len(h.Command) > 0 && h.Start == config.StartAlways {
			w.socket(h.Socket, false, "handlers", h.Name, "socket")
		}
		if len(h.Command) > 0 && h.Start != config.StartNeeded { // that one may be there or not
			w.program(h.Command[0], "handlers", h.Name, "command", "#0")
		}
	}
	slices.SortStableFunc(w.found, func(a, b config.Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return w.found
}

// A world is what is found around a config.
type world struct {
	c     *config.Config
	now   time.Time
	found []config.Problem
}

func (w *world) warn(text string, path ...string) {
	w.found = append(w.found, w.c.Problem(text, path...))
}

// soon is how long before its end a certificate is worth a word.
const soon = 14 * 24 * time.Hour

// certificate looks at what a TLS listener shows its clients.
func (w *world) certificate(l config.Listen, at string) {
	certificate, certErr := os.ReadFile(l.Certificate)
	if certErr != nil {
		w.warn(certErr.Error(), "listen", at, "certificate")
	}
	key, keyErr := os.ReadFile(l.Key)
	if keyErr != nil {
		w.warn(keyErr.Error(), "listen", at, "key")
	} else if info, err := os.Stat(l.Key); err == nil && info.Mode().Perm()&0o007 != 0 {
		w.warn(fmt.Sprintf("%s: everybody may use it (mode %04o): chmod o= %[1]s", l.Key, info.Mode().Perm()), "listen", at, "key")
	}
	if certErr != nil || keyErr != nil {
		return
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		w.warn(fmt.Sprintf("%s and %s: %v", l.Certificate, l.Key, err), "listen", at, "certificate")
		return
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		w.warn(fmt.Sprintf("%s: %v", l.Certificate, err), "listen", at, "certificate")
		return
	}
	const layout = "2006-01-02 15:04 UTC"
	switch {
	case w.now.After(leaf.NotAfter):
		w.warn(fmt.Sprintf("%s has run out, on %s: renew it", l.Certificate, leaf.NotAfter.UTC().Format(layout)), "listen", at, "certificate")
	case w.now.Before(leaf.NotBefore):
		w.warn(fmt.Sprintf("%s is good only from %s on: is this machine's clock right?", l.Certificate, leaf.NotBefore.UTC().Format(layout)), "listen", at, "certificate")
	case leaf.NotAfter.Sub(leaf.NotBefore) > 2*soon && leaf.NotAfter.Sub(w.now) < soon:
		w.warn(fmt.Sprintf("%s runs out soon, on %s: renew it", l.Certificate, leaf.NotAfter.UTC().Format(layout)), "listen", at, "certificate")
	}
}

// writable asks access(2) whether files can be made in a folder: W_OK and X_OK.
const writable = 2 | 1

// socket looks at where a UNIX socket is to be. makes says that the hub makes its folder.
func (w *world) socket(socket string, makes bool, path ...string) {
	if info, err := os.Lstat(socket); err == nil && info.Mode().Type() != fs.ModeSocket {
		w.warn(fmt.Sprintf("%s exists and is no socket: remove it or choose another path", socket), path...)
		return
	}
	folder := filepath.Dir(socket)
	info, err := os.Stat(folder)
	if makes {
		for above := folder; errors.Is(err, fs.ErrNotExist) && above != filepath.Dir(above); info, err = os.Stat(above) {
			above = filepath.Dir(above)
			folder = above
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		w.warn(fmt.Sprintf("there is no folder %s: make it first", folder), path...)
	case err != nil:
		w.warn(err.Error(), path...)
	case !info.IsDir():
		w.warn(fmt.Sprintf("%s is no folder", folder), path...)
	case syscall.Access(folder, writable) != nil:
		w.warn(fmt.Sprintf("you may not make anything in the folder %s; may the hub's user?", folder), path...)
	}
}

// program looks for one that the hub is to start.
func (w *world) program(name string, path ...string) {
	_, err := exec.LookPath(name)
	var wrong *exec.Error
	switch {
	case err == nil:
	case errors.Is(err, exec.ErrNotFound):
		w.warn(fmt.Sprintf("%q is not in PATH, as it is here: install it, or write its whole path", name), path...)
	case errors.As(err, &wrong):
		w.warn(fmt.Sprintf("%q: %v", name, wrong.Err), path...)
	default:
		w.warn(err.Error(), path...)
	}
}

// address looks whether a TCP listener's is one of this machine's.
func (w *world) address(s string, path ...string) {
	host, _, err := net.SplitHostPort(s)
	if err != nil || host == "" {
		return
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || ip.IsUnspecified() || ip.IsLoopback() {
		return
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return
	}
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Unmap() == ip.Unmap().WithZone("") {
			return
		}
	}
	w.warn(fmt.Sprintf("no interface of this machine has the address %s now", ip), path...)
}
