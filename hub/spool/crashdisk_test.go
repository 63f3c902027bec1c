package spool

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// A crashDisk simulates a disk that may lose power: it holds what is surely on it,
// and the operations that may be on it or not.
type crashDisk struct {
	names   map[string]*inode
	changes []op // changes of names, not synced
	files   map[*inode]*crashFile
}

type crashFile struct {
	data    []byte
	pending []op // writes and truncations, not synced
	lost    []op // pending when a sync failed: a later sync does not write them
}

func newCrashDisk(image map[string][]byte) (*crashDisk, *recorder) {
	c := &crashDisk{names: map[string]*inode{}, files: map[*inode]*crashFile{}}
	d := newRecorder()
	for name, data := range image {
		n := &inode{name: name, data: slices.Clone(data)}
		c.names[name], d.names[name] = n, n
		c.files[n] = &crashFile{data: slices.Clone(data)}
	}
	return c, d
}

// observe applies one operation.
func (c *crashDisk) observe(o op) {
	switch o.kind {
	case opCreate:
		c.files[o.node] = &crashFile{}
		c.changes = append(c.changes, o)
	case opRename, opRemove:
		c.changes = append(c.changes, o)
	case opWrite, opCut:
		f := c.files[o.node]
		f.pending = append(f.pending, o)
	case opSync:
		f := c.files[o.node]
		for _, w := range f.pending {
			f.data = apply(f.data, w)
			f.lost = slices.DeleteFunc(f.lost, func(o op) bool { // what is overwritten is gone for good
				return o.off < w.off+int64(len(w.data)) && w.off < o.off+int64(len(o.data)) || o.kind == opCut || w.kind == opCut
			})
		}
		f.pending = nil
	case opFailed:
		f := c.files[o.node]
		f.lost, f.pending = append(f.lost, f.pending...), nil
	case opDir:
		for _, o := range c.changes {
			change(c.names, o)
		}
		c.changes = nil
	}
}

func apply(b []byte, o op) []byte {
	if o.kind == opCut {
		return grown(b, o.off)[:o.off]
	}
	b = grown(b, o.off+int64(len(o.data)))
	copy(b[o.off:], o.data)
	return b
}

func change(names map[string]*inode, o op) {
	switch o.kind {
	case opCreate:
		names[o.to] = o.node
	case opRename:
		names[o.to] = names[o.from]
		delete(names, o.from)
	case opRemove:
		delete(names, o.from)
	}
}

// cut returns one of the states that a power cut may leave now. Changes of names stay
// in order, as with journals. Unsynced writes may be there, or not, or torn at
// sectors of 512 bytes, in any order. New blocks of a file may hold zeros or what
// they held before.
func (c *crashDisk) cut(rng *rand.Rand) map[string][]byte {
	names := maps.Clone(c.names)
	for _, o := range c.changes[:rng.IntN(len(c.changes)+1)] {
		change(names, o)
	}
	image := map[string][]byte{}
	for name, n := range names {
		image[name] = c.files[n].after(rng)
	}
	return image
}

func (f *crashFile) after(rng *rand.Rand) []byte {
	const sector = 512
	data := slices.Clone(f.data)
	pending := slices.Concat(f.lost, f.pending)
	if len(pending) == 0 {
		return data
	}
	mode := rng.IntN(6)
	part := rng.IntN(len(pending) + 1)
	fresh := len(data) // blocks after this are new
	for i, o := range pending {
		if o.kind == opCut {
			if mode != 0 && rng.IntN(2) == 0 {
				data = apply(data, o)
			}
			continue
		}
		for at := int64(0); at < int64(len(o.data)); {
			end := min(int64(len(o.data)), (o.off+at)/sector*sector+sector-o.off)
			there := false
			switch mode {
			case 0: // nothing
			case 1: // all
				there = true
			case 2: // what was written first
				there = i < part
			case 3: // what was written last
				there = i >= part
			default: // any sectors
				there = rng.IntN(2) == 0
			}
			if there {
				data = apply(data, op{off: o.off + at, data: o.data[at:end]})
			} else if mode == 5 && o.off+end > int64(fresh) && rng.IntN(2) == 0 {
				b := make([]byte, end-at) // a new block, with what it held before
				for j := range b {
					b[j] = byte(rng.Uint32())
				}
				if len(f.data) > dataStart+len(b) {
					copy(b, f.data[dataStart:])
				}
				data = apply(data, op{off: o.off + at, data: b})
			}
			at = end
		}
	}
	if mode > 1 && len(data) > fresh && rng.IntN(4) == 0 {
		data = data[:fresh+rng.IntN((len(data)-fresh)/sector+1)*sector]
	}
	return data
}
