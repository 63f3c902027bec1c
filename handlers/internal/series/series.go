// Package series keeps the state of filters: a cache with one value for each series. A
// series is the values of one sender, message type and SenML name, or of one sender and
// message type.
package series

import (
	"log/slog"
	"time"
	"unsafe"

	"github.com/besterhub/bester/hub"
)

// DefaultMemory is how many bytes of state a filter keeps by default: some 4,000 series.
const DefaultMemory = 1 << 20

// MinMemory is the least memory that may be set.
const MinMemory = 4 << 10

// An LRU is a cache with a V for each series, bounded in bytes. When it is full, a new
// series evicts the least recently used ones, except those that are pinned. Where only
// pinned ones are left, new series are refused. Finding a known series allocates nothing.
// The caller holds a lock around it.
type LRU[V any] struct {
	limit  int // bytes
	used   int
	index  map[key]*Entry[V]
	newest *Entry[V]
	oldest *Entry[V]
	last   *Entry[V] // the one that was found last
	free   *Entry[V] // one that was evicted, to be used again

	evicted, refused uint64
	reported         uint64 // of both together, in the last Shortage
	nextReport       time.Duration
}

type key struct {
	user   hub.UserName
	server hub.ServerName
	typ    hub.Type
	name   string
}

// An Entry is one series and its value.
type Entry[V any] struct {
	Value V // the caller's, from Find to the eviction

	key          key
	size         int  // bytes; 0 of an entry that was evicted
	pinned       bool // not in the list of those that may be evicted
	newer, older *Entry[V]
	successor    *Entry[V] // the entry that was found after this one the last time
}

// mapOverhead is about what an entry costs in the index, in bytes, beside itself.
const mapOverhead = 96

// New returns an LRU of so many bytes, or DefaultMemory if that is 0 or less.
func New[V any](memory int) *LRU[V] {
	if memory <= 0 {
		memory = DefaultMemory
	}
	return &LRU[V]{limit: memory, index: make(map[key]*Entry[V])}
}

// Find returns the series of a message's sender and type, and of a name in it. The first
// time, known is false and the value is zero. It returns nil if there is no memory for
// another series. The entry is valid until the next Find. The strings of m are kept; name
// is copied.
func (t *LRU[V]) Find(m *hub.Message, name []byte) (e *Entry[V], known bool) {
	if e = t.predict(); e == nil || e.size == 0 || e.key.name != string(name) || e.key.typ != m.Type || e.key.user != m.From.User || e.key.server != m.From.Server {
		e = t.index[key{m.From.User, m.From.Server, m.Type, string(name)}]
	}
	if e == nil {
		return t.add(key{m.From.User, m.From.Server, m.Type, string(name)}), false
	}
	t.touch(e)
	return e, true
}

// predict returns the entry that followed the last one the time before. It is usually the
// entry that is looked for now, because sensors are read in turn and packs have the same
// names in the same order. The caller compares size and key, since the entry may have been
// evicted (its size is then 0) and reused.
func (t *LRU[V]) predict() *Entry[V] {
	if t.last == nil {
		return nil
	}
	return t.last.successor
}

// touch makes e the newest and the last one found.
func (t *LRU[V]) touch(e *Entry[V]) {
	if t.last != nil && t.last.successor != e {
		t.last.successor = e
	}
	t.last = e
	if e != t.newest && !e.pinned {
		t.unlink(e)
		t.link(e)
	}
}

// Pin says whether e must not be evicted.
func (t *LRU[V]) Pin(e *Entry[V], pinned bool) {
	if e.pinned == pinned {
		return
	}
	if e.pinned = pinned; pinned {
		t.unlink(e)
	} else {
		t.link(e)
	}
}

// Len returns the number of series remembered.
func (t *LRU[V]) Len() int { return len(t.index) }

// Evicted returns how many series were evicted for others.
func (t *LRU[V]) Evicted() uint64 { return t.evicted }

// Refused returns how often a series was refused, since only pinned ones were left.
func (t *LRU[V]) Refused() uint64 { return t.refused }

// reportEvery is the least time from one Shortage to the next.
const reportEvery = time.Hour

// A Shortage says that series were evicted or refused. The zero value says nothing.
type Shortage struct {
	Lost       uint64 // evictions and refusals since the last Shortage
	Remembered int    // series
	Memory     int    // bytes
}

// Shortage returns what is to be logged when the caller no longer holds its lock: at the
// first eviction, and then once an hour while there are more. now is the time that has
// passed since some beginning; it is called only where there is something to tell.
func (t *LRU[V]) Shortage(now func() time.Duration) Shortage {
	n := t.evicted + t.refused
	if n == t.reported {
		return Shortage{}
	}
	at := now()
	if at < t.nextReport {
		return Shortage{}
	}
	s := Shortage{n - t.reported, len(t.index), t.limit}
	t.reported, t.nextReport = n, at+reportEvery
	return s
}

// Log writes s, if it says something, to log, which may be nil.
func (s Shortage) Log(log *slog.Logger) {
	if s.Lost == 0 || log == nil {
		return
	}
	log.Warn("more names than the filter has memory for: some are forgotten or not judged",
		"names", s.Lost, "remembered", s.Remembered, "memory", s.Memory,
		"remedy", "raise the filter's memory, or see who sends so many names")
}

// add makes room for a series, and returns nil if that cannot be done.
func (t *LRU[V]) add(k key) *Entry[V] {
	size := int(unsafe.Sizeof(Entry[V]{})) + mapOverhead + len(k.user) + len(k.server) + len(k.typ) + len(k.name)
	for t.used+size > t.limit && t.oldest != nil {
		t.evict(t.oldest)
	}
	if t.used+size > t.limit {
		t.refused++
		return nil
	}
	e := t.free
	if t.free = nil; e == nil {
		e = new(Entry[V])
	}
	*e = Entry[V]{key: k, size: size}
	t.used += size
	t.index[k] = e
	t.link(e)
	if t.last != nil {
		t.last.successor = e
	}
	t.last = e
	return e
}

func (t *LRU[V]) evict(e *Entry[V]) {
	t.unlink(e)
	delete(t.index, e.key)
	t.used -= e.size
	t.evicted++
	if t.last == e {
		t.last = nil
	}
	*e = Entry[V]{}
	t.free = e
}

func (t *LRU[V]) link(e *Entry[V]) {
	e.older, e.newer = t.newest, nil
	if t.newest != nil {
		t.newest.newer = e
	} else {
		t.oldest = e
	}
	t.newest = e
}

func (t *LRU[V]) unlink(e *Entry[V]) {
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		t.newest = e.older
	}
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		t.oldest = e.newer
	}
}
