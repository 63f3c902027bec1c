package link

// A full queue is shared by its senders: whoever holds most of it is refused, and the
// others are not. Beyond Options.QueueMessages and Options.QueueBytes there is a quarter more room, for
// senders who hold less than what is then left. So a sender who sends too much for the
// handler is told to try again, while the few messages of others still get in.

// shares counts what each sender holds of a queue. Its owner's lock guards it.
type shares struct {
	bySender map[uint32]*share // also of senders who hold nothing any more
	last     *share            // of the sender who came last
	held     int               // by how many senders
}

// A share is what one sender holds.
type share struct {
	sender      uint32 // see hub.Message.SenderHash
	jobs, bytes int
}

// maxIdleShares is how many senders who hold nothing are remembered, so that a queue that
// is often empty does not allocate. As many as those who hold something may come besides.
const maxIdleShares = 32

// add counts a job that is taken.
func (s *shares) add(j *job, sender uint32) {
	h := s.last
	if h == nil || h.sender != sender {
		if h = s.bySender[sender]; h == nil {
			h = s.grow(sender)
		}
		s.last = h
	}
	if h.jobs == 0 {
		s.held++
	}
	j.share = h
	h.jobs++
	h.bytes += j.size
}

// grow adds a sender. From time to time it forgets those who hold nothing.
func (s *shares) grow(sender uint32) *share {
	switch {
	case s.bySender == nil:
		s.bySender = make(map[uint32]*share)
	case len(s.bySender) > 2*s.held+maxIdleShares:
		for k, h := range s.bySender {
			if h.jobs == 0 {
				delete(s.bySender, k)
			}
		}
	}
	h := &share{sender: sender}
	s.bySender[sender] = h
	return h
}

// remove uncounts a job that is done.
func (s *shares) remove(j *job) {
	h := j.share
	h.jobs--
	h.bytes -= j.size
	if h.jobs == 0 {
		s.held--
	}
}

// full reports whether a sender's message of so many bytes is refused, where waiting
// messages wait that take bytes.
func (s *shares) full(o *Options, sender uint32, waiting, bytes, size int) bool {
	if waiting < o.QueueMessages && (bytes == 0 || bytes+size <= o.QueueBytes) {
		return false
	}
	var h share
	if known := s.bySender[sender]; known != nil {
		h = *known
	}
	return over(waiting, h.jobs, 1, o.QueueMessages) || bytes > 0 && over(bytes, h.bytes, size, o.QueueBytes)
}

// over reports whether n more are too many for a sender that holds some of the total.
func over(total, held, n, limit int) bool {
	if total+n <= limit {
		return false
	}
	return held+n > limit+limit/4-total
}
