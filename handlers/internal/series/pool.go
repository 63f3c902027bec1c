package series

import "github.com/besterhub/bester/devices/senml"

// Readers are those at rest of a filter. As many are made as messages are handled
// at once. It belongs to whoever holds the lock around it.
type Readers struct{ rest []*senml.Reader }

// Take returns a Reader.
func (r *Readers) Take() *senml.Reader {
	n := len(r.rest)
	if n == 0 {
		return new(senml.Reader)
	}
	last := r.rest[n-1]
	r.rest = r.rest[:n-1]
	return last
}

// Give puts a Reader to rest. Nothing of it is used any more.
func (r *Readers) Give(reader *senml.Reader) { r.rest = append(r.rest, reader) }
