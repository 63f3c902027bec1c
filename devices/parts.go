package devices

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/besterhub/bester/hub"
)

// A Part is one thing that a sensor reads on its own, such as a mount, a chip or a bus.
type Part struct {
	// Name says which one it is in errors, the log and the status, for example
	// "disk/data". It does not change.
	Name string
	// Read appends the part's readings to dst and returns it, as Sensor.Read does. It
	// may block for as long as the kernel does; its readings are then left out. If its
	// error is a PartErrors, the names in that count instead of Name.
	Read func(dst []Reading) ([]Reading, error)
}

// Parts is a Sensor of several parts, none of which can hold up the others.
//
// Each part is read on a goroutine of its own. A part that has not returned when the
// context ends is left behind: its error says so, its late readings are dropped, and it
// is read again once it has returned. So each part has at most one goroutine, however
// long it hangs. A part that was late is waited for only briefly the next time, until it
// is in time again.
type Parts struct {
	parts   []*part
	results chan *part // holds one result of each part
}

type part struct {
	Part
	readings []Reading // owned by the goroutine that reads, until it has sent its result
	err      error

	// Owned by Parts.Read:
	reading bool      // its goroutine runs
	started time.Time // when it was started
	awaited bool      // this Read waits for it
	fresh   bool      // its result has come in this Read
	late    bool      // it did not return in time in the last Read
}

// lateWait is how long a Read waits for parts that were late in the last one.
const lateWait = 100 * time.Millisecond

// NewParts returns a Sensor of these parts.
func NewParts(list ...Part) *Parts {
	p := &Parts{results: make(chan *part, len(list))}
	for _, v := range list {
		p.parts = append(p.parts, &part{Part: v})
	}
	return p
}

// Read reads all parts at once and appends their readings in the order of the parts. The
// error is a PartErrors that names the parts that failed or did not return; the readings
// of the others are valid. It returns when all parts have, or when ctx ends.
func (p *Parts) Read(ctx context.Context, dst []Reading) ([]Reading, error) {
	p.collectLate()
	inTime, late := p.start()
	var brief <-chan time.Time
	if late > 0 {
		timer := time.NewTimer(lateWait)
		defer timer.Stop()
		brief = timer.C
	}
wait:
	for inTime+late > 0 {
		select {
		case v := <-p.results:
			v.reading = false
			switch {
			case !v.awaited: // a part of an earlier Read: its readings are old
			case v.late:
				v.fresh = true
				late--
			default:
				v.fresh = true
				inTime--
			}
		case <-brief:
			late, brief = 0, nil
		case <-ctx.Done():
			break wait
		}
	}
	return p.gather(dst)
}

// collectLate takes the results of parts that returned after their Read.
func (p *Parts) collectLate() {
	for {
		select {
		case v := <-p.results:
			v.reading = false
		default:
			return
		}
	}
}

// start begins to read the parts that are not being read, and returns how many of them
// were in time in the last Read and how many were late.
func (p *Parts) start() (inTime, late int) {
	for _, v := range p.parts {
		v.fresh, v.awaited = false, !v.reading
		if v.reading {
			continue
		}
		v.reading, v.started = true, time.Now()
		go v.read(p.results)
		if v.late {
			late++
		} else {
			inTime++
		}
	}
	return inTime, late
}

func (v *part) read(results chan<- *part) {
	defer func() { results <- v }()
	defer recoverRead(&v.err)
	v.readings, v.err = v.Part.Read(v.readings[:0])
}

// gather appends what the parts have read.
func (p *Parts) gather(dst []Reading) ([]Reading, error) {
	var failed PartErrors
	for _, v := range p.parts {
		v.late = !v.fresh
		switch {
		case v.late:
			err := hub.Reason(context.DeadlineExceeded, "no answer for %v", time.Since(v.started).Round(time.Second/10))
			failed = append(failed, PartError{v.Name, err})
		default:
			dst = append(dst, v.readings...)
			var inner PartErrors
			switch {
			case v.err == nil:
			case errors.As(v.err, &inner): // it says itself which
				failed = append(failed, inner...)
			default:
				failed = append(failed, PartError{v.Name, v.err})
			}
		}
	}
	if len(failed) > 0 {
		return dst, failed
	}
	return dst, nil
}

// A PartError says that one part of a sensor could not be read, and why.
type PartError struct {
	Part string // its name
	Err  error  // why it could not be read
}

// Error returns "part: why".
func (e PartError) Error() string { return e.Part + ": " + e.Err.Error() }

// Unwrap returns the reason alone.
func (e PartError) Unwrap() error { return e.Err }

// PartErrors is the error of a sensor of which some parts could not be read. The
// readings that are returned with it are those of the others. It is never empty.
type PartErrors []PartError

// Error joins the errors with "; ".
func (e PartErrors) Error() string {
	texts := make([]string, len(e))
	for i, v := range e {
		texts[i] = v.Error()
	}
	return strings.Join(texts, "; ")
}

// Unwrap returns the parts' errors.
func (e PartErrors) Unwrap() []error {
	all := make([]error, len(e))
	for i, v := range e {
		all[i] = v
	}
	return all
}
