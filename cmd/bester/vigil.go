package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/client"
)

// A vigil is a session with a hub that is begun again whenever it has ended.
type vigil struct {
	*target
	deliver func(m *hub.Message)
	say     func(text string) // tells the operator; nil: nothing is said

	been  bool      // it has had a session
	since time.Time // when the last session ended
	last  error     // why there is no session; nil: there is one
}

// The pauses between tries: the first, and at most. A session as long as the latter
// makes the next pause the first again.
const (
	firstPause = 100 * time.Millisecond
	mostPause  = 30 * time.Second
)

// keep has sessions until ctx ends. It returns why there is none then, or nil if there
// is one or the first try was under way; or at once what waiting does not mend.
func (v *vigil) keep(ctx context.Context) error {
	for pause := firstPause; ; pause = min(2*pause, mostPause) {
		lasted, err := v.session(ctx)
		switch {
		case ctx.Err() != nil:
			return v.last
		case !v.passes(err):
			return err
		case v.last == nil:
			v.since = time.Now()
			v.waits(err)
		}
		v.last = err
		if lasted >= mostPause {
			pause = firstPause
		}
		// Spread, so that those whom a hub has lost do not come back all at once.
		timer := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return v.last
		}
	}
}

// session logs in and stays until the hub ends it, or ctx does. It returns how long it
// was there, and why no longer.
func (v *vigil) session(ctx context.Context) (lasted time.Duration, err error) {
	c, err := v.dial(ctx, v.deliver)
	if err != nil {
		return 0, err
	}
	defer over(c)
	v.begins(c)
	began := time.Now()
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-c.Done():
		return time.Since(began), &exit{exitAway, fmt.Errorf("the hub closed the connection: %w", c.Err())}
	}
}

// passes reports whether it may help to wait and try again.
func (v *vigil) passes(err error) bool {
	var e *exit
	switch {
	case errors.Is(err, hub.ErrDenied), !errors.As(err, &e):
		return false
	case errors.Is(err, hub.ErrFull): // it lets nobody in now
		return true
	}
	return e.code == exitAway && (v.been || !stays(err))
}

// waits says that there is no session, and why.
func (v *vigil) waits(err error) {
	if v.say == nil {
		return
	}
	text := "Trying again until it is there. Ctrl-C ends it."
	if v.been {
		text = "Trying again until it is back; what is sent meanwhile is not kept."
	}
	v.say("bester: " + err.Error() + "\n" + text)
}

// begins says that there is a session, for how long there was none, and what comes.
func (v *vigil) begins(c *client.Client) {
	name, _ := v.name()
	again := ""
	if v.been {
		again = fmt.Sprintf(" again, after %v", time.Since(v.since).Round(100*time.Millisecond))
	}
	v.been, v.last = true, nil
	if v.say == nil {
		return
	}
	v.say(fmt.Sprintf("Listening as %s at the hub %s%s. Ctrl-C ends it.%s", clean(string(name)), clean(c.Hub()), again, only(name, c.Receives())))
}

// only is what there is to say of an account that may not receive all, in a line of
// its own.
func only(name hub.UserName, patterns []string) string {
	remedy := "; to change that, on the hub's machine: bester account allow --receive PATTERN " + clean(string(name))
	switch {
	case patterns == nil: // the hub does not say
		return ""
	case len(patterns) == 0:
		return "\nNothing will come: this account may not receive anything" + remedy
	}
	for _, p := range patterns {
		if p == "#" {
			return ""
		}
	}
	return "\nThis account may receive only " + clean(strings.Join(patterns, " ")) + remedy
}
