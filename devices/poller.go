package devices

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/besterhub/bester/devices/senml"
	"github.com/besterhub/bester/hub"
)

// A Poller is the hub.Source of one sensor's readings.
//
//  1. Its ticks are aligned to multiples of the interval; the first is at once.
//  2. On a tick a goroutine of its own reads the sensor, under a deadline.
//  3. The readings become one message: a SenML pack in MessagePack.
//  4. The message is put into the sink, which does not block.
//
// A tick is skipped if the sensor is still being read. While the sensor yields nothing
// but errors, the Poller backs off: it doubles the interval with each failure, up to one
// minute (or the interval, if that is longer). When the sensor works again, the interval
// is restored. Parts that fail (PartErrors) are named in the log and in PollerStats, and
// do not slow the others down. In steady state a Poller allocates nothing.
type Poller struct {
	o      PollerOptions
	sensor Sensor
	stats  pollerStats

	// Owned by the goroutine that runs Run:
	ctx        *readContext
	timer      *time.Timer // fires at the next tick
	nextTick   time.Time   // its time, before jitter
	deadline   *time.Timer // the deadline of the present read
	pack       senml.Pack
	message    hub.Message
	batch      hub.Batch
	sensorLog  failureLog // failures of the whole sensor
	partLogs   partLogs   // failures of its parts
	sinkLog    failureLog // failures of the sink
	readingLog failureLog // invalid readings

	receipt receipt
}

// NewPoller returns a Poller of s. It is an error if the options contradict
// themselves or give names that SenML or the hub cannot carry.
func NewPoller(s Sensor, o PollerOptions) (*Poller, error) {
	if err := o.complete(); err != nil {
		return nil, fmt.Errorf("device %q: %w", o.Device, err)
	}
	p := &Poller{o: o, sensor: s}
	p.sensorLog = failureLog{log: o.Log, failing: "sensor fails", recovered: "sensor works again"}
	p.partLogs.log = o.Log
	p.sinkLog = failureLog{log: o.Log, failing: "readings are refused", recovered: "readings are taken again"}
	p.receipt.log = failureLog{log: o.Log, failing: "readings do not get through", recovered: "readings get through again"}
	p.readingLog = failureLog{log: o.Log, failing: "reading is left out", recovered: "readings are whole again"}
	return p, nil
}

// A result is the result of one Read. The slice is reused: the reading goroutine owns it
// during a Read, and Run owns it until the next one.
type result struct {
	readings []Reading
	err      error
}

// Run polls until ctx ends and then returns nil. If the sensor does not return from
// Read within Timeout after its context ended, Run returns an error that says so. The
// reading goroutine then ends when Read does. Run is called once.
func (p *Poller) Run(ctx context.Context, sink hub.Sink) error {
	requests, results := make(chan *readContext), make(chan result, 1)
	go func() {
		var readings []Reading
		for c := range requests {
			got, err := p.read(c, readings[:0])
			readings = got
			results <- result{got, err}
		}
	}()
	defer close(requests)

	p.ctx = newReadContext(ctx)
	p.timer = time.NewTimer(0)
	p.deadline = time.NewTimer(time.Hour)
	p.deadline.Stop()
	overdue := time.NewTimer(time.Hour) // fires a little after a read's deadline
	overdue.Stop()
	defer overdue.Stop()
	defer p.timer.Stop()
	defer p.deadline.Stop()

	reading, expired := false, false // a read is in progress; its context has ended
	for {
		select {
		case <-ctx.Done():
			return p.awaitRead(reading, expired, ctx.Err(), results)

		case <-p.timer.C:
			if reading {
				p.stats.skipped.Add(1)
			} else {
				reading = true
				p.ctx.setDeadline(time.Now().Add(p.o.Timeout))
				p.deadline.Reset(p.o.Timeout)
				requests <- p.ctx
			}
			p.timer.Reset(p.untilNextTick(p.o.Now()))

		case <-p.deadline.C:
			expired = true
			p.ctx.cancel(context.DeadlineExceeded)
			overdue.Reset(p.o.Timeout / 4)

		case <-overdue.C: // the sensor does not heed its context
			err := hub.Reason(context.DeadlineExceeded, "no answer within %v", p.o.Timeout)
			p.noteRead(true, err)
			p.sensorLog.record(err)

		case got := <-results:
			p.deadline.Stop()
			overdue.Stop()
			if expired {
				p.ctx = newReadContext(ctx)
			}
			if expired && got.err == nil && len(got.readings) == 0 {
				got.err = context.DeadlineExceeded
			}
			reading, expired = false, false
			before := p.sensorLog.consecutive
			p.publish(got, sink)
			if p.sensorLog.consecutive != before { // the backoff has changed
				p.nextTick = time.Time{}
				p.timer.Reset(p.untilNextTick(p.o.Now()))
			}
		}
	}
}

// awaitRead cancels a read in progress and waits for it.
func (p *Poller) awaitRead(reading, ended bool, cause error, answer <-chan result) error {
	if !reading {
		return nil
	}
	if !ended {
		p.ctx.cancel(cause)
	}
	p.deadline.Reset(p.o.Timeout)
	select {
	case <-answer:
		return nil
	case <-p.deadline.C:
		return fmt.Errorf("device %q: the sensor has not returned from Read %v after its context ended; it is left behind", p.o.Device, p.o.Timeout)
	}
}

// untilNextTick returns the time to the next tick: the next multiple of the interval, or
// of the longer interval of the backoff while the sensor fails.
func (p *Poller) untilNextTick(now time.Time) time.Duration {
	interval := p.o.Interval
	for range min(p.sensorLog.consecutive, 16) { // more doublings reach the limit anyway
		if interval >= maxBackoff {
			break
		}
		interval = max(p.o.Interval, min(2*interval, maxBackoff))
	}
	// Round(0) drops the monotonic reading, because ticks follow the wall clock, which
	// may have been set meanwhile. While that clock is slewed, the timer may fire a
	// little before the tick.
	now = now.Round(0)
	from := now
	if early := p.nextTick.Sub(now); early > 0 && early < interval/2 {
		from = p.nextTick
	}
	p.nextTick = from.Truncate(interval).Add(interval)
	pause := p.nextTick.Sub(now)
	if p.o.Jitter > 0 {
		pause += rand.N(p.o.Jitter)
	}
	return pause
}

// read reads the sensor. A panic is an error of the read.
func (p *Poller) read(ctx context.Context, dst []Reading) (got []Reading, err error) {
	defer recoverRead(&err)
	return p.sensor.Read(ctx, dst)
}

// publish makes a message of the readings and puts it into the sink.
func (p *Poller) publish(got result, sink hub.Sink) {
	p.stats.reads.Add(1)
	if got.err != nil {
		p.stats.failures.Add(1)
	}
	failing := got.err != nil && len(got.readings) == 0
	p.noteRead(failing, got.err)
	if failing {
		p.sensorLog.record(got.err)
		return
	}
	p.sensorLog.record(nil)
	p.stats.missing.Add(uint64(p.partLogs.record(got.err)))
	if len(got.readings) == 0 {
		return
	}
	now := p.o.Now()
	p.pack.Reset(hub.MessagePack, p.o.Base, now)
	var bad error
	for i := range got.readings {
		if err := p.add(&got.readings[i]); err != nil {
			p.stats.invalid.Add(1)
			bad = err
		}
	}
	p.readingLog.record(bad)
	data, err := p.pack.Data()
	if err != nil {
		return // all readings were invalid
	}
	p.message = hub.Message{Type: p.o.Type, From: p.o.From, Time: now, Data: data, Batch: &p.batch, Receipt: &p.receipt}
	err = sink.Put(&p.message)
	p.batch.Flush()
	p.sinkLog.record(err)
	p.noteSend(err)
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
