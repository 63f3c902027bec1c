package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/client"
	"github.com/besterhub/bester/hub/config"
)

// A target says which hub to connect to, and as which user. Its flags are those of every
// command that connects.
type target struct {
	hub          string
	user         string
	passwordFile string
	ca           string
	timeout      time.Duration
}

func (t *target) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&t.hub, "hub", "", "`address` of the hub: socket path, host:port or tls://host:port (default $BESTER_HUB,\nelse the hub on this machine)")
	f.StringVarP(&t.user, "user", "u", "", "log in under this `name` (default $BESTER_USER, else your own name)")
	f.StringVar(&t.passwordFile, "password-file", "", "`file` whose first line is the password (default $BESTER_PASSWORD; a UNIX\nsocket that trusts you needs none)")
	f.StringVar(&t.ca, "ca", "", "with tls://, trust the certificates in this PEM `file`, not the system's")
	f.DurationVar(&t.timeout, "timeout", 10*time.Second, "give up after this `time`")
	cmd.RegisterFlagCompletionFunc("user", cobra.NoFileCompletions)
}

// sendOnly is for dial: the session takes no deliveries.
var sendOnly = client.Options{SendOnly: true}

// dial connects and logs in. The options say what becomes of deliveries.
func (t *target) dial(ctx context.Context, o client.Options) (*client.Client, error) {
	at, config, err := t.endpoint()
	if err != nil {
		return nil, err
	}
	name, err := t.userName()
	if err != nil {
		return nil, err
	}
	password, err := t.password(ctx)
	if err != nil {
		return nil, err
	}
	o.User, o.Password, o.TLS, o.Timeout = name, password, config, t.timeout
	c, err := client.Dial(ctx, at.network, at.address, o)
	switch {
	case errors.Is(err, hub.ErrDenied):
		return nil, at.denied(name, password, err)
	case errors.Is(err, hub.ErrFull): // the hub is there, but is full
		return nil, &exitError{exitDenied, fmt.Errorf("user %q: %w", name, err)}
	case ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, ctx.Err() // interrupted
	case err != nil:
		return nil, at.unreachable(err, t.timeout)
	}
	return c, nil
}

// endpoint returns how to reach the hub.
func (t *target) endpoint() (p endpoint, config *tls.Config, err error) {
	at := cmp.Or(t.hub, os.Getenv("BESTER_HUB"))
	p.explicit = at != ""
	if !p.explicit {
		at = localSocket()
	}
	p.network, p.address = "tcp", at
	if host, secure := strings.CutPrefix(at, "tls://"); secure {
		p.address, p.secure = host, true
		config, err = t.tls(host)
	} else if strings.Contains(at, "/") || !strings.Contains(at, ":") {
		p.network = "unix"
	}
	return p, config, err
}

// localSocket returns the socket on which a hub on this machine listens, or would listen.
func localSocket() string {
	places := config.Sockets()
	for _, path := range places {
		if info, err := os.Stat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
			return path
		}
	}
	return places[0]
}

func (t *target) tls(address string) (*tls.Config, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("--hub tls://%s: want tls://host:port", address)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS13, ServerName: host}
	if t.ca != "" {
		pem, err := os.ReadFile(t.ca)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: no certificate in PEM form", t.ca)
		}
	}
	return c, nil
}

func (t *target) userName() (hub.UserName, error) {
	for _, name := range []string{t.user, os.Getenv("BESTER_USER")} {
		if name != "" {
			return hub.UserName(name), nil
		}
	}
	u, err := user.Current()
	if err != nil {
		return "", fmt.Errorf("no user name: say --user NAME (%w)", err)
	}
	return hub.UserName(u.Username), nil
}

func (t *target) password(ctx context.Context) (string, error) {
	if t.passwordFile == "" {
		return os.Getenv("BESTER_PASSWORD"), nil
	}
	return readPasswordFile(ctx, t.passwordFile, t.timeout)
}

// closeClient ends a session. It waits at most two seconds for the hub.
func closeClient(c *client.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	c.Close(ctx)
}
