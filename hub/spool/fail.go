package spool

import (
	"cmp"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// abandon lets go of the segment that is written to: what is safe in it stays,
// and nothing is added.
func (k *keeper) abandon() {
	if k.f == nil {
		return
	}
	if k.fresh {
		k.s.disk.Remove(k.name) // not in the log yet; a failure leaves what Open sees to
	}
	k.closeFile()
}

func (k *keeper) closeFile() {
	if k.f != nil {
		k.f.Close()
	}
	k.f, k.head, k.fresh = nil, nil, false
}

// failed notes that the card takes nothing, and refuses what may not wait.
func (k *keeper) failed(err error, syncs []chan error) {
	s := k.s
	s.mu.Lock()
	first := s.failing == nil
	s.failing = err
	s.retryAt = time.Now().Add(retryEvery)
	k.calls = k.calls[:0]
	if s.opt.Class == Durable && (!s.opt.Hold || s.closing) {
		if r, ok := s.mem.first(); ok {
			s.next = r.seq // nobody has heard of these
		}
		for s.mem.size.n > 0 {
			k.calls = s.mem.pop(k.calls, err)
			s.count.refused.Failed++
		}
	}
	if first {
		s.count.failures++
	}
	s.makeRoom()
	s.mu.Unlock()
	for _, done := range syncs {
		done <- err
	}
	k.callBack()
	if first {
		s.report("the card takes nothing; trying again every second", err)
	}
}

// reach sees whether the folder is there, and locks it again if need be. One that
// was removed is made again; one that was moved away is waited for.
func (k *keeper) reach() error {
	s := k.s
	s.mu.Lock()
	segs := len(s.segs)
	s.mu.Unlock()
	if err := s.inPlace(); err != nil {
		k.unlock() // for who wants to unmount it
		return err
	}
	if s.lock != nil && !s.lock.Held() {
		if id, _, ok, err := readID(s.disk); err != nil {
			return classify("read id", err)
		} else if s.lock.Linked() && (!ok || id != s.id) {
			return &cardError{"open folder", ErrGone, errors.New("it was moved away")}
		}
		k.unlock()
	}
	if s.lock == nil {
		lock, err := s.disk.Lock()
		if err != nil {
			return classify("open folder", err)
		}
		id, _, ok, err := readID(s.disk)
		if err == nil && ok && id != s.id {
			err = &cardError{"open folder", ErrGone, errors.New("another spool is in its place")}
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
	k.findSpares(slices.DeleteFunc(names, func(n string) bool { return !strings.HasSuffix(n, spareSuffix) }), segs)
	return nil
}

// held sees whether the folder is the one that is locked.
func (k *keeper) held() error {
	if err := k.s.inPlace(); err != nil {
		return err
	}
	if k.s.lock == nil || !k.s.lock.Held() {
		return &cardError{"open folder", ErrGone, errors.New("it was moved away or removed")}
	}
	return nil
}

func (k *keeper) unlock() {
	if k.s.lock != nil {
		k.s.lock.Close()
		k.s.lock = nil
	}
}

// inPlace sees whether the folder is the one it was. Where a file system was
// unmounted, what shows in its place is another: nothing is to be written to
// that, nor is what it does not hold lost.
func (s *Spool) inPlace() error {
	device, err := s.disk.Device()
	if err != nil {
		return classify("open folder", err)
	}
	if device != s.device {
		if id, _, ok, err := readID(s.disk); err != nil {
			return classify("read id", err)
		} else if !ok || id != s.id {
			return &cardError{"open folder", ErrGone, errors.New("another file system is in its place")}
		}
	}
	return nil
}

// files lists the folder, if it is the one it was.
func (s *Spool) files() ([]string, error) {
	err := s.inPlace()
	names, listErr := s.disk.List()
	return names, cmp.Or(err, listErr, s.inPlace())
}

// recovered notes that the card takes records, and finds out which segments did
// not come back with it.
func (k *keeper) recovered() {
	s := k.s
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
	if names, err := s.files(); err == nil {
		for _, seg := range segs {
			if !slices.Contains(names, seg.name) {
				s.examine(seg)
			}
		}
	}
	if s.opt.Log != nil {
		s.opt.Log.Info("spool: the card takes records again", "after", was.Error())
	}
	s.mu.Lock()
	s.makeRoom()
	for _, r := range s.list {
		r.waiting = true
	}
	s.tell()
	s.mu.Unlock()
}

// unreadable is asked when a segment cannot be opened. If the folder is there,
// the segment is lost, and that is entered; else there is hope, and the keeper
// is to look after it.
func (s *Spool) unreadable(seg *segment, err error) bool {
	if names, listErr := s.files(); listErr == nil && !passing(err) && (!slices.Contains(names, seg.name) || !errors.Is(err, fs.ErrNotExist)) {
		s.mu.Lock()
		failing := s.failing != nil || seg.gone
		s.mu.Unlock()
		if !failing {
			s.examine(seg)
			s.mu.Lock()
			seg.end = dataStart // nothing to read
			seg.gen++
			s.mu.Unlock()
			return true
		}
	}
	s.mu.Lock()
	if s.failing == nil && !seg.gone {
		s.failing = classify("read", err)
		s.retryAt = time.Now()
		if passing(err) {
			s.retryAt = s.retryAt.Add(retryEvery)
		}
		s.count.failures++
		s.nudge()
	}
	gone := seg.gone
	s.mu.Unlock()
	return gone
}

// stumbled is told of a hole that a cursor came to.
func (s *Spool) stumbled(seg *segment, off int64) {
	s.mu.Lock()
	_, known := seg.holes[off]
	s.mu.Unlock()
	if !known {
		s.examine(seg)
	}
}

// examine reads a segment in which something was found wrong from one end to the
// other, and enters what is lost: it is queued no more, but dropped. One at a time
// does so, for what the one has entered is nothing to the next.
func (s *Spool) examine(seg *segment) {
	s.examining.Lock()
	defer s.examining.Unlock()
	s.mu.Lock()
	limit, size, gone := seg.end, seg.size, seg.gone
	s.mu.Unlock()
	if gone {
		return
	}
	v := survey{last: seg.head.first - 1, holes: []hole{{found: true, from: seg.head.first}}}
	if f, err := s.disk.Open(seg.name, false, false); err == nil {
		v = examine(f, seg.head, limit, true, nil)
		f.Close()
	} else if passing(err) || s.inPlace() != nil {
		return // it may come back
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if seg.gone {
		return
	}
	lost := size
	lost.sub(v.size)
	rest := lost
	// What is lost now stood in holes that are new: what was in the others was entered.
	known := func(h hole) int {
		if _, ok := seg.holes[h.off]; ok {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(v.holes, func(a, b hole) int { return known(a) - known(b) })
	seg.hole(0, true)
	for i, h := range v.holes {
		if !h.more {
			h.to = max(seg.last, h.from-1)
		}
		t := tally{n: min(rest.n, h.to+1-h.from), bytes: rest.bytes}
		if i+1 < len(v.holes) && rest.n > 0 {
			t.bytes = rest.bytes / rest.n * t.n
		}
		rest.sub(t)
		seg.hole(h.off, true)
		s.lose(seg, h, t)
	}
	if lost.n > 0 {
		seg.gen++ // what a cursor has read ahead may be lost by now
	}
	seg.size.sub(lost)
	s.settleFloor()
}

// hole notes a hole of the segment, and whether it is damage. Called under mu.
func (seg *segment) hole(off int64, damage bool) {
	if seg.holes == nil {
		seg.holes = map[int64]bool{}
	}
	seg.holes[off] = seg.holes[off] || damage
}

// hurt tells whether the segment is damaged. Called under mu.
func (seg *segment) hurt() bool {
	for _, damage := range seg.holes {
		if damage {
			return true
		}
	}
	return false
}

// lose enters one hole of a segment. Called under mu.
func (s *Spool) lose(seg *segment, h hole, t tally) {
	s.noteGap(Loss{Gap: Gap{h.from, h.to}, Records: t.n, Cause: Damaged, File: seg.name})
	if t.n == 0 || h.to <= s.floor {
		return
	}
	if h.from <= s.floor { // some of it was done with
		n := min(t.n, h.to-s.floor)
		t = tally{n, t.bytes / t.n * n}
	}
	s.epoch++
	s.total.sub(t)
	s.count.dropped.Damaged += t.n
	for _, r := range s.list {
		r.forget(h.from, h.to, t)
	}
}

// setAside renames a damaged file so that it is out of the way, and keeps the
// newest few of those.
func (s *Spool) setAside(name string) {
	names, err := s.disk.List()
	if err != nil {
		s.report("a damaged file cannot be set aside", err)
		return
	}
	to := name + damagedSuffix
	for slices.Contains(names, to) {
		to = strings.TrimSuffix(to, damagedSuffix) + "~" + damagedSuffix
	}
	if err := s.disk.Rename(name, to); err != nil {
		s.report("a damaged file cannot be set aside", err)
		return
	}
	s.mu.Lock()
	s.count.damage.SetAside++
	s.mu.Unlock()
	damaged := slices.DeleteFunc(append(names, to), func(n string) bool { return !strings.HasSuffix(n, damagedSuffix) })
	slices.Sort(damaged)
	for len(damaged) > s.opt.KeepDamaged {
		i := 0
		if damaged[0] == to && len(damaged) > 1 {
			i = 1 // the one that was just found
		}
		s.disk.Remove(damaged[i])
		damaged = slices.Delete(damaged, i, i+1)
	}
}

// report logs what went wrong.
func (s *Spool) report(what string, err error) {
	if s.opt.Log != nil {
		s.opt.Log.Warn("spool: "+what, "error", err.Error())
	}
}
