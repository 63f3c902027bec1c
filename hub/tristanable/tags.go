package tristanable

// reuseDistance is how many tags are used before one is used again, so that a reply sent
// twice seldom meets a request that it was not meant for.
const reuseDistance = 256

// tags knows which request each tag stands for. It is not safe for concurrent use.
type tags struct {
	slots       []slot // by tag; slot 0 is never used
	free        int    // slots in the list from first to last
	first, last uint16
}

// A slot is one tag's.
type slot struct {
	call     *Call  // in flight; nil if none
	next     uint16 // in the list of free tags
	reserved bool   // neither free nor in flight: skipped because a queue has it
}

// abandoned takes the place of a call whose reply nobody waits for any more.
var abandoned = new(Call)

// take finds a tag for call, none that skip holds. It returns 0 if all are in use.
func (t *tags) take(call *Call, skip map[uint64]*Queue) uint16 {
	for {
		var tag uint16
		switch {
		case len(t.slots) <= MaxTag && (t.free == 0 || len(t.slots) <= reuseDistance):
			if len(t.slots) == 0 {
				t.slots = make([]slot, 1, 16)
			}
			tag = uint16(len(t.slots))
			t.slots = append(t.slots, slot{})
		case t.free > 0:
			tag = t.first
			t.first = t.slots[tag].next
			t.free--
		default:
			return 0
		}
		if len(skip) > 0 && skip[uint64(tag)] != nil {
			t.slots[tag].reserved = true
			continue
		}
		t.slots[tag].call = call
		return tag
	}
}

// get returns the call that tag stands for, nil if none.
func (t *tags) get(tag uint64) *Call {
	if tag >= uint64(len(t.slots)) {
		return nil
	}
	return t.slots[tag].call
}

// release makes tag free, the last to be used again.
func (t *tags) release(tag uint16) {
	t.slots[tag] = slot{}
	if t.free == 0 {
		t.first = tag
	} else {
		t.slots[t.last].next = tag
	}
	t.last = tag
	t.free++
}

// unreserve makes a tag free again that was skipped for its queue's sake.
func (t *tags) unreserve(tag uint64) {
	if tag < uint64(len(t.slots)) && t.slots[tag].reserved {
		t.release(uint16(tag))
	}
}
