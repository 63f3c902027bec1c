package load

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// latencies counts durations in buckets of about 3 %, in constant memory.
type latencies struct {
	buckets [64 * fine]atomic.Uint64
	n       atomic.Uint64
}

const fine = 32 // buckets for each power of two

func (l *latencies) add(d time.Duration) {
	l.buckets[bucket(uint64(max(d, 0)))].Add(1)
	l.n.Add(1)
}

func bucket(ns uint64) int {
	if ns < fine {
		return int(ns)
	}
	shift := bits.Len64(ns) - bits.Len64(fine)
	return shift*fine + int(ns>>shift)
}

// bucketMax is the longest duration in a bucket.
func bucketMax(b int) time.Duration {
	if b < fine {
		return time.Duration(b)
	}
	shift := b/fine - 1
	return time.Duration((uint64(b-shift*fine)+1)<<shift - 1)
}

// percentile is the duration that p percent did not exceed.
func (l *latencies) percentile(p uint64) time.Duration {
	n := l.n.Load()
	for b, seen := 0, uint64(0); b < len(l.buckets); b++ {
		if seen += l.buckets[b].Load(); n > 0 && seen*100 >= n*p {
			return bucketMax(b)
		}
	}
	return 0
}
