package hub

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
)

// lastValues is a cache of the last message of each type that subscribers could see. It is
// bounded in bytes: when it is full, types that have not come for long give way to others.
type lastValues struct {
	limit   atomic.Int64  // bytes; 0: nothing is kept
	epoch   atomic.Uint64 // counts evictions: what was stored in an older epoch gives way first
	evicted atomic.Uint64 // types that gave way

	mu    sync.Mutex
	types map[Type]*lastValue
	used  int // bytes, of all in types
}

// A lastValue is the last message of a type. Its memory is its own.
type lastValue struct {
	cache *lastValues
	bytes int // what it counts in cache.used; under cache.mu. It is 0 if it is not in there

	mu      sync.Mutex // never held when cache.mu is locked
	kept    bool       // message is there, and in the cache
	epoch   uint64     // when it was stored
	message Message
	data    []byte
}

// lastValueOverhead is about what a type costs beside the data of its message, in bytes.
const lastValueOverhead = 512

// of returns the last value of a type, to store messages in; nil if none are kept.
func (c *lastValues) of(t Type) *lastValue {
	if c.limit.Load() == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if v := c.types[t]; v != nil {
		return v
	}
	return &lastValue{cache: c}
}

// store keeps a copy of m, in place of the message before.
func (v *lastValue) store(m *Message) {
	v.mu.Lock()
	fits := v.kept && len(m.Data.Bytes) <= cap(v.data)
	if fits {
		v.set(m)
	}
	v.mu.Unlock()
	room := len(m.Data.Bytes) + len(m.Data.Bytes)/4 // for one that is a little longer
	if fits || !v.cache.admit(v, m.Type, lastValueOverhead+room) {
		return
	}
	v.mu.Lock()
	if v.kept { // it may have been evicted again
		v.data = make([]byte, 0, room)
		v.set(m)
	}
	v.mu.Unlock()
}

// set copies m. The caller holds mu.
func (v *lastValue) set(m *Message) {
	v.data = append(v.data[:0], m.Data.Bytes...)
	v.message = Message{Type: m.Type, From: m.From, ID: m.ID, Time: m.Time, Hops: m.Hops, Retained: true, Data: Data{m.Data.Encoding, v.data}}
	v.epoch = v.cache.epoch.Load()
}

// drop forgets the message. The caller does not hold mu.
func (v *lastValue) drop() {
	v.mu.Lock()
	v.kept, v.message, v.data = false, Message{}, nil
	v.mu.Unlock()
}

// admit makes room for v with so many bytes, and marks it as kept. It returns false if v is
// too long to be kept; the message before, which is no longer the last, is dropped then.
func (c *lastValues) admit(v *lastValue, t Type, bytes int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	limit := int(c.limit.Load())
	c.remove(v, t)
	if have := c.types[t]; have != nil && have != v { // that of an older table
		c.remove(have, t)
		have.drop()
	}
	if bytes > limit/4 {
		v.drop()
		return false
	}
	if c.used+bytes > limit {
		c.evict(limit*3/4 - bytes)
	}
	if c.types == nil {
		c.types = make(map[Type]*lastValue)
	}
	c.types[t] = v
	v.bytes = bytes
	c.used += bytes
	v.mu.Lock()
	v.kept = true
	v.mu.Unlock()
	return true
}

// remove takes v out of the cache. The caller holds mu.
func (c *lastValues) remove(v *lastValue, t Type) {
	if c.types[t] == v {
		delete(c.types, t)
	}
	c.used -= v.bytes
	v.bytes = 0
}

// evictionSample is how many types are looked at for one that gives way.
const evictionSample = 8

// evict has types give way until no more than so many bytes are used: of a sample, each
// time the one that was stored in the oldest epoch. The caller holds mu.
func (c *lastValues) evict(bytes int) {
	for c.used > bytes && len(c.types) > 0 {
		var victim *lastValue
		var of Type
		oldest, seen := uint64(0), 0
		for t, v := range c.types { // in a random order
			v.mu.Lock()
			epoch := v.epoch
			v.mu.Unlock()
			if victim == nil || epoch < oldest {
				victim, of, oldest = v, t, epoch
			}
			if seen++; seen == evictionSample {
				break
			}
		}
		c.remove(victim, of)
		victim.drop()
		c.evicted.Add(1)
	}
	c.epoch.Add(1)
}

// count returns how many types are kept now, and how many gave way.
func (c *lastValues) count() (kept int, evicted uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.types), c.evicted.Load()
}

// setLimit changes the bound.
func (c *lastValues) setLimit(bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limit.Store(int64(bytes))
	if c.used > bytes {
		c.evict(bytes)
	}
}

// SetLastValues sets how many bytes the last messages of all types, which PutLastValues
// returns, may take together: about 512 for each beside its data. 0 keeps none.
func (r *Router) SetLastValues(bytes int) {
	r.lastValues.setLimit(bytes)
	r.forgetLookups()
}

// PutLastValues gives to the last message of each type that p matches, as subscribers got it
// or would have got it, in the order of the types. Retained is set in it, and b is its batch.
// Types that have not come for long may be missing, and so is a message that takes more than
// a quarter of the bound. It ends when to has ended.
func (r *Router) PutLastValues(p Pattern, to Sink, b *Batch) {
	var data []byte
	for _, v := range r.lastValues.matching(p) {
		v.mu.Lock()
		m := v.message
		data = append(data[:0], m.Data.Bytes...)
		v.mu.Unlock()
		if m.Type == "" { // it has given way meanwhile
			continue
		}
		m.Data.Bytes, m.Batch = data, b
		r.count(b, countHanded)
		if err := to.Put(&m); err != nil {
			if r.countLost(LossOf(err)); errors.Is(err, ErrClosed) {
				return
			}
		}
	}
}

// matching returns the values of the types that p matches, in the order of the types.
func (c *lastValues) matching(p Pattern) []*lastValue {
	c.mu.Lock()
	defer c.mu.Unlock()
	var types []Type
	for t := range c.types {
		if p.Match(t) {
			types = append(types, t)
		}
	}
	slices.Sort(types)
	values := make([]*lastValue, len(types))
	for i, t := range types {
		values[i] = c.types[t]
	}
	return values
}
