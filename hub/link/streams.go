package link

import "github.com/besterhub/bester/hub"

// A key identifies a stream: messages of one sender, ordering key and type stay in order.
type key struct {
	from     hub.Address
	orderKey uint64
	typ      hub.Type
}

// A stream holds the messages of one key that are not done yet, in the order in which
// they came. It exists only while it has any.
type stream struct {
	key        key
	head, tail *job
	unsent     *job     // the first that has not been sent; nil if all have
	inFlight   int      // number of jobs in flight
	process    *process // the one they were sent to; nil if none is in flight
	busy       bool     // a goroutine is handling head (Classic) or executing its answer (Group)

	list       *streamList // the ready list it is on; nil if on none
	prev, next *stream     // in that list
	due        bool        // on the group's due list
	nextDue    *stream
}

// streams maps keys to streams and has a free list of unused ones. Its owner's lock
// guards it.
type streams struct {
	byKey     map[key]*stream
	free      *stream // the free list, linked by next
	freeCount int
}

// maxFreeStreams is how many streams the free list may hold.
const maxFreeStreams = 256

// add appends j to its stream.
func (ss *streams) add(j *job) *stream {
	k := key{j.m.From, j.m.OrderKey, j.m.Type}
	s := ss.byKey[k]
	if s == nil {
		s = ss.get()
		s.key = k
		if ss.byKey == nil {
			ss.byKey = make(map[key]*stream)
		}
		ss.byKey[k] = s
	}
	j.stream = s
	if s.tail == nil {
		s.head = j
	} else {
		s.tail.next = j
	}
	s.tail = j
	if s.unsent == nil {
		s.unsent = j
	}
	return s
}

// pop removes the head of s, which is done.
func (s *stream) pop() *job {
	j := s.head
	s.head, j.next = j.next, nil
	if s.head == nil {
		s.tail = nil
	}
	return j
}

// remove removes s, which is empty and on no list, and puts it on the free list.
func (ss *streams) remove(s *stream) {
	delete(ss.byKey, s.key)
	*s = stream{}
	if ss.freeCount < maxFreeStreams {
		s.next, ss.free = ss.free, s
		ss.freeCount++
	}
}

// get returns an unused stream, from the free list if it has one.
func (ss *streams) get() *stream {
	s := ss.free
	if s == nil {
		return new(stream)
	}
	ss.free, s.next = s.next, nil
	ss.freeCount--
	return s
}

// A streamList is a queue of streams that have something to send.
type streamList struct {
	head, tail *stream
}

func (l *streamList) push(s *stream) {
	s.list, s.prev, s.next = l, l.tail, nil
	if l.tail == nil {
		l.head = s
	} else {
		l.tail.next = s
	}
	l.tail = s
}

func (l *streamList) remove(s *stream) {
	if s.prev == nil {
		l.head = s.next
	} else {
		s.prev.next = s.next
	}
	if s.next == nil {
		l.tail = s.prev
	} else {
		s.next.prev = s.prev
	}
	s.list, s.prev, s.next = nil, nil, nil
}
