package series

import "github.com/besterhub/bester/devices/senml"

// A ReaderPool keeps the idle Readers of a filter. It grows to as many as messages are
// handled at once. The caller holds a lock around it.
type ReaderPool struct{ free []*senml.Reader }

// Get returns a Reader.
func (r *ReaderPool) Get() *senml.Reader {
	n := len(r.free)
	if n == 0 {
		return new(senml.Reader)
	}
	last := r.free[n-1]
	r.free = r.free[:n-1]
	return last
}

// Put returns a Reader to the pool. The caller no longer uses it or its memory.
func (r *ReaderPool) Put(reader *senml.Reader) { r.free = append(r.free, reader) }
