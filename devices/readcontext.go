package devices

import (
	"context"
	"sync"
	"time"
)

// readContext is the context of successive Reads. It is reused, without allocation, as
// long as each Read returns before its deadline. Only after a cancellation is a new one
// needed.
type readContext struct {
	context.Context // the parent, from Run: it supplies the values

	mu       sync.Mutex
	deadline time.Time
	err      error
	done     chan struct{}
}

func newReadContext(parent context.Context) *readContext {
	return &readContext{Context: parent, done: make(chan struct{})}
}

// setDeadline sets the deadline of the next Read.
func (c *readContext) setDeadline(deadline time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = deadline
}

// cancel ends the present Read. It is called once.
func (c *readContext) cancel(err error) {
	c.mu.Lock()
	c.err = err
	c.mu.Unlock()
	close(c.done)
}

// Deadline returns the deadline of the present Read.
func (c *readContext) Deadline() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.deadline, true
}

// Done is closed when the present Read has exceeded its deadline or the poller ends.
func (c *readContext) Done() <-chan struct{} { return c.done }

// Err returns which of these it was.
func (c *readContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
