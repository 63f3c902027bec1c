package tristanable

// reuseDistance is how many tags are used before one is reused, so that a duplicate reply
// seldom reaches another request.
const reuseDistance = 256

// tags maps each tag to its request and has a list of the free ones. It is not safe for
// concurrent use.
type tags struct {
	slots       []slot // by tag; slot 0 is never used
	free        int    // length of the free list, from first to last
	first, last uint16
}

// A slot is the state of one tag.
type slot struct {
	call     *Call  // in flight; nil if none
	next     uint16 // in the free list
	reserved bool   // neither free nor in flight: a Queue has it
}

// abandoned takes the place of a call that was cancelled before its reply came.
var abandoned = new(Call)

// take allocates a tag for call that is not in skip. It returns 0 if all are in use.
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

// release makes tag free. It is reused after all other free tags.
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

// unreserve frees a tag that was reserved for a Queue.
func (t *tags) unreserve(tag uint64) {
	if tag < uint64(len(t.slots)) && t.slots[tag].reserved {
		t.release(uint16(tag))
	}
}
