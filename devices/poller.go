package devices

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/besterhub/bester/devices/senml"
	"github.com/besterhub/bester/hub"
)

// A Poller is the hub.Source of one sensor's readings.
//
//  1. Its ticks fall on the multiples of the interval; the first is at once.
//  2. On a tick a goroutine of its own reads the sensor, under a deadline.
//  3. What came becomes one message: a SenML pack in MessagePack.
//  4. The message is put into the sink, which does not wait for anyone.
//
// A sensor that is still being read at a tick loses that tick. One that fails is
// asked less and less often, once a minute at least (or once an interval, if
// that is longer), and at the interval again as soon as it works. In steady
// state a Poller allocates nothing.
type Poller struct {
	o      PollerOptions
	sensor Sensor
	stats  pollerStats

	// Of the goroutine that runs Run:
	ctx     *readContext
	timer   *time.Timer // the next tick
	due     time.Time   // when it is, before jitter
	limit   *time.Timer // the deadline of the present read
	pack    senml.Pack
	message hub.Message
	batch   hub.Batch
	read    trouble // what is wrong with the sensor
	put     trouble // what is wrong with the sink
	bad     trouble // what is wrong with a reading

	outcome outcome
}

// An outcome is the Receipt of a Poller's messages.
type outcome struct {
	lost   atomic.Uint64
	mu     sync.Mutex
	failed trouble
}

// Done notes what became of a message that the sink had taken.
func (o *outcome) Done(_ *hub.Message, err error) {
	if err != nil {
		o.lost.Add(1)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failed.is(err)
}

// NewPoller returns a Poller of s. It is an error if the options contradict
// themselves or give names that SenML or the hub cannot carry.
func NewPoller(s Sensor, o PollerOptions) (*Poller, error) {
	if err := o.complete(); err != nil {
		return nil, fmt.Errorf("device %q: %w", o.Device, err)
	}
	p := &Poller{o: o, sensor: s}
	p.read = trouble{log: o.Log, begins: "sensor fails", ends: "sensor works again"}
	p.put = trouble{log: o.Log, begins: "readings are refused", ends: "readings are taken again"}
	p.outcome.failed = trouble{log: o.Log, begins: "readings do not get through", ends: "readings get through again"}
	p.bad = trouble{log: o.Log, begins: "reading is left out", ends: "readings are whole again"}
	return p, nil
}

// PollerStats counts what a Poller has done since the start.
type PollerStats struct {
	Reads    uint64 `json:"reads"`    // reads that the sensor has ended, well or not
	Failures uint64 `json:"failures"` // of these, those with an error
	Skipped  uint64 `json:"skipped"`  // ticks that came while the sensor was still being read
	Bad      uint64 `json:"bad"`      // readings left out: their name or value cannot be written
	Sent     uint64 `json:"sent"`     // messages that the sink has taken
	Refused  uint64 `json:"refused"`  // messages that it has not; they are lost
	Lost     uint64 `json:"lost"`     // messages it has taken, and then a handler or server failed
	Failing  bool   `json:"failing"`  // the last read failed
}

type pollerStats struct {
	reads, failures, skipped, bad, sent, refused atomic.Uint64
	failing                                      atomic.Bool
}

// Stats returns the counters as they are now. It may be called from any goroutine.
func (p *Poller) Stats() PollerStats {
	s := &p.stats
	return PollerStats{
		Reads: s.reads.Load(), Failures: s.failures.Load(), Skipped: s.skipped.Load(), Bad: s.bad.Load(),
		Sent: s.sent.Load(), Refused: s.refused.Load(), Lost: p.outcome.lost.Load(), Failing: s.failing.Load(),
	}
}

// result is what one Read came to. The slice is the Poller's own, which the
// reading goroutine has while it reads.
type result struct {
	readings []Reading
	err      error
}

// Run polls until ctx ends and then returns nil. A sensor that does not return
// from Read when its context ends is waited for no longer than Timeout: then
// Run returns an error that says so, and the goroutine that reads is left to
// end with it. Run is called once.
func (p *Poller) Run(ctx context.Context, sink hub.Sink) error {
	ask, answer := make(chan *readContext), make(chan result, 1)
	go func() {
		var readings []Reading
		for c := range ask {
			got, err := p.sensor.Read(c, readings[:0])
			readings = got
			answer <- result{got, err}
		}
	}()
	defer close(ask)

	p.ctx = newReadContext(ctx)
	p.timer = time.NewTimer(0)
	p.limit = time.NewTimer(time.Hour)
	p.limit.Stop()
	defer p.timer.Stop()
	defer p.limit.Stop()

	reading, ended := false, false // the sensor is being read; and its context has ended
	for {
		select {
		case <-ctx.Done():
			return p.end(reading, ended, ctx.Err(), answer)

		case <-p.timer.C:
			if reading {
				p.stats.skipped.Add(1)
			} else {
				reading = true
				p.ctx.begin(time.Now().Add(p.o.Timeout))
				p.limit.Reset(p.o.Timeout)
				ask <- p.ctx
			}
			p.timer.Reset(p.pause(p.o.Now()))

		case <-p.limit.C:
			ended = true
			p.ctx.end(context.DeadlineExceeded)

		case got := <-answer:
			p.limit.Stop()
			if ended {
				p.ctx = newReadContext(ctx)
			}
			if ended && got.err == nil && len(got.readings) == 0 {
				got.err = context.DeadlineExceeded
			}
			reading, ended = false, false
			failing := p.read.failures
			p.take(got, sink)
			if p.read.failures != failing { // the pause has changed
				p.due = time.Time{}
				p.timer.Reset(p.pause(p.o.Now()))
			}
		}
	}
}

// end waits for a read that is going on.
func (p *Poller) end(reading, ended bool, cause error, answer <-chan result) error {
	if !reading {
		return nil
	}
	if !ended {
		p.ctx.end(cause)
	}
	p.limit.Reset(p.o.Timeout)
	select {
	case <-answer:
		return nil
	case <-p.limit.C:
		return fmt.Errorf("device %q: the sensor has not returned from Read %v after its context ended; it is left behind", p.o.Device, p.o.Timeout)
	}
}

// pause returns how long it is to the next tick: the next multiple of the
// interval, or of a longer one while the sensor fails.
func (p *Poller) pause(now time.Time) time.Duration {
	interval := p.o.Interval
	for range min(p.read.failures, 16) { // more doublings reach the limit anyway
		if interval >= maxBackoff {
			break
		}
		interval = max(p.o.Interval, min(2*interval, maxBackoff))
	}
	// Round(0): by the wall clock, which may have been set meanwhile. One that is
	// being slewed shows a little less than was due when the timer fires.
	now = now.Round(0)
	from := now
	if early := p.due.Sub(now); early > 0 && early < interval/2 {
		from = p.due
	}
	p.due = from.Truncate(interval).Add(interval)
	pause := p.due.Sub(now)
	if p.o.Jitter > 0 {
		pause += rand.N(p.o.Jitter)
	}
	return pause
}

// take makes a message of what the sensor gave, and puts it into the sink.
func (p *Poller) take(got result, sink hub.Sink) {
	p.stats.reads.Add(1)
	if got.err != nil {
		p.stats.failures.Add(1)
	}
	p.stats.failing.Store(got.err != nil)
	p.read.is(got.err)
	if len(got.readings) == 0 {
		return
	}
	now := p.o.Now()
	p.pack.Reset(hub.MessagePack, p.o.Base, now)
	var bad error
	for i := range got.readings {
		if err := p.add(&got.readings[i]); err != nil {
			p.stats.bad.Add(1)
			bad = err
		}
	}
	p.bad.is(bad)
	data, err := p.pack.Data()
	if err != nil {
		return // all of them were bad
	}
	p.message = hub.Message{Type: p.o.Type, From: p.o.From, Time: now, Data: data, Batch: &p.batch, Receipt: &p.outcome}
	err = sink.Put(&p.message)
	p.batch.Flush()
	p.put.is(err)
	if err != nil {
		p.stats.refused.Add(1)
		return
	}
	p.stats.sent.Add(1)
}

func (p *Poller) add(r *Reading) error {
	switch r.Kind {
	case senml.Number:
		return p.pack.Number(r.Name, string(r.Unit), r.Value, r.Time)
	case senml.Bool:
		return p.pack.Bool(r.Name, r.Value != 0, r.Time)
	case senml.Text:
		return p.pack.Text(r.Name, r.Text, r.Time)
	}
	return errors.New("reading " + r.Name + ": its kind is none that a reading can have")
}
