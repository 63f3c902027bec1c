package bformat

import "sync"

// quotas are how many bytes each sender is to lose.
type quotas struct {
	index  map[Class]int // of a sender in the slices below
	held   []int         // bytes that it has in the queue
	left   []int         // bytes that it is still to lose
	last   Class         // the class looked up last, and its index; 0 if none
	lastAt int
	frames []quotaFrame
}

// A quotaFrame is a droppable frame: the index of its sender, and its bytes.
type quotaFrame struct{ sender, size int }

var quotasPool = sync.Pool{New: func() any { return &quotas{index: make(map[Class]int)} }}

// newQuotas returns what each sender is to lose so that the frames in b, with their
// classes, take excess bytes less. Whoever holds more than a level, which is the same for
// all, comes down to it, but keeps a frame that is longer than what it holds over it: a
// sender of few long frames does not lose them to one of many short ones. Where that frees
// too little, since the long frames themselves are what is too much, those who hold most lose.
func newQuotas(b []byte, classes []Class, excess int) *quotas {
	q := quotasPool.Get().(*quotas)
	longest := 0
	for r := 0; len(classes) > 0; classes = classes[1:] {
		size := frameSize(b[r:])
		if c := classes[0]; c.droppable() {
			at := q.of(c)
			q.held[at] += size
			q.frames = append(q.frames, quotaFrame{at, size})
			longest = max(longest, size)
		}
		r += size
	}
	level := q.level(excess)
	// A level that is lower by the longest frame frees enough in whole frames.
	low, high := max(level-longest, level/2), level
	if q.set(low, excess) < excess {
		q.setLargest(excess)
		return q
	}
	for low < high {
		if middle := low + (high-low+1)/2; q.set(middle, excess) >= excess {
			low = middle
		} else {
			high = middle - 1
		}
	}
	q.set(low, excess)
	return q
}

// level returns the highest level over which the senders hold excess bytes together.
func (q *quotas) level(excess int) int {
	low, high := 0, 0
	for _, held := range q.held {
		high = max(high, held)
	}
	for low < high {
		level, over := low+(high-low+1)/2, 0
		for _, held := range q.held {
			over += max(0, held-level)
		}
		if over >= excess {
			low = level
		} else {
			high = level - 1
		}
	}
	return low
}

// set has each sender lose what it holds over a level. It returns how many bytes that frees in
// whole frames, of which it looks at no more than needed for excess.
func (q *quotas) set(level, excess int) (freed int) {
	for i, held := range q.held {
		q.left[i] = max(0, held-level)
	}
	for _, f := range q.frames {
		if q.left[f.sender] >= f.size {
			q.left[f.sender] -= f.size
			if freed += f.size; freed >= excess {
				break
			}
		}
	}
	for i, held := range q.held {
		q.left[i] = max(0, held-level)
	}
	return freed
}

// setLargest has the senders that hold most lose all they have, as many as it takes.
func (q *quotas) setLargest(excess int) {
	clear(q.left)
	for excess > 0 {
		most := -1
		for i, held := range q.held {
			if q.left[i] == 0 && (most < 0 || held > q.held[most]) {
				most = i
			}
		}
		if most < 0 {
			return
		}
		q.left[most] = q.held[most]
		excess -= q.held[most]
	}
}

// of returns the index of a class.
func (q *quotas) of(c Class) int {
	if c != q.last {
		at, ok := q.index[c]
		if !ok {
			at = len(q.held)
			q.held, q.left = append(q.held, 0), append(q.left, 0)
			q.index[c] = at
		}
		q.last, q.lastAt = c, at
	}
	return q.lastAt
}

// take reports whether a class loses a frame of so many bytes, and counts it.
func (q *quotas) take(c Class, size int) bool {
	left := &q.left[q.of(c)]
	if *left < size {
		return false
	}
	*left -= size
	return true
}

// release returns q to its pool.
func (q *quotas) release() {
	clear(q.index)
	q.held, q.left, q.frames, q.last = q.held[:0], q.left[:0], q.frames[:0], 0
	quotasPool.Put(q)
}
