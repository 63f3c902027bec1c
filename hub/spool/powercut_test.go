package spool

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

var cutStates = flag.Int("spool.cuts", 2000, "states after power cuts to check")

// A life is one run of a program on a card.
type life struct {
	d        *recorder
	w        *oracle
	rng      *rand.Rand
	luck     *rand.Rand // of the card
	number   *uint64    // of the record appended last, in all lives
	s        *Spool
	up       *Reader
	down     *Reader
	out      []uint64 // handed out by up
	inMemory []acked
	err      error // of observe
}

// canceledContext is a context with which no call waits.
func canceledContext() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// observe is called before each operation on the disk, and notes its effect on
// records.
func (l *life) observe(o op) {
	if l.s != nil {
		l.s.mu.Lock()
		floor := l.s.floor
		l.s.mu.Unlock()
		l.d.ops = append(l.d.ops, op{kind: opEvent, event: droppedTo{floor}})
	}
	if o.kind == opRename && o.from == downsampleName {
		gone, err := l.w.kind.downsampledBy(l.d.validPart(o.to), l.d.names[o.from].data)
		if err != nil {
			l.err = err
		}
		l.d.ops = append(l.d.ops, op{kind: opEvent, event: downsampled{gone}})
	}
}

// validPart is a segment up to its valid end. What follows was abandoned and written
// again in another segment. Called under mu.
func (d *recorder) validPart(name string) []byte {
	data := d.names[name].data
	h, err := parseHeader(data)
	if err != nil {
		return data
	}
	if h.level > 0 {
		return data[:h.ownEnd]
	}
	for name, n := range d.names {
		if next, err := parseHeader(n.data); err == nil && strings.HasSuffix(name, segmentSuffix) && next.prev == h.first {
			return data[:next.prevEnd]
		}
	}
	return data
}

// fault makes the card fail now and then.
func (l *life) fault(kind opKind, _ string) error {
	if kind != opRemove && l.luck.IntN(40) == 0 {
		return unix.EIO
	}
	return nil
}

func (l *life) run() error {
	l.d.watch = l.observe
	c, err := inspect(l.d)
	if err != nil {
		return err
	}
	before := openedWith{c.state.wear.payload, c.state.wear.written}
	s, err := Open("life", l.w.kind.options(l.d))
	if err != nil {
		return err
	}
	if total := s.Stats().Writes.Total; total.Payload != before.payload || total.Written < before.written {
		return fmt.Errorf("opened with the totals %+v, on the card were %+v", total, before)
	}
	l.d.mu.Lock()
	l.s = s
	s.mu.Lock()
	l.d.ops = slices.Insert(l.d.ops, 0, op{kind: opEvent, event: droppedTo{s.floor}}, op{kind: opEvent, event: before}) // by Open itself
	s.mu.Unlock()
	l.d.mu.Unlock()
	if l.up, err = s.Reader("up"); err != nil {
		return err
	}
	if s.readers["down"] != nil {
		l.down, _ = s.Reader("down")
	}
	if l.w.kind.fails {
		l.d.mu.Lock()
		l.d.fault = l.fault
		l.d.mu.Unlock()
	}
	// A reader that keeps up lets segments be recycled.
	keepsUp, steps := l.rng.IntN(2) == 0, 6+l.rng.IntN(30)
	if keepsUp {
		steps *= 3
	}
	for range steps {
		if err := l.step(keepsUp); err != nil {
			return err
		}
	}
	err = l.persist(func() error { return s.Close(context.Background()) })
	if err == nil && s.saved.closed && !l.w.kind.fails {
		total := s.Stats().Writes.Total
		l.d.event(closedWith{s.next, total.Payload, total.Written})
	}
	return cmp.Or(err, l.err)
}

func (l *life) step(keepsUp bool) error {
	s, d, rng := l.s, l.d, l.rng
	op := rng.IntN(7)
	if l.w.kind.age > 0 && rng.IntN(6) == 0 {
		op = 7
	}
	switch op {
	case 0, 1, 2:
		return l.append(1 + rng.IntN(12))
	case 3:
		n := rng.IntN(20)
		if l.w.kind.full == Downsample {
			n /= 5
		}
		if keepsUp {
			n = 1000
		}
		for range n {
			rec, err := l.up.Next(canceledContext())
			if err != nil {
				break
			}
			d.event(delivered{rec.Seq})
			l.out = append(l.out, rec.Seq)
		}
	case 4:
		rng.Shuffle(len(l.out), func(i, j int) { l.out[i], l.out[j] = l.out[j], l.out[i] })
		n := rng.IntN(len(l.out) + 1)
		if keepsUp {
			n = len(l.out)
		}
		for _, seq := range l.out[:n] {
			d.event(confirmed{"up", seq})
			if err := l.up.Confirm(seq); err != nil {
				return err
			}
		}
		l.out = l.out[n:]
	case 5:
		if rng.IntN(3) == 0 {
			l.up.Rewind()
			l.out = nil
		}
		return l.persist(func() error { return s.Sync(context.Background()) })
	case 6:
		return l.stepSecondReader()
	case 7:
		time.Sleep(time.Duration(rng.Int64N(int64(l.w.kind.age))))
	}
	return nil
}

func (l *life) append(n int) error {
	var all sync.WaitGroup
	for range n {
		*l.number++
		n := *l.number
		l.w.sent[n] = true
		all.Add(1)
		err := l.s.AppendAsync(l.w.kind.data(n), func(seq uint64, err error) {
			if err == nil && l.w.kind.class == Durable {
				l.d.event(acked{seq, n})
			} else if err == nil {
				l.inMemory = append(l.inMemory, acked{seq, n})
			}
			all.Done()
		})
		if err != nil {
			all.Done()
			if !l.w.kind.fails {
				return err
			}
			time.Sleep(retryEvery)
		}
	}
	all.Wait()
	return nil
}

// stepSecondReader creates the second reader, lets it read all there is, or removes
// it.
func (l *life) stepSecondReader() error {
	var err error
	switch {
	case l.down == nil && l.rng.IntN(2) == 0:
		l.d.event(other{"begin"})
		l.down, err = l.s.Reader("down")
	case l.down != nil && l.rng.IntN(3) == 0:
		l.d.event(other{"end"})
		l.s.RemoveReader("down")
		l.down = nil
	case l.down != nil:
		for {
			rec, err := l.down.Next(canceledContext())
			if err != nil {
				break
			}
			l.d.event(delivered{rec.Seq})
			l.d.event(confirmed{"down", rec.Seq})
			if err := l.down.Confirm(rec.Seq); err != nil {
				return err
			}
		}
	}
	return err
}

// persist calls sync, which writes everything to the card, and notes what is there
// then.
func (l *life) persist(sync func() error) error {
	was := []persisted{{"up", l.up.Position()}}
	is := "gone"
	if l.down != nil {
		was, is = append(was, persisted{"down", l.down.Position()}), "there"
	}
	if err := sync(); err != nil {
		if l.w.kind.fails {
			return nil
		}
		return err
	}
	for _, k := range was {
		l.d.event(k)
	}
	l.d.event(other{is})
	for _, a := range l.inMemory {
		l.d.event(a)
	}
	l.inMemory = nil
	return nil
}

// A cutTally counts what the cuts covered.
type cutTally struct{ states, reused, downsampled int }

// cuts runs lives, each on what a cut left of the one before. It checks states after
// cuts at every operation, until n were checked.
func cuts(n int, seed uint64, set func(*recorder)) (sum cutTally, err error) {
	rng := rand.New(rand.NewPCG(seed, 1))
	for sum.states < n {
		kind := lifeKind{class: Class(rng.IntN(2)), fails: rng.IntN(4) == 0}
		switch rng.IntN(3) {
		case 0:
			kind.full = Downsample
		case 1:
			kind.age = 10 * time.Minute
		}
		w, image, number := newOracle(kind), map[string][]byte{}, uint64(0)
		for range 1 + rng.IntN(4) {
			card, d := newCrashDisk(image)
			set(d)
			l := life{d: d, w: w, rng: rng, luck: rand.New(rand.NewPCG(seed, rng.Uint64())), number: &number}
			if err := l.run(); err != nil {
				return sum, fmt.Errorf("seed %d: %w", seed, err)
			}
			next := rng.IntN(len(d.ops))
			var nextWitness *oracle
			for i, o := range d.ops {
				card.observe(o)
				w.observe(o)
				if i == next {
					image, nextWitness = card.cut(rng), w.clone()
				}
				if o.kind == opRename && strings.HasSuffix(o.from, preallocatedSuffix) {
					sum.reused++
				}
				if o.kind == opRename && o.from == downsampleName {
					sum.downsampled++
				}
				if _, end := o.event.(closedWith); !end && o.from != downsampleName && rng.IntN(3) > 0 {
					continue
				}
				sum.states++
				if err := w.check(card.cut(rng)); err != nil {
					return sum, fmt.Errorf("seed %d, %+v, after operation %d of %d (%s %s): %w", seed, kind, i, len(d.ops), o.kind, o.from+o.to, err)
				}
			}
			w = nextWitness
			w.closed = closedWith{}
		}
	}
	return sum, nil
}

func TestPowerCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := short(*cutStates)
		var all cutTally
		for seed := range uint64(4) {
			sum, err := cuts(n/4, seed, func(*recorder) {})
			if err != nil {
				t.Fatal(err)
			}
			all = cutTally{all.states + sum.states, all.reused + sum.reused, all.downsampled + sum.downsampled}
		}
		t.Logf("%d states; %d segments were used again, %d thinned out", all.states, all.reused, all.downsampled)
		if n >= 2000 && (all.reused == 0 || all.downsampled == 0) {
			t.Error("no segment was used again or none was thinned out")
		}
	})
}

// The recorder must catch a spool that omits any one of its syncs.
func TestPowerCutIsNoticed(t *testing.T) {
	file := func(is func(name string) bool) func(*recorder) {
		return func(d *recorder) { d.ignoreSync = is }
	}
	named := func(name string) func(*recorder) { return file(func(n string) bool { return n == name }) }
	folder := func(is func(last op) bool) func(*recorder) {
		return func(d *recorder) { d.ignoreDirSync = is }
	}
	for name, set := range map[string]func(*recorder){
		"records":        file(func(name string) bool { return strings.HasSuffix(name, segmentSuffix) }),
		"new segment":    named("segment" + newSuffix),
		"used segment":   file(func(name string) bool { return strings.HasSuffix(name, preallocatedSuffix) && name != reserveName }),
		"thinned out":    named(downsampleName),
		"id":             named(idName + newSuffix),
		"name of id":     folder(func(last op) bool { return last.to == idName }),
		"name of new":    folder(func(last op) bool { return last.from == "segment"+newSuffix }),
		"name of spare":  folder(func(last op) bool { return strings.HasSuffix(last.to, preallocatedSuffix) }),
		"name of reused": folder(func(last op) bool { return strings.HasSuffix(last.from, preallocatedSuffix) }),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if sum, err := cuts(20000, 1, set); err == nil {
					t.Errorf("%+v without a sync, and nothing was noticed", sum)
				} else {
					t.Log(sum, err)
				}
			})
		})
	}
}
