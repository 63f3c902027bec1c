package spool

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
)

var cutStates = flag.Int("spool.cuts", 2000, "states after power cuts to check")

// What a workload notes in the recorder.
type (
	acked     struct{ seq uint64 }
	confirmed struct{ seq uint64 } // about to be
	kept      struct{ seq uint64 } // the position is on the card
	handed    struct{ seq uint64 } // out to the reader
)

// A witness knows what must hold after a power cut.
type witness struct {
	sent      map[uint64]bool   // numbers of records that were ever appended
	acked     map[uint64]uint64 // sequence → number
	confirmed uint64            // the position is at most here
	kept      uint64            // and at least here
	handed    uint64            // the highest sequence anyone has seen
	done      map[uint64]bool   // confirmed
	class     Class
}

func newWitness(class Class) *witness {
	return &witness{sent: map[uint64]bool{}, acked: map[uint64]uint64{}, done: map[uint64]bool{}, class: class}
}

func (w *witness) clone() *witness {
	c := *w
	c.acked, c.done = maps.Clone(w.acked), maps.Clone(w.done)
	return &c // sent is shared: what was sent was sent
}

func (w *witness) see(o op) {
	switch e := o.event.(type) {
	case acked:
		w.acked[e.seq>>32] = e.seq & (1<<32 - 1)
	case confirmed:
		w.confirmed = max(w.confirmed, e.seq)
		w.done[e.seq] = true
	case handed:
		w.handed = max(w.handed, e.seq)
	case kept:
		w.kept = max(w.kept, e.seq)
	}
}

func cutOptions(d disk, class Class) Options {
	return Options{Class: class, SegmentSize: minSegment, MaxBytes: 1 << 40, MaxRecord: 8 << 10, disk: d}
}

// check opens what a power cut left and reads it all.
func (w *witness) check(image map[string][]byte) error {
	d := newRecorder()
	d.note = false
	for name, data := range image {
		d.names[name] = &inode{name, append([]byte(nil), data...)}
	}
	s, err := Open("cut", cutOptions(d, w.class))
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer s.Close(context.Background())
	if n := s.Stats().Damage.Found; n != 0 {
		id := ""
		if image[idName] != nil {
			id = string(image[idName])
		}
		for _, n := range slices.Sorted(maps.Keys(image)) {
			if h, err := parseHeader(image[n]); err == nil {
				id += fmt.Sprintf("\n%s %+v", n, *h)
			}
		}
		return fmt.Errorf("a power cut is no damage: %+v; %s", s.Stats().Damage, id)
	}
	r, err := s.Reader("up")
	if err != nil {
		return err
	}
	at := r.Position()
	// A position among telemetry that was never written need not be either.
	if at > w.confirmed || at < w.kept && w.class == Durable {
		return fmt.Errorf("position %d, want from %d to %d", at, w.kept, w.confirmed)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	got, last := map[uint64]bool{}, at
	for {
		rec, err := r.Next(ctx)
		if errors.Is(err, context.Canceled) {
			break
		}
		if err != nil {
			return err
		}
		number := uint64(binary.LittleEndian.Uint32(rec.Data))
		switch {
		case rec.Seq <= w.kept:
			return fmt.Errorf("record %d comes again, committed to %d", rec.Seq, w.kept)
		case rec.Seq <= last:
			return fmt.Errorf("record %d after %d", rec.Seq, last)
		case !w.sent[number] || len(rec.Data) != size(number):
			return fmt.Errorf("record %d was never written", rec.Seq)
		}
		if want, ok := w.acked[rec.Seq]; ok && number != want {
			return fmt.Errorf("record %d is number %d, want %d", rec.Seq, number, want)
		}
		last, got[rec.Seq] = rec.Seq, true
	}
	for seq := range w.acked {
		if seq > at && !got[seq] && (w.class == Durable || !w.done[seq]) {
			return fmt.Errorf("record %d was acknowledged and is lost; position %d; %+v", seq, at, s.Stats())
		}
	}
	if st := s.Stats(); st.Queued != uint64(len(got)) {
		return fmt.Errorf("%d queued, %d handed out", st.Queued, len(got))
	}
	if seq, err := s.Append(context.Background(), []byte("after")); err != nil || seq <= max(last, w.handed) {
		return fmt.Errorf("append after the cut: %d, %v; last was %d", seq, err, max(last, w.handed))
	}
	return nil
}

func size(number uint64) int { return 4 + int((number*2654435761>>7)%(1<<(3+number%10))) }

// life runs a program on a card for a while.
func life(d *recorder, w *witness, rng *rand.Rand, number *uint64) error {
	s, err := Open("life", cutOptions(d, w.class))
	if err != nil {
		return err
	}
	r, err := s.Reader("up")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var out, inMemory []uint64
	safe := func() {
		for _, a := range inMemory {
			d.event(acked{a})
		}
		inMemory = nil
	}
	// A reader that keeps up lets segments be used again.
	keepsUp, steps := rng.IntN(2) == 0, 6+rng.IntN(30)
	if keepsUp {
		steps *= 3
	}
	for range steps {
		switch rng.IntN(6) {
		case 0, 1, 2:
			var all sync.WaitGroup
			for range 1 + rng.IntN(12) {
				*number++
				n := *number
				w.sent[n] = true
				data := make([]byte, size(n))
				binary.LittleEndian.PutUint32(data, uint32(n))
				all.Add(1)
				err := s.AppendAsync(data, func(seq uint64, err error) {
					if err == nil && w.class == Durable {
						d.event(acked{seq<<32 | n})
					} else if err == nil {
						inMemory = append(inMemory, seq<<32|n)
					}
					all.Done()
				})
				if err != nil {
					return err
				}
			}
			all.Wait()
		case 3:
			n := rng.IntN(20)
			if keepsUp {
				n = 1000
			}
			for range n {
				rec, err := r.Next(ctx)
				if err != nil {
					break
				}
				d.event(handed{rec.Seq})
				out = append(out, rec.Seq)
			}
		case 4:
			rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
			n := rng.IntN(len(out) + 1)
			if keepsUp {
				n = len(out)
			}
			for _, seq := range out[:n] {
				d.event(confirmed{seq})
				if err := r.Confirm(seq); err != nil {
					return err
				}
			}
			out = out[n:]
		case 5:
			if rng.IntN(3) == 0 {
				r.Rewind()
				out = nil
			}
			at := r.Position()
			if err := s.Sync(context.Background()); err != nil {
				return err
			}
			d.event(kept{at})
			safe()
		}
	}
	at := r.Position()
	if err := s.Close(context.Background()); err != nil {
		return err
	}
	d.event(kept{at})
	safe()
	return nil
}

// cuts runs lives, each on what a cut left of the one before, and checks states
// after cuts at every operation, until n were.
func cuts(n int, seed uint64, set func(*recorder)) (states, reused int, err error) {
	rng := rand.New(rand.NewPCG(seed, 1))
	for states < n {
		w, image, number := newWitness(Class(rng.IntN(2))), map[string][]byte{}, uint64(0)
		for range 1 + rng.IntN(4) {
			card, d := newCard(image)
			set(d)
			if err := life(d, w, rng, &number); err != nil {
				return states, reused, err
			}
			next := rng.IntN(len(d.ops))
			for _, o := range d.ops {
				if o.kind == opRename && strings.HasSuffix(o.from, spareSuffix) {
					reused++
				}
			}
			var nextWitness *witness
			for i, o := range d.ops {
				card.take(o)
				w.see(o)
				if i == next {
					image, nextWitness = card.cut(rng), w.clone()
				}
				if rng.IntN(3) > 0 {
					continue
				}
				states++
				if err := w.check(card.cut(rng)); err != nil {
					return states, reused, fmt.Errorf("seed %d, after operation %d of %d (%s %s): %w", seed, i, len(d.ops), o.kind, o.from+o.to, err)
				}
			}
			w = nextWitness
		}
	}
	return states, reused, nil
}

func TestPowerCut(t *testing.T) {
	n := short(*cutStates)
	again := 0
	for seed := range uint64(4) {
		states, reused, err := cuts(n/4, seed, func(*recorder) {})
		if err != nil {
			t.Fatal(err)
		}
		again += reused
		t.Logf("%d states; %d segments were used again", states, reused)
	}
	if again == 0 && !testing.Short() && !raceEnabled {
		t.Error("no segment was used again")
	}
}

// The recorder must catch a spool that does not sync.
func TestPowerCutIsNoticed(t *testing.T) {
	for name, set := range map[string]func(*recorder){
		"appends":      func(d *recorder) { d.deaf = func(name string) bool { return strings.HasSuffix(name, segmentSuffix) } },
		"new segments": func(d *recorder) { d.deaf = func(name string) bool { return !strings.HasSuffix(name, segmentSuffix) } },
		"folder":       func(d *recorder) { d.deafDir = true },
	} {
		t.Run(name, func(t *testing.T) {
			if states, _, err := cuts(2000, 1, set); err == nil {
				t.Errorf("%d states without a sync, and nothing was noticed", states)
			} else {
				t.Log(err)
			}
		})
	}
}
