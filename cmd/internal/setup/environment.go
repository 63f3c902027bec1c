package setup

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"slices"
	"sort"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/besterhub/bester/hub/account"
	"github.com/besterhub/bester/hub/config"
	"github.com/besterhub/bester/hub/errtext"
)

// CheckEnvironment checks a valid config against this machine: whether the files, programs,
// folders and addresses that it names exist and can be used. With a refused problem
// besterd, run by this user in this folder, would not start. With a warning it would
// start, but do less than the config says.
func CheckEnvironment(c *config.Config) (refused, warnings []config.Problem) {
	e := environment{c: c, now: time.Now()}
	for i, l := range c.Listen {
		at := fmt.Sprintf("#%d", i)
		switch l.Network {
		case config.Unix:
			e.socket(e.refuse, l.Address, true, "listen", at, "address")
			e.group(l.Group, "listen", at, "group")
		case config.TLS:
			e.certificate(l, at)
		}
		if l.Network != config.Unix {
			e.address(l.Network, l.Address, "listen", at, "address")
		}
	}
	if path := c.Accounts.File; path != "" {
		switch s, err := account.Open(path, account.Options{}); {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			e.refuse(errtext.Of(err), "accounts", "file")
		case s.Emptied():
			e.warn(fmt.Sprintf("there are no accounts in %s, so nobody can log in with a password: %s", path, AccountsRemedy), "accounts", "file")
		}
	}
	if c.Informer.Socket != "" {
		e.socket(e.refuse, c.Informer.Socket, false, "informer", "socket")
	}
	for _, h := range c.Handlers {
		if h.Dialect == config.Classic && len(h.Command) > 0 && h.Start == config.StartAlways {
			e.socket(e.warn, h.Socket, false, "handlers", h.Name, "socket")
		}
		if len(h.Command) > 0 && h.Start != config.StartNeeded { // that one may be there or not
			e.program(h.Command[0], "handlers", h.Name, "command", "#0")
		}
	}
	sortByPosition(e.refused)
	sortByPosition(e.warnings)
	return e.refused, e.warnings
}

// AccountsRemedy says what to do about an accounts file that may have lost its accounts.
const AccountsRemedy = `if it has lost them, put a copy of it back; else add accounts with "bester account add"`

func sortByPosition(all []config.Problem) {
	sort.SliceStable(all, func(i, j int) bool {
		a, b := &all[i], &all[j]
		return a.Line < b.Line || a.Line == b.Line && a.Column < b.Column
	})
}

// An environment collects the problems that a config has on this machine.
type environment struct {
	c   *config.Config
	now time.Time

	refused, warnings []config.Problem
}

func (e *environment) refuse(text string, path ...string) {
	e.refused = append(e.refused, e.c.Problem(text, path...))
}

func (e *environment) warn(text string, path ...string) {
	e.warnings = append(e.warnings, e.c.Problem(text, path...))
}

// certificate checks the certificate and the key of a TLS listener.
func (e *environment) certificate(l config.Listen, at string) {
	pair, errs := loadCertificate(l)
	for _, err := range errs {
		e.refuse(err.Text, "listen", at, err.Key)
	}
	if info, err := os.Stat(l.Key); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o007 != 0 {
		e.warn(fmt.Sprintf("%s: everybody may use it (mode %04o): chmod o= %[1]s", l.Key, info.Mode().Perm()), "listen", at, "key")
	}
	if pair == nil {
		return
	}
	for _, text := range CertificateWarnings(l.Certificate, pair, e.now) {
		e.warn(text, "listen", at, "certificate")
	}
}

// group checks whether a socket can be given this group.
func (e *environment) group(name string, path ...string) {
	if name == "" {
		return
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		e.refuse(fmt.Sprintf("there is no group %q on this machine: groupadd %[1]s", name), path...)
		return
	}
	groups, err := os.Getgroups()
	matches := func(id int) bool { return strconv.Itoa(id) == g.Gid }
	if err == nil && os.Geteuid() != 0 && !matches(os.Getegid()) && !slices.ContainsFunc(groups, matches) {
		e.refuse(fmt.Sprintf("you are not in the group %s, and cannot give it a socket; is the hub's user?", name), path...)
	}
}

// program checks for a program that the hub is to start.
func (e *environment) program(name string, path ...string) {
	_, err := exec.LookPath(name)
	var wrong *exec.Error
	switch {
	case err == nil:
	case errors.Is(err, exec.ErrNotFound):
		e.warn(fmt.Sprintf("%q is not in PATH, as it is here: install it, or write its whole path", name), path...)
	case errors.As(err, &wrong):
		e.warn(errtext.Of(wrong), path...)
	default:
		e.warn(errtext.Of(err), path...)
	}
}

// address checks whether this user can listen on the address of a TCP listener. It binds
// a socket to it and closes it, and never listens, so that a hub that starts meanwhile is not
// disturbed.
func (e *environment) address(network, address string, path ...string) {
	ap, err := netip.ParseAddrPort(address)
	if host, port, splitErr := net.SplitHostPort(address); err != nil && splitErr == nil && host == "" {
		any := netip.IPv6Unspecified()
		if network == config.TCP4 {
			any = netip.IPv4Unspecified()
		}
		ap, err = netip.ParseAddrPort(net.JoinHostPort(any.String(), port))
	}
	if err != nil {
		return
	}
	if err := bind(ap); PortRemedy(err) != "" {
		e.refuse(fmt.Sprintf("%s: %s", address, PortRemedy(err)), path...)
	}
}

// bind binds a TCP socket to an address and closes it.
func bind(ap netip.AddrPort) error {
	family := unix.AF_INET6
	var to unix.Sockaddr
	if ip := ap.Addr(); ip.Is4() {
		family, to = unix.AF_INET, &unix.SockaddrInet4{Addr: ip.As4(), Port: int(ap.Port())}
	} else {
		six := &unix.SockaddrInet6{Addr: ip.As16(), Port: int(ap.Port())}
		if zone := ip.Zone(); zone != "" {
			i, err := net.InterfaceByName(zone)
			if err != nil {
				return unix.EADDRNOTAVAIL
			}
			six.ZoneId = uint32(i.Index)
		}
		to = six
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	return unix.Bind(fd, to)
}
