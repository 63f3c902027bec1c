package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/client"
)

// parsePatterns reads the patterns to listen to.
func (l *listenOptions) parsePatterns(args []string) error {
	if l.last && len(args) == 0 {
		return usageError{errors.New("--last is for patterns: bester listen --last 'reading/#'")}
	}
	for _, arg := range args {
		p, err := hub.ParsePattern(arg)
		if err != nil {
			return usageError{err}
		}
		for level := range strings.SplitSeq(arg, "/") {
			if level == "*" || level == ">" {
				return usageError{fmt.Errorf("pattern %q: %s is no wildcard here: + stands for one level, and # at the end for all that follow", arg, level)}
			}
		}
		if !slices.Contains(l.patterns, p) {
			l.patterns = append(l.patterns, p)
		}
	}
	return nil
}

// subscribed logs in and subscribes to the patterns.
func (l *listenOptions) subscribed(ctx context.Context, o client.Options) (session, error) {
	c, err := l.dial(ctx, o)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	for _, p := range l.patterns {
		subscribe := c.Subscribe
		if l.last {
			subscribe = c.SubscribeWithLast
		}
		if err := subscribe(ctx, p); err != nil {
			closeClient(ctx, c)
			return nil, l.refused(p, err)
		}
	}
	return c, nil
}

// refused is the error of a pattern that the hub does not let the user subscribe to.
func (l *listenOptions) refused(p hub.Pattern, err error) error {
	code := exitUnreachable
	switch {
	case errors.Is(err, hub.ErrDenied), errors.Is(err, hub.ErrFull):
		code = exitDenied
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("the hub has not answered in %v", l.timeout)
	}
	return &exitError{code, fmt.Errorf("cannot listen to %q: %w", string(p), err)}
}

// resubscribe subscribes again after the account's permissions have changed, and says what
// is not shown any more.
func (l *listenOptions) resubscribe(ctx context.Context, cmd *cobra.Command, c *client.Client) {
	for _, p := range l.patterns {
		if err := c.Subscribe(ctx, p); errors.Is(err, hub.ErrDenied) || errors.Is(err, hub.ErrFull) {
			fmt.Fprintf(cmd.ErrOrStderr(), "bester: %s is not shown any more: %s\n", escapeText(string(p)), escapeText(err.Error()))
		}
	}
}

// patternsText says what it listens to.
func (l *listenOptions) patternsText() string {
	var all []string
	for _, p := range l.patterns {
		all = append(all, escapeName(string(p)))
	}
	if len(all) == 0 {
		return ""
	}
	return " to " + strings.Join(all, " ")
}
