package bformat

import "sync"

// A chunk is the memory behind a Queue: the frames that wait, back to back.
type chunk struct {
	buf      []byte
	frames   int   // in buf
	longest  int   // bytes of the longest frame that came, not counting staged ones
	required []int // where those begin that may not be dropped, in order
	charged  int   // bytes of the Budget that it takes
}

// maxFirm is how many required frames a chunk may have room for when it goes back to its pool.
const maxRequired = 4096

// classes are the sizes in which chunks are lent and given back; larger ones are made
// when needed and left to the garbage collector.
var classes = [...]struct {
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
	// share is the size of the largest chunk that takes nothing from a Budget. Each Queue
	// may have two: one waits, one is being written.
	exemptSize = 8 << 10
	// ready is the size of the largest chunk that a Queue gets whatever its Budget has left
	// if nothing is being written: so a peer that reads is sent its messages, however many
	// others there are that do not read.
	guaranteedSize = 32 << 10
)

// chunkSize returns the size of the chunk that getChunk returns for n bytes.
func chunkSize(n int) int {
	for _, c := range classes {
		if n <= c.size {
			return c.size
		}
	}
	return n
}

// getChunk returns an empty chunk with room for at least n bytes.
func getChunk(n int) *chunk {
	for _, c := range classes {
		if n <= c.size {
			if k, ok := c.pool.Get().(*chunk); ok {
				return k
			}
			return &chunk{buf: make([]byte, 0, c.size)}
		}
	}
	return &chunk{buf: make([]byte, 0, n)}
}

func (k *chunk) clear() { k.buf, k.frames, k.longest, k.required = k.buf[:0], 0, 0, k.required[:0] }

// putChunk gives k back; nil is nothing to give.
func putChunk(k *chunk) {
	if k == nil {
		return
	}
	k.clear()
	if cap(k.required) > maxRequired {
		k.required = nil
	}
	for _, c := range classes {
		if cap(k.buf) == c.size {
			c.pool.Put(k)
			return
		}
	}
}
