package bformat

import "sync"

// A chunk is the memory behind a Queue: the waiting frames, back to back.
type chunk struct {
	buf        []byte
	frames     int     // in buf
	deliveries int     // of these
	classes    []Class // of the frames, in order
	longest    int     // bytes of the longest frame queued, not counting staged ones
	charged    int     // bytes of the Budget that the chunk holds
	gap        []byte  // a frame that tells of lost deliveries, for dequeued chunks
	gapAt      int     // where in buf it comes
}

// maxClasses is the largest capacity of chunk.classes that is kept when a chunk returns
// to its pool: that of a full queue of short frames.
const maxClasses = 16 << 10

// sizeClasses are the sizes of pooled chunks. Larger chunks are allocated when needed and left
// to the garbage collector.
var sizeClasses = [...]struct {
	size int
	pool *sync.Pool
}{
	{1 << 10, new(sync.Pool)},
	{8 << 10, new(sync.Pool)},
	{32 << 10, new(sync.Pool)},
	{64 << 10, new(sync.Pool)},
	{320 << 10, new(sync.Pool)}, // a full Queue of the default limit, and the frame that overfills it
}

const (
	// exemptSize is the size of the largest chunk that is not charged to a Budget. Each
	// Queue may have two: one waits, one is being written.
	exemptSize = 8 << 10
	// guaranteedSize is the size of the largest chunk that a Queue always gets while
	// nothing is being written, whatever its Budget has left. So a peer that reads gets
	// its messages, however many other peers do not read.
	guaranteedSize = 32 << 10
)

// chunkSize returns the size of the chunk that getChunk returns for n bytes.
func chunkSize(n int) int {
	for _, c := range sizeClasses {
		if n <= c.size {
			return c.size
		}
	}
	return n
}

// getChunk returns an empty chunk with room for at least n bytes.
func getChunk(n int) *chunk {
	for _, c := range sizeClasses {
		if n <= c.size {
			if k, ok := c.pool.Get().(*chunk); ok {
				return k
			}
			return &chunk{buf: make([]byte, 0, c.size)}
		}
	}
	return &chunk{buf: make([]byte, 0, n)}
}

func (k *chunk) clear() {
	k.buf, k.classes = k.buf[:0], k.classes[:0]
	k.frames, k.deliveries, k.longest, k.gap = 0, 0, 0, nil
}

// putChunk returns k to its pool. A nil k is ignored.
func putChunk(k *chunk) {
	if k == nil {
		return
	}
	k.clear()
	if cap(k.classes) > maxClasses {
		k.classes = nil
	}
	for _, c := range sizeClasses {
		if cap(k.buf) == c.size {
			c.pool.Put(k)
			return
		}
	}
}
