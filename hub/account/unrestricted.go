package account

import "github.com/besterhub/bester/hub"

// Unrestricted returns an account that may do everything. It is for a peer that is
// authenticated by UNIX peer credentials instead of a password: a process of the hub's
// own user, or of root, on a UNIX socket. The account is in no file.
func Unrestricted(name hub.UserName) *Account {
	a := newAccount(name, Permissions{
		Send:    []hub.Pattern{"#"},
		Receive: []hub.Pattern{"#"},
		Reach:   []hub.Address{Everyone},
		Serve:   []hub.Pattern{"#"},
		Peer:    true,
		Admin:   true,
	})
	a.unrestricted = true
	return a
}
