package bformat

import "sync"

// quotas are how many bytes each sender is to lose.
type quotas struct {
	index  map[Class]int // into bytes
	bytes  []int
	last   Class // the class looked up last, and its index; 0 if none
	lastAt int
}

var quotasPool = sync.Pool{New: func() any { return &quotas{index: make(map[Class]int)} }}

// newQuotas returns what each sender is to lose so that the frames in b, with their
// classes, take about excess bytes less: whatever a sender holds above one level, which is
// the same for all.
func newQuotas(b []byte, classes []Class, excess int) *quotas {
	q := quotasPool.Get().(*quotas)
	r, most := 0, 0
	for _, c := range classes {
		size := frameSize(b[r:])
		if c.droppable() {
			held := q.of(c)
			*held += size
			most = max(most, *held)
		}
		r += size
	}
	// The highest level that frees enough lies in [low, high].
	low, high := 0, most
	for low < high {
		level, freed := low+(high-low+1)/2, 0
		for _, held := range q.bytes {
			freed += max(0, held-level)
		}
		if freed >= excess {
			low = level
		} else {
			high = level - 1
		}
	}
	for i := range q.bytes {
		q.bytes[i] = max(0, q.bytes[i]-low)
	}
	return q
}

// of returns the bytes of a class, until of is called for another.
func (q *quotas) of(c Class) *int {
	if c != q.last {
		at, ok := q.index[c]
		if !ok {
			at = len(q.bytes)
			q.bytes = append(q.bytes, 0)
			q.index[c] = at
		}
		q.last, q.lastAt = c, at
	}
	return &q.bytes[q.lastAt]
}

// take reports whether a class loses a frame of so many bytes, and counts it.
func (q *quotas) take(c Class, size int) bool {
	left := q.of(c)
	if *left <= 0 {
		return false
	}
	*left -= size
	return true
}

// release returns q to its pool.
func (q *quotas) release() {
	clear(q.index)
	q.bytes, q.last = q.bytes[:0], 0
	quotasPool.Put(q)
}
