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
	"github.com/besterhub/bester/hub/errtext"
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

// subscribe subscribes to the patterns: where the account may not receive all types of one,
// to what it may of them. The first time it is an error if nothing at all is shown, or the
// hub refuses a pattern for another reason; later, what is no longer or again shown is told.
// With last, the last messages are shown first: once a session, or they came twice.
func (l *listenOptions) subscribe(ctx context.Context, cmd *cobra.Command, c *client.Client, last bool) error {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	l.subscribing.Lock()
	defer l.subscribing.Unlock()
	first := l.hidden == nil
	hidden := make(map[hub.Pattern]bool)
	var denied error
	for _, p := range l.patterns {
		err := l.subscribeTo(ctx, c, p, last || l.last && l.hidden[p])
		switch {
		case err == nil:
			if l.hidden[p] {
				l.say(cmd, fmt.Sprintf("bester: %s is shown again", escapeName(string(p))))
			}
			continue
		case errors.Is(err, hub.ErrDenied):
			denied = err
		case first, !errors.Is(err, hub.ErrFull):
			return l.subscribeError(p, err)
		}
		if hidden[p] = true; !l.hidden[p] && (!first || len(l.patterns) > 1) {
			fmt.Fprintf(cmd.ErrOrStderr(), "bester: %s is not shown: %s\n", escapeName(string(p)), escapeText(err.Error()))
		}
	}
	if first && len(l.patterns) > 0 && len(hidden) == len(l.patterns) {
		return &exitError{exitDenied, fmt.Errorf("cannot listen to %s: %w", strings.TrimPrefix(l.patternsText(), " to "), denied)}
	}
	l.hidden = hidden
	return nil
}

// subscribeTo subscribes to what the account may receive of a pattern. It returns an error if
// that is nothing.
func (l *listenOptions) subscribeTo(ctx context.Context, c *client.Client, p hub.Pattern, last bool) (err error) {
	subscribe := c.Subscribe
	if last {
		subscribe = c.SubscribeWithLast
	}
	for _, part := range allowedParts(p, c.Receives()) {
		if err = subscribe(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

// allowedParts returns the patterns that cover what an account may receive of p.
func allowedParts(p hub.Pattern, allowed []string) []hub.Pattern {
	var parts []hub.Pattern
	for _, a := range allowed {
		switch a := hub.Pattern(a); {
		case a.Covers(p):
			return []hub.Pattern{p}
		case p.Covers(a):
			parts = append(parts, a)
		}
	}
	if len(parts) == 0 {
		parts = []hub.Pattern{p} // the hub says why not
	}
	return parts
}

// subscribeError is the error of a pattern that the hub could not let the user subscribe to.
func (l *listenOptions) subscribeError(p hub.Pattern, err error) error {
	code := exitUnreachable
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("the hub has not answered in %v", l.timeout)
	case errors.Is(err, hub.ErrFull), errors.Is(err, hub.ErrHandler): // the hub has refused it
		return fmt.Errorf("cannot listen to %q: %s", string(p), errtext.Of(err)) // not to be tried again
	}
	return &exitError{code, fmt.Errorf("cannot listen to %q: %w", string(p), err)}
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
