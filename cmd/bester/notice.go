package main

import (
	"fmt"
	"time"
)

// A noticeLimiter limits how often something of one kind is told: the first few times, and
// then once in an interval, with how many were not told in between.
type noticeLimiter struct {
	told       int
	last       time.Time
	suppressed int
}

const (
	firstNotices   = 3
	noticeInterval = 10 * time.Second
)

// allow reports whether it may be told now, and what to add about those that were not.
func (n *noticeLimiter) allow() (more string, ok bool) {
	now := time.Now()
	if n.told >= firstNotices && now.Sub(n.last) < noticeInterval {
		n.suppressed++
		return "", false
	}
	if n.suppressed > 0 {
		more = fmt.Sprintf(" (and %d more since the last that was told)", n.suppressed)
	}
	n.told++
	n.last, n.suppressed = now, 0
	return more, true
}

// plural is a number of things.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
