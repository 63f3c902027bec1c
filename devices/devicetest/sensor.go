package devicetest

import (
	"context"
	"sync"

	"github.com/besterhub/bester/devices"
)

// A Script is a scripted Sensor: each Read does the next step. The last step is
// repeated for ever. Its methods may be called from many goroutines.
type Script struct {
	mu    sync.Mutex
	steps []Step
	reads int
}

// A Step is what one Read of a Script does.
type Step struct {
	Readings []devices.Reading // what it returns, with Err
	Err      error             // nil: none
	Hang     bool              // waits until its context ends, and returns ctx's error
	Until    <-chan struct{}   // waits for this, and ignores its context
}

// NewScript returns a Script of these steps, at least one.
func NewScript(steps ...Step) *Script { return &Script{steps: steps} }

// Reads returns how often Read has been called.
func (s *Script) Reads() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads
}

// Read does the next step.
func (s *Script) Read(ctx context.Context, dst []devices.Reading) ([]devices.Reading, error) {
	s.mu.Lock()
	step := &s.steps[min(s.reads, len(s.steps)-1)]
	s.reads++
	s.mu.Unlock()
	if step.Until != nil {
		<-step.Until
	}
	if step.Hang {
		<-ctx.Done()
		return dst, ctx.Err()
	}
	return append(dst, step.Readings...), step.Err
}
