package spool

import (
	"errors"
	"fmt"
	"io/fs"
)

// openSegmentFile opens the file for a new segment: a preallocated one if there is
// any. While the disk is full, the segment is no longer than the blocks that the file
// has.
func (w *writer) openSegmentFile() (err error) {
	if err := w.checkLock(); err != nil {
		return err
	}
	d := w.s.disk
	w.limit = w.s.opt.SegmentSize
	for w.file == nil && len(w.preallocated) > 0 {
		w.name = w.preallocated[len(w.preallocated)-1]
		w.preallocated = w.preallocated[:len(w.preallocated)-1]
		if w.file, err = d.Open(w.name, true, false); err != nil {
			w.file = nil // missing or no regular file; after a failure, reopenFolder lists them again
		} else if err := w.measureFile(); err != nil {
			return err
		} else if w.diskFull && w.writtenTo < reserveSize {
			w.closeFile()
			d.Remove(w.name) // frees space for another
		} else if w.diskFull {
			w.limit = min(w.limit, w.writtenTo)
		}
	}
	if w.file != nil {
		return nil
	}
	if w.diskFull && w.hasReserve && w.canRetire() {
		w.name, w.limit, w.hasReserve = reserveName, reserveSize, false
		w.file, err = d.Open(w.name, true, false)
	} else {
		if !w.diskFull {
			w.createReserve()
		}
		w.name = "segment" + newSuffix
		w.file, err = d.Open(w.name, true, true)
	}
	if err != nil {
		w.file = nil
		return err
	}
	return w.measureFile()
}

// measureFile finds out how many blocks the file has.
func (w *writer) measureFile() error {
	size, err := w.file.Size()
	w.writtenTo = size &^ (pageSize - 1)
	w.allocatedTo = w.writtenTo
	return err
}

// The reserve is a small file for when the disk is full. Without it, segments that
// the readers are done with could not be retired, because the positions could not be
// written first.
const reserveName = "reserve" + preallocatedSuffix

// createReserve creates the reserve if there is none and the disk has space for it.
func (w *writer) createReserve() {
	if w.hasReserve {
		return
	}
	f, err := w.s.disk.Open(reserveName, true, true)
	if err != nil {
		return
	}
	if _, err = f.WriteAt(make([]byte, reserveSize), 0); err == nil {
		err = f.Sync()
	}
	f.Close()
	if w.hasReserve = err == nil; !w.hasReserve {
		w.s.disk.Remove(reserveName)
	}
}

// canRetire tells whether a segment can be retired once the positions are written.
func (w *writer) canRetire() bool {
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.segs) > 0 && s.segs[0].last <= s.floor
}

// findPreallocated takes over the preallocated files of a folder that holds segs
// segments.
func (w *writer) findPreallocated(names []string, segs int) {
	w.preallocated, w.hasReserve = w.preallocated[:0], false
	d := w.s.disk
	if len(names) == 0 || d.Sync() != nil {
		return // a rename may not be on the card yet: the file may still be a segment there
	}
	for _, name := range names {
		if name == reserveName {
			if f, err := d.Open(name, false, false); err == nil {
				size, err := f.Size()
				w.hasReserve = err == nil && size >= reserveSize
				f.Close()
			}
			continue
		}
		n := 0
		if fmt.Sscanf(name, "%d", &n); n > w.preallocatedN && n < 1<<30 {
			w.preallocatedN = n
		}
		if w.keepsPreallocated(segs) {
			w.preallocated = append(w.preallocated, name)
		} else {
			d.Remove(name)
		}
	}
}

// keepsPreallocated tells whether to keep one more preallocated file beside segs
// segments. The folder keeps the blocks that it once took, up to the bound: new
// blocks cost the card about as much as what is written to them.
func (w *writer) keepsPreallocated(segs int) bool {
	o := &w.s.opt
	n := uint64(segs + len(w.preallocated))
	return len(w.preallocated) < 2 || n < o.MaxBytes/uint64(o.SegmentSize)+2
}

// recycle disposes of the file of a retired segment: it is quarantined, becomes a
// preallocated file, or is removed.
func (w *writer) recycle(seg *segment, pinned, damaged bool) {
	s := w.s
	if damaged {
		s.quarantine(seg.name)
		return
	}
	s.mu.Lock()
	segs := len(s.segs)
	s.mu.Unlock()
	if !w.hasReserve {
		if !w.remove(seg.name) {
			w.pendingRemovals = append(w.pendingRemovals, seg.name)
		}
		w.createReserve() // from the freed blocks
		return
	}
	if !pinned && w.keepsPreallocated(segs) {
		name := w.nextPreallocatedName()
		// The old name must be gone for good before the file is written again.
		if s.disk.Rename(seg.name, name) == nil {
			if s.disk.Sync() == nil {
				w.preallocated = append(w.preallocated, name)
			} else {
				s.disk.Remove(name)
			}
			return
		}
	}
	if !w.remove(seg.name) {
		w.pendingRemovals = append(w.pendingRemovals, seg.name) // if it stays, the next Open removes it
	}
}

// remove removes a file, and tells whether it is gone.
func (w *writer) remove(name string) bool {
	err := w.s.disk.Remove(name)
	return err == nil || errors.Is(err, fs.ErrNotExist)
}
