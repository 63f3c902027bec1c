package load

import (
	"errors"
	"math"
	"sync"
	"testing"
	"time"
)

func TestLatencies(t *testing.T) {
	var l latencies
	if got := l.percentile(99); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
	for i := range 1000 {
		l.add(time.Duration(i+1) * time.Millisecond)
	}
	for p, want := range map[uint64]time.Duration{50: 500 * time.Millisecond, 99: 990 * time.Millisecond, 100: time.Second} {
		if got := l.percentile(p); got < want || got > want+want/fine {
			t.Errorf("p%d: got %v, want %v or a little more", p, got, want)
		}
	}
	for _, d := range []time.Duration{0, 1, 31, 32, 33, 63, 64, 1e6, 1e9, math.MaxInt64} {
		b := bucket(uint64(d))
		if bucketMax(b) < d || b > 0 && bucketMax(b-1) >= d {
			t.Errorf("%d ns is in the bucket from %d to %d", d, bucketMax(max(b, 1)-1)+1, bucketMax(b))
		}
	}
}

func TestDrive(t *testing.T) {
	var mu sync.Mutex
	added, acked := map[uint64]bool{}, map[uint64]bool{}
	r, err := Drive(Load{First: 7, Size: 100, Flight: 4, Count: 50, Acked: func(n uint64) {
		mu.Lock()
		acked[n] = true
		mu.Unlock()
	}}, func(data []byte) error {
		mu.Lock()
		defer mu.Unlock()
		if len(data) != 100 || acked[Number(data)] {
			t.Errorf("record %d, %d bytes: acknowledged already: %v", Number(data), len(data), acked[Number(data)])
		}
		added[Number(data)] = true
		return nil
	})
	if err != nil || r.Records != 50 || len(added) != 50 || len(acked) != 50 || !added[7] || !added[56] {
		t.Errorf("%+v, %v: added %d, acknowledged %d", r, err, len(added), len(acked))
	}
	failed := errors.New("no")
	r, err = Drive(Load{Size: 8, Flight: 2, For: time.Hour}, func([]byte) error { return failed })
	if !errors.Is(err, failed) || r.Records != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}
