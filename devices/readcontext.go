package devices

import (
	"context"
	"sync"
	"time"
)

// readContext is the context of one Read after the other. A Read that returns in
// time leaves it as it was, so the next one gets it too: a new one, which
// allocates, is due only after it was ended.
type readContext struct {
	context.Context // of Run: its values

	mu       sync.Mutex
	deadline time.Time
	err      error
	done     chan struct{}
}

func newReadContext(parent context.Context) *readContext {
	return &readContext{Context: parent, done: make(chan struct{})}
}

// begin sets the deadline of the next Read.
func (c *readContext) begin(deadline time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = deadline
}

// end ends the Read that is going on. It is called once.
func (c *readContext) end(err error) {
	c.mu.Lock()
	c.err = err
	c.mu.Unlock()
	close(c.done)
}

// Deadline is when the present Read must be over.
func (c *readContext) Deadline() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.deadline, true
}

// Done is closed when the present Read is over its deadline or the poller ends.
func (c *readContext) Done() <-chan struct{} { return c.done }

// Err says which it was.
func (c *readContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
