package link

import "github.com/besterhub/bester/hub"

// A key names what must stay in order: the messages of one sender, lane and type.
type key struct {
	from     hub.Address
	orderKey uint64
	typ      hub.Type
}

// A stream is the messages of one key that are not done yet, in the order in which
// they came. It is there only while it has any.
type stream struct {
	key        key
	head, tail *job
	unsent     *job     // the first that has not been sent; nil if all have
	inFlight   int      // how many are in flight
	process    *process // where they are in flight; nil if none is
	busy       bool     // a goroutine is carrying out the answer of head

	list       *streamList // the list it is on, of those below; nil if on none
	prev, next *stream     // in that list
	due        bool        // on the group's due list
	nextDue    *stream
}

// streams finds a stream by its key. Its owner's lock guards it.
type streams struct {
	byKey     map[key]*stream
	free      *stream // streams to reuse, through next
	freeCount int
}

// maxFreeStreams is how many unused streams are kept for use again.
const maxFreeStreams = 256

// add appends j to its stream.
func (ss *streams) add(j *job) *stream {
	k := key{j.m.From, j.m.Lane, j.m.Type}
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

// remove forgets s, which is empty and on no list.
func (ss *streams) remove(s *stream) {
	delete(ss.byKey, s.key)
	*s = stream{}
	if ss.freeCount < maxFreeStreams {
		s.next, ss.free = ss.free, s
		ss.freeCount++
	}
}

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
