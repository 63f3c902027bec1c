package spool

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// Many append, read, rewind and remove readers at once while records are dropped, expire and
// are downsampled and segments are retired. Each reader gets what was written, in
// order and each record once, and the figures add up at every moment.
func TestStress(t *testing.T) {
	for i, o := range []Options{
		{MaxBytes: 300 << 10, Overflow: Downsample, DownsampleEvery: time.Millisecond, MaxAge: 2 * time.Second},
		{Class: Telemetry, MaxBytes: 300 << 10, Overflow: Downsample, DownsampleEvery: time.Second, FlushEvery: time.Millisecond, CommitEvery: time.Millisecond},
		{MaxRecords: 500, MaxAge: 20 * time.Millisecond},
		{Class: Telemetry, MaxBytes: 200 << 10, Overflow: Wait, CommitEvery: time.Millisecond, Memory: 32 << 10},
		{MaxBytes: 200 << 10, Overflow: Wait},
	} {
		t.Run(fmt.Sprintf("%d-%d-%d", i, o.Class, o.Overflow), func(t *testing.T) {
			t.Parallel()
			stress(t, o, short(20000))
		})
	}
}

func stress(t *testing.T, o Options, n int) {
	d := newRecorder()
	d.note = false
	o.disk, o.SegmentSize, o.MaxRecord, o.InFlight = d, minSegment, 4<<10, 100
	s := open(t, "storm", o)
	ctx, cancel := context.WithCancel(t.Context())
	var appenders, others sync.WaitGroup
	reader(t, s, "always")
	others.Add(4)
	for i, name := range []string{"always", "often", "slow", "none"} {
		go func() {
			defer others.Done()
			stressReader(ctx, t, s, name, rand.New(rand.NewPCG(uint64(i), 5)))
		}()
	}
	appenders.Add(4)
	for i := range 4 {
		go func() {
			defer appenders.Done()
			rng := rand.New(rand.NewPCG(uint64(i), 4))
			for range n / 4 {
				if _, err := s.Append(ctx, stressData(rng)); err != nil {
					t.Error(err)
					return
				}
			}
		}()
	}
	appenders.Wait()
	cancel()
	others.Wait()
	st := checkAccounting(t, s)
	if st.Accepted < uint64(n/4*4) || len(st.Damage.Findings) > 0 || st.Failures > 0 {
		t.Errorf("got %+v", st)
	}
	t.Logf("%d accepted, %d delivered, %d dropped, %d thinned out, %d expired, %d queued", st.Accepted, st.Delivered, st.Dropped.Oldest, st.Dropped.Downsampled, st.Expired, st.Queued)
	closeSpool(t, s)
	st = checkAccounting(t, s) // some may have expired
	for _, seg := range s.segs {
		if seg.pins > 0 {
			t.Errorf("%s is pinned %d times by nobody", seg.name, seg.pins)
		}
	}
	s = open(t, "storm", o)
	if again := checkAccounting(t, s); again.Found != st.Queued || again.Damage.Found > 0 {
		t.Errorf("closed with %d queued, opened with %+v", st.Queued, again)
	}
	closeSpool(t, s)
}

// stressData is a record with a checksum.
func stressData(rng *rand.Rand) []byte {
	b := make([]byte, 8+rng.IntN(1<<rng.IntN(11)))
	binary.LittleEndian.PutUint32(b[4:], rng.Uint32())
	binary.LittleEndian.PutUint32(b, crc32.ChecksumIEEE(b[4:]))
	return b
}

func stressReader(ctx context.Context, t *testing.T, s *Spool, name string, rng *rand.Rand) {
	for ctx.Err() == nil {
		r, err := s.Reader(name)
		if err != nil {
			t.Error(err)
			return
		}
		last := r.Position()
		var out []uint64
		for {
			rec, err := r.Next(ctx)
			if ctx.Err() != nil || errors.Is(err, ErrClosed) {
				break
			}
			if err != nil || rec.Seq <= last || binary.LittleEndian.Uint32(rec.Data) != crc32.ChecksumIEEE(rec.Data[4:]) {
				t.Errorf("%s: %d after %d, %d bytes, %v", name, rec.Seq, last, len(rec.Data), err)
				return
			}
			if g := rec.Gap; g.From > 0 && (g.To != rec.Seq-1 || g.From <= last) {
				t.Errorf("%s: %d after %d: gap %+v", name, rec.Seq, last, g)
				return
			}
			last = rec.Seq
			out = append(out, rec.Seq)
			switch {
			case rng.IntN(500) == 0:
				r.Rewind()
				last, out = r.Position(), nil
			case name != "always" && rng.IntN(1000) == 0:
				s.RemoveReader(name)
			case len(out) > rng.IntN(50):
				rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
				for _, seq := range out {
					if err := r.Confirm(seq); err != nil && !errors.Is(err, ErrClosed) {
						t.Error(err)
					}
				}
				out = nil
			}
			if name == "slow" && rng.IntN(20) == 0 {
				time.Sleep(time.Millisecond)
			}
			if st := s.Stats(); st.Accepted != st.Delivered+st.Queued+st.Expired+st.Dropped.Oldest+st.Dropped.Downsampled+st.Dropped.Damaged {
				t.Errorf("the sum is wrong: %+v", st)
				return
			}
		}
	}
}
