package spool

// A memory buffers records on their way to the card, in order, in chunks that are
// reused. Its methods are called under Spool.mu.
type memory struct {
	chunks []*chunk    // oldest first
	size   recordCount // as on the card
	free   []*chunk
	newest uint64 // the highest sequence added
}

const (
	chunkSize  = 64 << 10
	chunksKept = 8
	memoryHead = 20 // length, sequence, time
)

// A chunk is records one after the other: 4 bytes length, 8 sequence, 8 time, data.
type chunk struct {
	id           uint64 // changes when the chunk is reused
	buf          []byte
	start        int  // records before it were popped
	sealed       bool // the writer is writing it: nothing may be added or popped
	callbacks    []callback
	callbacksRun int // callbacks before this index were popped
}

// A callback tells an appender what happened to its record.
type callback struct {
	seq  uint64
	err  error
	done func(seq uint64, err error)
}

type memoryRecord struct {
	seq, time uint64
	data      []byte
	size      int // in the chunk
}

func (c *chunk) at(off int) memoryRecord {
	b := c.buf[off:]
	n := int(le.Uint32(b))
	return memoryRecord{le.Uint64(b[4:]), le.Uint64(b[12:]), b[memoryHead : memoryHead+n], memoryHead + n}
}

func (m *memory) add(seq, time uint64, data []byte, done func(uint64, error)) {
	var c *chunk
	if n := len(m.chunks); n > 0 {
		c = m.chunks[n-1]
	}
	need := memoryHead + len(data)
	if c == nil || c.sealed || cap(c.buf)-len(c.buf) < need {
		c = m.newChunk(need)
		m.chunks = append(m.chunks, c)
	}
	c.buf = le.AppendUint32(c.buf, uint32(len(data)))
	c.buf = le.AppendUint64(c.buf, seq)
	c.buf = le.AppendUint64(c.buf, time)
	c.buf = append(c.buf, data...)
	if done != nil {
		c.callbacks = append(c.callbacks, callback{seq: seq, done: done})
	}
	m.size.add(recordCount{1, uint64(recordSize(len(data)))})
	m.newest = seq
}

func (m *memory) newChunk(need int) *chunk {
	if n := len(m.free); n > 0 && need <= chunkSize {
		c := m.free[n-1]
		m.free = m.free[:n-1]
		return c
	}
	return &chunk{buf: make([]byte, 0, max(need, chunkSize))}
}

// first returns the oldest record.
func (m *memory) first() (memoryRecord, bool) {
	if len(m.chunks) == 0 {
		return memoryRecord{}, false
	}
	return m.chunks[0].at(m.chunks[0].start), true
}

// pop removes the oldest record, and appends its callback, if any, to calls.
func (m *memory) pop(calls []callback, err error) []callback {
	c := m.chunks[0]
	r := c.at(c.start)
	c.start += r.size
	m.size.sub(recordCount{1, uint64(recordSize(len(r.data)))})
	if c.callbacksRun < len(c.callbacks) {
		w := c.callbacks[c.callbacksRun]
		c.callbacks[c.callbacksRun] = callback{}
		c.callbacksRun++
		w.err = err
		calls = append(calls, w)
	}
	if c.start == len(c.buf) {
		m.recycleChunk()
	}
	return calls
}

// recycleChunk removes the first chunk, which is empty, and keeps it for reuse.
func (m *memory) recycleChunk() {
	c := m.chunks[0]
	copy(m.chunks, m.chunks[1:])
	m.chunks[len(m.chunks)-1] = nil
	m.chunks = m.chunks[:len(m.chunks)-1]
	c.id++
	if len(m.free) < chunksKept && cap(c.buf) == chunkSize {
		c.buf, c.start, c.sealed, c.callbacks, c.callbacksRun = c.buf[:0], 0, false, c.callbacks[:0], 0
		m.free = append(m.free, c)
	}
}

// trim removes records up to floor: they need not be written any more.
func (m *memory) trim(floor uint64) {
	for {
		r, ok := m.first()
		if !ok || r.seq > floor {
			return
		}
		m.pop(nil, nil)
	}
}

// seal protects all chunks from changes while they are written.
func (m *memory) seal() {
	for _, c := range m.chunks {
		c.sealed = true
	}
}

// unseal ends that. Records and callbacks of a chunk stay in step, so that it may be
// added to again.
func (m *memory) unseal() {
	for _, c := range m.chunks {
		c.sealed = false
	}
}

// A memoryPosition remembers where in memory a record was, to find the next one fast.
type memoryPosition struct {
	c   *chunk
	id  uint64
	off int
	seq uint64 // of the record there
}

// after returns the first record with a sequence above seq.
func (m *memory) after(seq uint64, p *memoryPosition) (memoryRecord, bool) {
	from := 0
	if p.seq > seq {
		*p = memoryPosition{} // the reader went back
	}
	for i, c := range m.chunks {
		if c == p.c && c.id == p.id && p.off >= c.start {
			from = i
		}
	}
	for _, c := range m.chunks[from:] {
		off := c.start
		if c == p.c && c.id == p.id {
			off = max(off, p.off)
		}
		for off < len(c.buf) {
			r := c.at(off)
			if r.seq > seq {
				*p = memoryPosition{c, c.id, off, r.seq}
				return r, true
			}
			off += r.size
		}
	}
	return memoryRecord{}, false
}
