// Package account keeps the file that says who may connect to the hub and what
// they may do, and checks their passwords.
//
// An operator keeps the file with "bester account", or with an editor. It is text
// in UTF-8, one block an account, one value a line:
//
//	# the greenhouse's board
//	account greenhouse
//	  password $2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy
//	  send     reading/greenhouse/#
//	  send     alarm/+
//	  receive  command/greenhouse/#
//	  reach    gardener
//
//	account gardener
//	  password $2b$10$1mTpCgYpPqHk0i4BZqzVhuhGaKfWFC4QdBjRmc6Uy6uqVBvZbpQFi
//	  send     #
//	  receive  #
//	  reach    *
//	  admin    yes
//
// These are all the fields. A value with a space, a quotation mark or a
// backslash in it must be quoted, with \" and \\ for the latter two. Whatever
// the file does not allow is denied.
//
//	account   begins an account; its name (CheckName says which there are)
//	password  bcrypt hash of its password: $2a$, $2b$ or $2y$, cost 4 to 16; required
//	send      a pattern of types that it may send
//	receive   a pattern of types that it may receive
//	reach     a user whom its messages may reach: a name here, user@server, or
//	          @server for a server itself; * for all of them
//	serve     a pattern of types that it may serve as a handler, whose commands reach and
//	          send as the account may
//	peer      yes: it may connect as a server, with scope server
//	admin     yes: it may ask for the hub's status
//
// password, peer and admin may appear once in an account; the others any number
// of times, with a different value each time. A line that begins with # is a
// comment. It belongs to the account below it, or, if indented, to the account
// that it stands in. Fields may be indented freely.
//
// The whole file is refused, with line and column, for an unknown field, an
// invalid value, a duplicate, a control character, or an exceeded limit: 4 MiB,
// 10,000 accounts, 1,024 bytes a line, 256 values of a field in one account. It
// must be inaccessible to group and others (mode 0600). A change replaces the
// file atomically: it writes a temporary file beside it, with ".new" appended to
// the name, and renames that over it, so that a crash leaves either the old file
// or the new one. A lock on the file serializes changes from different processes.
// A change keeps the owner and mode of the file, and a symbolic link to it.
//
// A hub keeps its accounts where the file has lost all of them, as if it was emptied or cut
// off, unless this line is in it, which removing the last account writes:
//
//	# There are no accounts.
//
// bcrypt reads 72 bytes. A longer password is first replaced by the base64
// text of its SHA-256, 44 bytes long; hashes made by other programs, such as
// htpasswd -B, work for passwords up to 72 bytes.
package account

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/besterhub/bester/hub"
)

// The limits of an accounts file, and of what is put into it.
const (
	MaxFile     = 4 << 20 // bytes in a file
	MaxAccounts = 10_000  // accounts in a file
	MaxLine     = 1024    // bytes in a line, without the spaces at its ends
	MaxValues   = 256     // values of one field in one account
	MaxName     = 128     // bytes in a name
	MaxPassword = 1024    // bytes in a password
)

// Errors that callers distinguish.
var (
	// ErrDenied means that the name or the password is wrong. It does not tell
	// which, so it is the only error of a login that a peer may see.
	ErrDenied = errors.New("wrong name or password")
	// ErrBusy means that too many logins wait for their password check already.
	ErrBusy = errors.New("too many logins at once, try again later")
	// ErrTooOften means that the account has changed its password too often lately.
	ErrTooOften = errors.New("the password was changed too often")
	// ErrExists means that there is an account of that name already.
	ErrExists = errors.New("account exists")
	// ErrUnknown means that there is no account of that name.
	ErrUnknown = errors.New("no such account")
)

// Permissions are what an account may do. The zero value allows nothing.
type Permissions struct {
	Send    []hub.Pattern // types it may send
	Receive []hub.Pattern // types it may receive
	// Reach is whom its messages may reach: users here, users at a server, or
	// servers. One Address whose User is "*" (see Everyone) stands for all but
	// host:port.
	Reach []hub.Address
	Serve []hub.Pattern // types it may serve as a handler
	Peer  bool          // it may connect with scope server
	Admin bool          // it may ask for the hub's status
}

// Everyone in Permissions.Reach stands for all users and servers.
var Everyone = hub.Address{User: "*"}

// DefaultPermissions returns what a new account may do by default: send and receive
// every type and reach everyone, but not serve types, connect as a server or ask for
// the hub's status.
func DefaultPermissions() Permissions {
	return Permissions{
		Send:    []hub.Pattern{"#"},
		Receive: []hub.Pattern{"#"},
		Reach:   []hub.Address{Everyone},
	}
}

// Account is the account of a session and what it may do. It is immutable: a
// change in the file makes a new Account, which Store.Lookup returns. Its methods
// permissions be called from many goroutines, and allocate nothing.
type Account struct {
	name                          hub.UserName
	permissions                   Permissions
	send, receive                 []rule
	sendAll, receiveAll, reachAll bool
	unrestricted                  bool
}

var _ hub.Reach = (*Account)(nil)

func newAccount(name hub.UserName, p Permissions) *Account {
	return &Account{
		name:        name,
		permissions: p,
		send:        newRules(p.Send),
		receive:     newRules(p.Receive),
		sendAll:     slices.Contains(p.Send, "#"),
		receiveAll:  slices.Contains(p.Receive, "#"),
		reachAll:    slices.Contains(p.Reach, Everyone),
	}
}

// Name returns the account's name.
func (a *Account) Name() hub.UserName { return a.name }

// MaySend reports whether the account may send messages of type t.
func (a *Account) MaySend(t hub.Type) bool { return a.sendAll || match(a.send, t) }

// MayReceive reports whether messages of type t may be given to the account.
func (a *Account) MayReceive(t hub.Type) bool { return a.receiveAll || match(a.receive, t) }

// MayReceiveAll reports whether all messages whose types match p may be given to the
// account: one of its receive patterns must match all of them.
func (a *Account) MayReceiveAll(p hub.Pattern) bool { return coversAny(a.permissions.Receive, p) }

// MayReach reports whether the account's messages may be handed to an address.
// Everyone covers only servers that the config names. A host:port may be reached only
// by an account that lists it, or by an Unrestricted one.
func (a *Account) MayReach(to hub.Address) bool {
	if a.reachAll && (a.unrestricted || !strings.Contains(string(to.Server), ":")) {
		return true
	}
	return slices.Contains(a.permissions.Reach, to)
}

// MayServe reports whether the account may be the handler of all types that match p:
// one of its serve patterns must match all of them. Types that only two of its patterns
// together match are refused.
func (a *Account) MayServe(p hub.Pattern) bool { return coversAny(a.permissions.Serve, p) }

// MayPeer reports whether the account may connect with scope server.
func (a *Account) MayPeer() bool { return a.permissions.Peer }

// IsAdmin reports whether the account may ask for the hub's status.
func (a *Account) IsAdmin() bool { return a.permissions.Admin }

// Permissions returns a copy of all that the account may do.
func (a *Account) Permissions() Permissions { return a.permissions.clone() }

func (p Permissions) clone() Permissions {
	p.Send, p.Receive = slices.Clone(p.Send), slices.Clone(p.Receive)
	p.Reach, p.Serve = slices.Clone(p.Reach), slices.Clone(p.Serve)
	return p
}

// CheckName returns why s cannot be the name of an account, or nil. A name is
// 1 to MaxName bytes of UTF-8 without white space and control characters. It has
// none of @ (user@server is an address), / + # * (patterns), : , and " in it.
// Names are compared byte for byte.
func CheckName(s string) error {
	switch why := NameProblem(s); {
	case why == "":
		return nil
	case len(s) > MaxName:
		return fmt.Errorf("account: %s", why)
	default:
		return fmt.Errorf("account: name %q: %s", s, why)
	}
}

// NameProblem says what keeps s from being the name of an account, without naming it, or
// returns "".
func NameProblem(s string) string {
	switch {
	case s == "":
		return "a name cannot be empty"
	case len(s) > MaxName:
		return fmt.Sprintf("name of %d bytes: at most %d are allowed", len(s), MaxName)
	case !utf8.ValidString(s):
		return "not UTF-8"
	case strings.ContainsFunc(s, unicode.IsControl):
		return "a name has no control characters"
	case strings.ContainsFunc(s, unicode.IsSpace):
		return "a name has no spaces"
	case strings.Contains(s, "@"):
		return "a name has no @, which stands between user and server in an address"
	case strings.ContainsAny(s, `/+#*,:"\`):
		return `a name has none of / + # * , : " \`
	}
	return ""
}

// ParsePattern checks one value of send, receive or serve: as hub.ParsePattern,
// and without any control character.
func ParsePattern(s string) (hub.Pattern, error) {
	p, err := hub.ParsePattern(s)
	if err != nil {
		return "", fmt.Errorf("account: %w", err)
	}
	if strings.ContainsFunc(s, unicode.IsControl) {
		return "", fmt.Errorf("account: pattern %q: contains a control character", s)
	}
	return p, nil
}

// ParseReach checks one value of reach: "*" for everyone, a user's name,
// user@server or @server.
func ParseReach(s string) (hub.Address, error) {
	if s == "*" {
		return Everyone, nil
	}
	to, err := hub.ParseAddress(s)
	if err != nil {
		return hub.Address{}, fmt.Errorf("account: %w", err)
	}
	if to.User != "" {
		if err := CheckName(string(to.User)); err != nil {
			return hub.Address{}, fmt.Errorf("%w; want *, a user's name, user@server or @server", err)
		}
	}
	server := string(to.Server)
	if len(server) > hub.MaxType || !utf8.ValidString(server) ||
		strings.ContainsFunc(server, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }) {
		return hub.Address{}, fmt.Errorf("account: reach %.300q: the server's name has spaces, control characters or over %d bytes", s, hub.MaxType)
	}
	return to, nil
}

// check returns why p cannot be written into a file, or nil.
func (p *Permissions) check() error {
	for _, list := range [][]hub.Pattern{p.Send, p.Receive, p.Serve} {
		if err := checkList(list, func(v hub.Pattern) (hub.Pattern, error) { return ParsePattern(string(v)) }); err != nil {
			return err
		}
	}
	return checkList(p.Reach, func(v hub.Address) (hub.Address, error) { return ParseReach(v.String()) })
}

func checkList[T comparable](list []T, parse func(T) (T, error)) error {
	if len(list) > MaxValues {
		return fmt.Errorf("account: %d values of one field: at most %d are allowed", len(list), MaxValues)
	}
	for i, v := range list {
		got, err := parse(v)
		if err != nil {
			return err
		}
		if got != v {
			return fmt.Errorf("account: %q would be read as %q", fmt.Sprint(v), fmt.Sprint(got))
		}
		if slices.Contains(list[:i], v) {
			return fmt.Errorf("account: %q is given twice", fmt.Sprint(v))
		}
	}
	return nil
}
