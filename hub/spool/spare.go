package spool

import (
	"errors"
	"fmt"
	"io/fs"
)

// begin opens the file for a new segment. While the disk is full, the segment is
// no longer than what the file has already.
func (k *keeper) begin() (err error) {
	if err := k.held(); err != nil {
		return err
	}
	d := k.s.disk
	k.limit = k.s.opt.SegmentSize
	for k.f == nil && len(k.spares) > 0 {
		k.name = k.spares[len(k.spares)-1]
		k.spares = k.spares[:len(k.spares)-1]
		if k.f, err = d.Open(k.name, true, false); err != nil {
			k.f = nil // no longer there, or no file; after a failure, reach looks again
		} else if err := k.measure(); err != nil {
			return err
		} else if k.full && k.alloc < reserveSize {
			k.closeFile()
			d.Remove(k.name) // room for another
		} else if k.full {
			k.limit = min(k.limit, k.alloc)
		}
	}
	if k.f != nil {
		return nil
	}
	if k.full && k.reserved && k.frees() {
		k.name, k.limit, k.reserved = reserveName, reserveSize, false
		k.f, err = d.Open(k.name, true, false)
	} else {
		if !k.full {
			k.reserve()
		}
		k.name = "segment" + newSuffix
		k.f, err = d.Open(k.name, true, true)
	}
	if err != nil {
		k.f = nil
		return err
	}
	return k.measure()
}

// measure sees what the file has.
func (k *keeper) measure() error {
	size, err := k.f.Size()
	k.alloc = size &^ (pageSize - 1)
	k.space = k.alloc
	return err
}

// The reserve is a small file for when the disk is full: without it, what the
// readers are done with could not be put away, because that cannot be written.
const reserveName = "reserve" + spareSuffix

// reserve makes it, if it can and there is none.
func (k *keeper) reserve() {
	if k.reserved {
		return
	}
	f, err := k.s.disk.Open(reserveName, true, true)
	if err != nil {
		return
	}
	if _, err = f.WriteAt(make([]byte, reserveSize), 0); err == nil {
		err = f.Sync()
	}
	f.Close()
	if k.reserved = err == nil; !k.reserved {
		k.s.disk.Remove(reserveName)
	}
}

// frees tells whether a segment goes once the positions are written.
func (k *keeper) frees() bool {
	s := k.s
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.segs) > 0 && s.segs[0].last <= s.floor
}

// findSpares takes over the spares of a folder that holds so many segments.
func (k *keeper) findSpares(names []string, segs int) {
	k.spares, k.reserved = k.spares[:0], false
	d := k.s.disk
	if len(names) == 0 || d.Sync() != nil {
		return // on the card, one may still have its name in the log
	}
	for _, name := range names {
		if name == reserveName {
			if f, err := d.Open(name, false, false); err == nil {
				size, err := f.Size()
				k.reserved = err == nil && size >= reserveSize
				f.Close()
			}
			continue
		}
		n := 0
		if fmt.Sscanf(name, "%d", &n); n > k.spareN && n < 1<<30 {
			k.spareN = n
		}
		if k.keepsSpare(segs) {
			k.spares = append(k.spares, name)
		} else {
			d.Remove(name)
		}
	}
}

// keepsSpare tells whether one more spare is kept beside so many segments: the
// folder keeps what it once took, up to the bound, for new blocks cost the card
// about as much as what is written to them.
func (k *keeper) keepsSpare(segs int) bool {
	o := &k.s.opt
	n := uint64(segs + len(k.spares))
	return len(k.spares) < 2 || n < o.MaxBytes/uint64(o.SegmentSize)+2
}

func (k *keeper) recycle(seg *segment, pinned, hurt bool) {
	s := k.s
	if hurt {
		s.setAside(seg.name)
		return
	}
	s.mu.Lock()
	segs := len(s.segs)
	s.mu.Unlock()
	if !k.reserved {
		if !k.remove(seg.name) {
			k.left = append(k.left, seg.name)
		}
		k.reserve() // of its blocks
		return
	}
	if !pinned && k.keepsSpare(segs) {
		name := k.nextSpare()
		// The old name must be gone for good before the file is written again.
		if s.disk.Rename(seg.name, name) == nil {
			if s.disk.Sync() == nil {
				k.spares = append(k.spares, name)
			} else {
				s.disk.Remove(name)
			}
			return
		}
	}
	if !k.remove(seg.name) {
		k.left = append(k.left, seg.name) // if it stays, the next Open sees that nothing in it is wanted
	}
}

// remove removes a file, and tells whether it is gone.
func (k *keeper) remove(name string) bool {
	err := k.s.disk.Remove(name)
	return err == nil || errors.Is(err, fs.ErrNotExist)
}
