package spool

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

var modelOps = flag.Int("spool.ops", 100000, "operations of the model test")

// Random operations run on a spool and on a model beside it, while time passes and
// programs end and begin. Each record, gap, time and figure is as the model says.
func TestModel(t *testing.T) {
	n := short(*modelOps)
	all := []Options{
		{MaxRecords: 200},
		{MaxBytes: 1 << 20, MaxRecords: 3000},
		{MaxBytes: 100 << 10, Overflow: DropNewest, MaxAge: 2 * time.Hour},
		{MaxBytes: 300 << 10, MaxAge: 20 * time.Minute},
		{Class: Telemetry, MaxBytes: 200 << 10, MaxAge: time.Hour},
		{Class: Telemetry, MaxRecords: 100, Overflow: Wait},
		{MaxRecords: 300, Overflow: Wait, MaxAge: time.Hour},
		{MaxBytes: 400 << 10, Overflow: Downsample, Series: modelSeries},
		{MaxRecords: 2000, Overflow: Downsample, MaxAge: 3 * time.Hour, DownsampleEvery: 10 * time.Second},
		{Class: Telemetry, MaxBytes: 400 << 10, Overflow: Downsample, Series: modelSeries, DownsampleEvery: 10 * time.Minute, MaxAge: 8 * time.Hour},
	}
	for i, o := range all {
		t.Run(fmt.Sprintf("%d-%d-%d", i, o.Class, o.Overflow), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				runModel(t, o, n/len(all), uint64(i))
			})
		})
	}
}

// modelSeries takes the series from the first byte and the value from the second.
func modelSeries(data []byte) (string, float64, bool) {
	switch {
	case len(data) < 2:
		return "", 0, false
	case data[1] > 200:
		return string(data[0] % 3), math.NaN(), true
	}
	return string(data[0] % 3), float64(data[1]), true
}

// A run is a spool with its model.
type run struct {
	t   *testing.T
	rng *rand.Rand
	s   *Spool
	m   *model
	d   *recorder
	o   Options

	waiting []byte // what someone waits to append; nil if nobody does
	stop    context.CancelFunc
	told    chan result
	seen    [4]uint64  // dropped, expired, downsampled, refused in all lives
	saved   checkpoint // the state on the card, as seen last
	lives   int
	alone   int // how long there is no reader, about
}

func runModel(t *testing.T, o Options, n int, seed uint64) {
	d := newRecorder()
	d.note = false
	o.disk, o.SegmentSize, o.InFlight, o.MaxRecord = d, minSegment, 50, 4<<10
	x := &run{t: t, rng: rand.New(rand.NewPCG(seed, 2)), d: d, o: o, told: make(chan result, 1), alone: 100 + 400*int(seed%2)}
	x.s = open(t, "model", o)
	x.m = newModel(x.s.opt)
	for i := range n {
		x.syncLayout()
		op := x.step()
		if t.Failed() {
			t.Fatalf("in operation %d, %s", i, op)
		}
		synctest.Wait()
		x.checkAdmitted()
		if err := x.m.compare(x.s.Stats()); err != nil {
			t.Fatalf("after operation %d, %s: %v", i, op, err)
		}
	}
	x.drain()
	x.reopen(x.o)
	if t.Failed() {
		t.FailNow()
	}
	t.Logf("%d operations, %d lives: %d dropped, %d expired, %d thinned out, %d refused", n, x.lives, x.seen[0], x.seen[1], x.seen[2], x.seen[3])
	for i, want := range []bool{o.Overflow == DropOldest && o.MaxAge == 0, o.MaxAge > 0, o.Overflow == Downsample, o.Overflow == DropNewest || o.Overflow == Wait} {
		if want && x.seen[i] == 0 && n >= 20000 {
			t.Errorf("none dropped, expired, thinned out or refused: %v", x.seen)
		}
	}
	closeSpool(t, x.s)
}

// step does one operation to both, and returns its name.
func (x *run) step() string {
	rng, m, s, t := x.rng, x.m, x.s, x.t
	name := []string{"a", "b", "c"}[min(2, rng.IntN(12)/5)]
	r := m.readers[name]
	op := rng.IntN(100)
	if r == nil && (op >= 45 && op < 90 || op == 99) {
		if op = 99; len(m.readers) == 0 && rng.IntN(x.alone) > 0 {
			op = 0 // for a while there is no reader
		}
	}
	switch {
	case op < 45:
		for range 1 + rng.IntN(4)*rng.IntN(2)*min(1, int(Downsample-m.o.Overflow)*int(Downsample-m.o.Overflow)) {
			x.append()
		}
		return "append"
	case op < 65:
		for range 1 + rng.IntN(8) {
			x.next(name, r)
		}
		return "next"
	case op < 90:
		x.confirm(name, r)
		return "confirm"
	case op < 91 && r != nil:
		r.cursor = r.committed
		reader(t, s, name).Rewind()
		return "rewind"
	case op < 92:
		if err := s.Sync(t.Context()); err != nil {
			t.Error(err)
		}
		return "sync"
	case op < 96:
		x.sleep()
		return "sleep"
	case op == 96 && rng.IntN(10) == 0:
		x.reopen(x.nextOptions())
		return "reopen"
	case op == 97 && m.o.Overflow == Wait:
		x.wait()
		return "wait"
	case op == 98 && rng.IntN(4) == 0:
		s.RemoveReader(name)
		delete(m.readers, name)
		m.advance()
		return "remove reader"
	case op == 99 && m.readers[name] == nil:
		reader(t, s, name)
		m.readers[name] = &modelReader{committed: m.floor, cursor: m.floor, out: map[uint64]bool{}}
		return "reader"
	}
	return "nothing"
}

// syncLayout tells the model how records are spread over files, and checks the pins
// of the segments.
func (x *run) syncLayout() {
	m, s := x.m, x.s
	m.now = s.clock()
	m.files = m.files[:0]
	s.mu.Lock()
	defer s.mu.Unlock()
	if was := x.saved; s.saved.floor < was.floor || s.saved.reserved < was.reserved || s.saved.written < was.written || s.saved.payload < was.payload || s.saved.at < was.at {
		x.t.Errorf("the card knew of %+v, now of %+v", was, s.saved)
	}
	if n := len(s.segs); n > 0 && s.saved.written < s.segs[n-1].head.wear.written {
		x.t.Errorf("the card knew of %+v by the newest header, and of %+v", s.segs[n-1].head.wear, s.saved)
	}
	x.saved = s.saved
	for i, seg := range s.segs {
		users := 0
		for _, r := range s.list {
			if r.cur.seg == seg {
				users++
			}
		}
		m.files = append(m.files, modelFile{seg.head.first, seg.last, users > 0})
		if seg.head.level != m.level[seg.head.first] && i+1 < len(s.segs) {
			x.t.Errorf("segment %d was thinned out %d times, want %d", seg.head.first, seg.head.level, m.level[seg.head.first])
		}
		if seg.pins < users || seg.pins > users+1 { // the writer, too, may be in it
			x.t.Errorf("segment %d has %d pins of %d readers", seg.head.first, seg.pins, users)
		}
	}
}

func (x *run) append() {
	rng, m, t := x.rng, x.m, x.t
	data := make([]byte, rng.IntN(1<<rng.IntN(13)))
	if rng.IntN(1000) == 0 {
		data = make([]byte, m.o.MaxRecord+1)
	}
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	seq, ok := m.append(data)
	err := x.s.AppendAsync(data, func(got uint64, err error) {
		if err != nil || got != seq {
			t.Errorf("appended %d, %v; want %d", got, err, seq)
		}
	})
	if ok != (err == nil) || !ok && !errors.Is(err, ErrFull) && !errors.Is(err, ErrTooLarge) {
		t.Errorf("append of %d bytes: %v; want %v", len(data), err, ok)
	}
}

func (x *run) next(name string, r *modelReader) bool {
	done, cancel := context.WithCancel(context.Background())
	cancel()
	want, gap, ok := x.m.nextOf(r)
	rec, err := reader(x.t, x.s, name).Next(done)
	if ok != (err == nil) || ok && (rec.Seq != want.seq || rec.Time != want.time || rec.Gap != gap || !bytes.Equal(rec.Data, want.data)) {
		x.t.Errorf("next of %s: %d of %d after %v, %v; want %d of %d after %v, %v", name, rec.Seq, rec.Time, rec.Gap, err, want.seq, want.time, gap, ok)
	}
	return ok
}

func (x *run) confirm(name string, r *modelReader) {
	var out []uint64
	for seq, confirmed := range r.out {
		if !confirmed {
			out = append(out, seq)
		}
	}
	slices.Sort(out)
	for range min((len(out)+1)/2, 1+x.rng.IntN(10)) {
		seq := out[x.rng.IntN(len(out))]
		if x.rng.IntN(4) > 0 {
			seq = out[0]
			out = out[1:]
		}
		if _, ok := r.out[seq]; ok {
			r.out[seq] = true
			r.advanceTo(0)
			x.m.advance()
		}
		if err := reader(x.t, x.s, name).Confirm(seq); err != nil {
			x.t.Error(err)
		}
	}
	if err := reader(x.t, x.s, name).Confirm(x.m.next); !errors.Is(err, ErrNotHandedOut) {
		x.t.Errorf("confirm of what does not exist: %v", err)
	}
}

// sleep lets time pass, so that records expire.
func (x *run) sleep() {
	x.cancelWait()
	before := x.s.Stats().Expired
	time.Sleep(time.Duration(x.rng.Uint64N(1<<x.rng.IntN(24))) * time.Millisecond)
	synctest.Wait()
	x.m.now = x.s.clock()
	age := x.m.o.MaxAge
	if err := x.m.expire(x.s.Stats().Expired-before, min(max(age/16, time.Millisecond), time.Minute)); err != nil {
		x.t.Error(err)
	}
}

// wait starts an append that waits for space, if there is none.
func (x *run) wait() {
	data := make([]byte, 100+x.rng.IntN(900))
	if x.waiting != nil || !x.m.over(1, uint64(recordSize(len(data)))) {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	x.waiting, x.stop = data, stop
	go func() {
		seq, err := x.s.Append(ctx, data)
		x.told <- result{seq, err}
	}()
}

// checkAdmitted checks that a waiting append is admitted exactly if there is space.
func (x *run) checkAdmitted() {
	if x.waiting == nil {
		return
	}
	spaceFreed := !x.m.over(1, uint64(recordSize(len(x.waiting))))
	select {
	case r := <-x.told:
		if !spaceFreed || r.err != nil || r.seq != x.m.next {
			x.t.Fatalf("who waited was told %d, %v; want %d, room: %v", r.seq, r.err, x.m.next, spaceFreed)
		}
		x.m.add(modelRecord{x.m.next, x.m.now, x.waiting})
		x.waiting = nil
		x.stop()
	default:
		if spaceFreed {
			x.t.Fatalf("there is room, and still %d bytes wait", len(x.waiting))
		}
	}
}

// cancelWait ends the wait.
func (x *run) cancelWait() {
	if x.waiting == nil {
		return
	}
	x.stop()
	if r := <-x.told; !errors.Is(r.err, context.Canceled) {
		x.t.Errorf("who gave up was told %d, %v", r.seq, r.err)
	}
	x.waiting = nil
}

// nextOptions returns the options for the next life, mostly the same.
func (x *run) nextOptions() Options {
	o := x.o
	switch x.rng.IntN(6) {
	case 0:
		o.MaxBytes, o.MaxRecord = 30<<10, 1<<10
	case 1:
		o.SegmentSize = 2 * minSegment
	case 2:
		o.Class = Telemetry - o.Class
	case 3:
		o.Overflow, o.MaxRecords, o.Series = OverflowPolicy(x.rng.IntN(4)), uint64(50+x.rng.IntN(400)), modelSeries
	}
	return o
}

// reopen closes the spool and opens it with other options.
func (x *run) reopen(o Options) {
	m, t := x.m, x.t
	st := x.s.Stats()
	for i, n := range []uint64{st.Dropped.Oldest, st.Expired, st.Dropped.Downsampled, st.Refused.Full} {
		x.seen[i] += n
	}
	x.lives++
	if x.waiting != nil {
		synctest.Wait()
	}
	closeSpool(t, x.s)
	if x.waiting != nil {
		if r := <-x.told; !errors.Is(r.err, ErrClosed) {
			t.Errorf("who waited was told %d, %v", r.seq, r.err)
		}
		x.waiting = nil
		x.stop()
	}
	last := x.s.Stats().Writes
	c, err := inspect(x.d)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.state.wear.summary(); got.Payload != last.Total.Payload || got.Written != last.Total.Written {
		t.Fatalf("closed with %+v, on the card is %+v", last.Total, got)
	}
	m.files = m.files[:0]
	for _, seg := range c.segs {
		m.files = append(m.files, modelFile{seg.head.first, seg.last, false})
	}
	x.saved = checkpoint{}
	x.s = open(t, "model", o)
	synctest.Wait()
	if c := x.s.Stats().Writes; c.Total.Written != last.Total.Written+c.Written {
		t.Fatalf("opened with %+v, closed with %+v", c, last)
	}
	if err := m.reopen(x.s.opt); err != nil {
		t.Error(err)
	}
	if err := m.compare(x.s.Stats()); err != nil {
		t.Fatalf("opened again with %+v: %v", o, err)
	}
}

// drain lets a reader read all there is.
func (x *run) drain() {
	x.cancelWait()
	r := x.m.readers["a"]
	if r == nil {
		reader(x.t, x.s, "a")
		r = &modelReader{committed: x.m.floor, cursor: x.m.floor, out: map[uint64]bool{}}
		x.m.readers["a"] = r
	}
	for x.next("a", r) || len(r.out) > 0 {
		x.confirm("a", r)
		if x.t.Failed() {
			x.t.FailNow()
		}
	}
	synctest.Wait()
	if err := x.m.compare(x.s.Stats()); err != nil {
		x.t.Fatal(err)
	}
}
