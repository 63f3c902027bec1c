package spool

import (
	"cmp"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// abandonSegment closes the open segment. What is synced in it stays valid, and
// nothing is added.
func (w *writer) abandonSegment() {
	if w.file == nil {
		return
	}
	if w.headerPending {
		w.s.disk.Remove(w.name) // not in the log yet; Open removes it if this fails
	}
	w.closeFile()
}

func (w *writer) closeFile() {
	if w.file != nil {
		w.file.Close()
	}
	w.file, w.head, w.headerPending = nil, nil, false
}

// enterFailure notes that the card fails, and refuses the records that may not wait.
func (w *writer) enterFailure(err error, syncs []chan error) {
	s := w.s
	s.mu.Lock()
	first := s.failing == nil
	s.failing = err
	s.retryAt = time.Now().Add(retryEvery)
	w.callbacks = w.callbacks[:0]
	if s.opt.Class == Durable && (!s.opt.BufferOnFailure || s.closing) {
		if r, ok := s.mem.first(); ok {
			s.next = r.seq // nobody was told of these sequences
		}
		for s.mem.size.n > 0 {
			w.callbacks = s.mem.pop(w.callbacks, err)
			s.count.refused.Failed++
		}
	}
	if first {
		s.count.failures++
	}
	s.signalSpace()
	s.mu.Unlock()
	for _, done := range syncs {
		done <- err
	}
	w.runCallbacks()
	if first {
		s.logWarning("the card takes nothing; trying again every second", err)
	}
}

// reopenFolder checks that the folder is there, and locks it again if need be. It
// creates a removed folder anew; it waits for one that was moved away.
func (w *writer) reopenFolder() error {
	s := w.s
	s.mu.Lock()
	segs := len(s.segs)
	s.mu.Unlock()
	if err := s.checkMount(); err != nil {
		w.unlock() // so that the file system can be unmounted
		return err
	}
	if s.lock != nil && !s.lock.Held() {
		if id, _, ok, err := readID(s.disk); err != nil {
			return classify("read id", err)
		} else if s.lock.Linked() && (!ok || id != s.id) {
			return &diskError{"open folder", ErrGone, errors.New("it was moved away")}
		}
		w.unlock()
	}
	if s.lock == nil {
		lock, err := s.disk.Lock()
		if err != nil {
			return classify("open folder", err)
		}
		id, _, ok, err := readID(s.disk)
		if err == nil && ok && id != s.id {
			err = &diskError{"open folder", ErrGone, errors.New("another spool is in its place")}
		}
		if err != nil {
			lock.Close()
			return classify("read id", err)
		}
		if s.lock = lock; !ok {
			if err := writeID(s.disk, s.id, 0); err != nil {
				return classify("write id", err)
			}
		}
	}
	names, err := s.disk.List()
	if err != nil {
		return classify("read folder", err)
	}
	w.findPreallocated(slices.DeleteFunc(names, func(n string) bool { return !strings.HasSuffix(n, preallocatedSuffix) }), segs)
	return nil
}

// checkLock returns an error unless the folder is the one that is locked.
func (w *writer) checkLock() error {
	if err := w.s.checkMount(); err != nil {
		return err
	}
	if w.s.lock == nil || !w.s.lock.Held() {
		return &diskError{"open folder", ErrGone, errors.New("it was moved away or removed")}
	}
	return nil
}

func (w *writer) unlock() {
	if w.s.lock != nil {
		w.s.lock.Close()
		w.s.lock = nil
	}
}

// checkMount returns an error unless the folder is on the file system it was on.
// After an unmount another folder shows in its place: nothing may be written there,
// and what that one lacks is not lost.
func (s *Spool) checkMount() error {
	device, err := s.disk.Device()
	if err != nil {
		return classify("open folder", err)
	}
	if device != s.device {
		if id, _, ok, err := readID(s.disk); err != nil {
			return classify("read id", err)
		} else if !ok || id != s.id {
			return &diskError{"open folder", ErrGone, errors.New("another file system is in its place")}
		}
	}
	return nil
}

// listFolder lists the folder if checkMount passes.
func (s *Spool) listFolder() ([]string, error) {
	err := s.checkMount()
	names, listErr := s.disk.List()
	return names, cmp.Or(err, listErr, s.checkMount())
}

// leaveFailure notes that the card takes records again, and finds the segments that
// did not come back with it.
func (w *writer) leaveFailure() {
	s := w.s
	s.mu.Lock()
	was := s.failing
	s.failing = nil
	s.mu.Unlock()
	if was == nil {
		return
	}
	s.mu.Lock()
	segs := slices.Clone(s.segs)
	s.mu.Unlock()
	if names, err := s.listFolder(); err == nil {
		for _, seg := range segs {
			if !slices.Contains(names, seg.name) {
				s.recordDamage(seg)
			}
		}
	}
	if s.opt.Log != nil {
		s.opt.Log.Info("spool: the card takes records again", "after", was.Error())
	}
	s.mu.Lock()
	s.signalSpace()
	for _, r := range s.list {
		r.waiting = true
	}
	s.wakeReaders()
	s.mu.Unlock()
}

// handleUnreadable handles a segment that cannot be opened. If the folder is there,
// the segment is lost and is recorded as damage. Otherwise the segment may come back,
// and the writer is woken to retry. It tells whether the segment is out of the way.
func (s *Spool) handleUnreadable(seg *segment, err error) bool {
	if names, listErr := s.listFolder(); listErr == nil && !transient(err) && (!slices.Contains(names, seg.name) || !errors.Is(err, fs.ErrNotExist)) {
		s.mu.Lock()
		failing := s.failing != nil || seg.retired
		s.mu.Unlock()
		if !failing {
			s.recordDamage(seg)
			s.mu.Lock()
			seg.end = dataStart // nothing to read
			seg.gen++
			s.mu.Unlock()
			return true
		}
	}
	s.mu.Lock()
	if s.failing == nil && !seg.retired {
		s.failing = classify("read", err)
		s.retryAt = time.Now()
		if transient(err) {
			s.retryAt = s.retryAt.Add(retryEvery)
		}
		s.count.failures++
		s.wakeWriter()
	}
	retired := seg.retired
	s.mu.Unlock()
	return retired
}

// logWarning logs what went wrong.
func (s *Spool) logWarning(what string, err error) {
	if s.opt.Log != nil {
		s.opt.Log.Warn("spool: "+what, "error", err.Error())
	}
}
