package spool

import (
	"slices"
	"strings"
)

// foundHole is called when a cursor meets a hole.
func (s *Spool) foundHole(seg *segment, off int64) {
	s.mu.Lock()
	_, known := seg.holes[off]
	s.mu.Unlock()
	if !known {
		s.recordDamage(seg)
	}
}

// recordDamage reads a whole segment in which damage was found, and records what is
// lost: those records are no longer queued but dropped. Only one call at a time runs,
// so that the next does not count the same loss again.
func (s *Spool) recordDamage(seg *segment) {
	s.damageMu.Lock()
	defer s.damageMu.Unlock()
	s.mu.Lock()
	limit, size, retired := seg.end, seg.size, seg.retired
	s.mu.Unlock()
	if retired {
		return
	}
	v := scanResult{last: seg.head.first - 1, holes: []hole{{found: true, from: seg.head.first}}}
	if f, err := s.disk.Open(seg.name, false, false); err == nil {
		v = scanSegment(f, seg.head, limit, true, nil)
		f.Close()
	} else if transient(err) || s.checkMount() != nil {
		return // transient
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if seg.retired {
		return
	}
	lost := size
	lost.sub(v.size)
	rest := lost
	// New holes come first: the loss in known holes was recorded before.
	known := func(h hole) int {
		if _, ok := seg.holes[h.off]; ok {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(v.holes, func(a, b hole) int { return known(a) - known(b) })
	seg.addHole(0, true)
	for i, h := range v.holes {
		if !h.more {
			h.to = max(seg.last, h.from-1)
		}
		t := recordCount{n: min(rest.n, h.to+1-h.from), bytes: rest.bytes}
		if i+1 < len(v.holes) && rest.n > 0 {
			t.bytes = rest.bytes / rest.n * t.n
		}
		rest.sub(t)
		seg.addHole(h.off, true)
		s.recordLoss(seg, h, t)
	}
	if lost.n > 0 {
		seg.gen++ // a cursor may have read lost records ahead
	}
	seg.size.sub(lost)
	s.floorAdvanced()
}

// addHole notes a hole of the segment, and whether it is damage. Called under mu.
func (seg *segment) addHole(off int64, damage bool) {
	if seg.holes == nil {
		seg.holes = map[int64]bool{}
	}
	seg.holes[off] = seg.holes[off] || damage
}

// damaged tells whether the segment is damaged. Called under mu.
func (seg *segment) damaged() bool {
	for _, damage := range seg.holes {
		if damage {
			return true
		}
	}
	return false
}

// recordLoss counts the records lost in one hole of a segment. Called under mu.
func (s *Spool) recordLoss(seg *segment, h hole, t recordCount) {
	s.noteFinding(Finding{Gap: Gap{h.from, h.to}, Records: t.n, Cause: Damaged, File: seg.name})
	if t.n == 0 || h.to <= s.floor {
		return
	}
	if h.from <= s.floor { // part of it was done with
		n := min(t.n, h.to-s.floor)
		t = recordCount{n, t.bytes / t.n * n}
	}
	s.epoch++
	s.total.sub(t)
	s.count.dropped.Damaged += t.n
	for _, r := range s.list {
		r.discountLost(h.from, h.to, t)
	}
}

// quarantine renames a damaged file to .damaged, so that it is out of the way, and
// keeps only the newest Options.KeepDamaged of those.
func (s *Spool) quarantine(name string) {
	names, err := s.disk.List()
	if err != nil {
		s.logWarning("a damaged file cannot be set aside", err)
		return
	}
	to := name + damagedSuffix
	for slices.Contains(names, to) {
		to = strings.TrimSuffix(to, damagedSuffix) + "~" + damagedSuffix
	}
	if err := s.disk.Rename(name, to); err != nil {
		s.logWarning("a damaged file cannot be set aside", err)
		return
	}
	s.mu.Lock()
	s.count.damage.Quarantined++
	s.mu.Unlock()
	damaged := slices.DeleteFunc(append(names, to), func(n string) bool { return !strings.HasSuffix(n, damagedSuffix) })
	slices.Sort(damaged)
	for len(damaged) > s.opt.KeepDamaged {
		i := 0
		if damaged[0] == to && len(damaged) > 1 {
			i = 1 // not the one that was just found
		}
		s.disk.Remove(damaged[i])
		damaged = slices.Delete(damaged, i, i+1)
	}
}
