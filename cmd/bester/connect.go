package main

import (
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
	"github.com/spf13/pflag"

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
	timeoutFlag  *pflag.Flag // tells whether timeout was given or is the default; nil: it is the default
	resumption   client.Resumption
}

func (t *target) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&t.hub, "hub", "", "`address` of the hub: socket path, host:port or tls://host:port; the port is 2223, with\ntls:// 2224, if left out (default $BESTER_HUB, else the hub on this machine)")
	f.StringVarP(&t.user, "user", "u", "", "log in under this `name` (default $BESTER_USER, else your own name)")
	f.StringVar(&t.passwordFile, "password-file", "", "`file` whose first line is the password (default $BESTER_PASSWORD; a UNIX\nsocket that trusts you needs none)")
	f.StringVar(&t.ca, "ca", "", "with tls://, trust the certificates in this PEM `file`, not the system's")
	f.DurationVar(&t.timeout, "timeout", defaultTimeout(), "give up if the hub has not answered after this `time`;\n$BESTER_TIMEOUT sets the default")
	t.timeoutFlag = f.Lookup("timeout")
	cmd.RegisterFlagCompletionFunc("user", cobra.NoFileCompletions)
}

// defaultTimeout is --timeout where it is not given: BESTER_TIMEOUT or 10 s. It is 0, which
// is refused, if BESTER_TIMEOUT is no time.
func defaultTimeout() time.Duration {
	text := os.Getenv("BESTER_TIMEOUT")
	if text == "" {
		return 10 * time.Second
	}
	d, _ := time.ParseDuration(text)
	return d
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
	o.User, o.Password, o.TLS, o.Timeout, o.Resumption = name, password, config, t.timeout, &t.resumption
	c, err := client.Dial(ctx, at.network, at.address, o)
	switch {
	case errors.Is(err, hub.ErrDenied):
		return nil, at.denied(name, password, err)
	case errors.Is(err, hub.ErrFull), errors.Is(err, hub.ErrThrottled): // the hub is there, but lets nobody in now
		return nil, rejected(name, err)
	case ctx.Err() == context.Canceled: // interrupted
		return nil, ctx.Err()
	case err != nil:
		return nil, at.unreachable(err, t.timeout)
	}
	return c, nil
}

// endpoint returns how to reach the hub.
func (t *target) endpoint() (p endpoint, config *tls.Config, err error) {
	if t.timeout <= 0 {
		given := fmt.Sprintf("BESTER_TIMEOUT=%q", os.Getenv("BESTER_TIMEOUT"))
		if t.timeoutFlag != nil && t.timeoutFlag.Changed {
			given = fmt.Sprintf("--timeout %v", t.timeout)
		}
		return p, nil, usageError{fmt.Errorf("%s: %s; it is more than 0", given, valueForms["duration"])}
	}
	source, at := "--hub", t.hub
	if at == "" {
		source, at = "BESTER_HUB", os.Getenv("BESTER_HUB")
	}
	if at == "" {
		return endpoint{network: "unix", address: localSocket()}, nil, nil
	}
	if p, err = parseEndpoint(at); err != nil {
		return p, nil, usageError{fmt.Errorf("%s %s: %w", source, at, err)}
	}
	switch {
	case p.secure:
		config, err = t.tls(p.address)
	case t.ca != "":
		err = usageError{fmt.Errorf("--ca is for a TLS port: want --hub tls://host:port, got %s", at)}
	}
	return p, config, err
}

// localSocket returns the socket on which a hub on this machine listens, or would listen.
func localSocket() string {
	places := config.Sockets()
	for _, path := range places {
		if isSocket(path) {
			return path
		}
	}
	return places[0]
}

func (t *target) tls(address string) (*tls.Config, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	host, _, _ = strings.Cut(host, "%") // a certificate knows no zone
	c := &tls.Config{MinVersion: tls.VersionTLS13, ServerName: host}
	if t.ca != "" {
		pem, err := os.ReadFile(t.ca)
		if err != nil {
			return nil, fmt.Errorf("--ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--ca: %s: there is no certificate in PEM form in it (-----BEGIN CERTIFICATE-----)", t.ca)
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

// within limits ctx to the time that --timeout gives the whole command.
func (t *target) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, t.timeout)
}

// requestError returns the error of a request to the hub. If the hub has not answered
// within --timeout, or has ended the session, unknown says what that leaves open.
func (t *target) requestError(err error, unknown string) error {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		p, _, _ := t.endpoint()
		return &exitError{exitUnreachable, fmt.Errorf("the hub at %s did not answer in %v%s", p, t.timeout, unknown)}
	case errors.Is(err, client.ErrDisconnected):
		return &exitError{exitUnreachable, closedError(err, unknown)}
	}
	return err
}

// closeTimeout is how long a hub may take to end a session.
const closeTimeout = 2 * time.Second

// closeClient ends a session. It waits for the hub for at most closeTimeout, and not after
// the deadline of ctx.
func closeClient(ctx context.Context, c session) {
	limit := closeTimeout
	if deadline, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(deadline))
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	c.Close(ctx)
}
