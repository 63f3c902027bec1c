package hubtest

import (
	"sync/atomic"
	"testing"

	"github.com/besterhub/bester/hub"
)

// A Recorder is a Sink and a Receipt that records messages and outcomes. The zero value
// is ready. Its methods may be called from many goroutines.
type Recorder struct {
	messages recording[hub.Message]
	receipts recording[Outcome]
	refuse   atomic.Pointer[error]
}

// An Outcome is one call of a receipt.
type Outcome struct {
	Message hub.Message // without its data
	Err     error       // that its receipt was given; nil: it succeeded
}

// Refuse makes Put return err from now on and record nothing; nil ends that.
func (r *Recorder) Refuse(err error) {
	if err == nil {
		r.refuse.Store(nil)
	} else {
		r.refuse.Store(&err)
	}
}

// Put records a copy of m, in memory.
func (r *Recorder) Put(m *hub.Message) error {
	if err := r.refuse.Load(); err != nil {
		return *err
	}
	r.messages.add(clone(m))
	return nil
}

// Done records the outcome of a message.
func (r *Recorder) Done(m *hub.Message, err error) {
	r.receipts.add(Outcome{clone(m), err})
}

// Messages waits until at least n messages have been put and returns copies of all, in order.
func (r *Recorder) Messages(tb testing.TB, n int) []hub.Message {
	tb.Helper()
	return r.messages.wait(tb, "messages", n)
}

// Receipts waits until at least n outcomes have been recorded and returns all, in order.
func (r *Recorder) Receipts(tb testing.TB, n int) []Outcome {
	tb.Helper()
	return r.receipts.wait(tb, "receipts", n)
}
