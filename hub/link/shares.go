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
	sender   uint32 // see hub.Message.SenderHash
	waiting  int    // jobs that a process does not have, or has answered out of order
	inFlight int    // jobs
	bytes    int    // of all of them
}

// maxIdleShares is how many senders who hold nothing are remembered, so that a queue that
// is often empty does not allocate. As many as those who hold something may come besides.
const maxIdleShares = 32

// add counts a job that is taken.
func (s *shares) add(j *job, sender uint32) {
	of := s.last
	if of == nil || of.sender != sender {
		if of = s.bySender[sender]; of == nil {
			of = s.grow(sender)
		}
		s.last = of
	}
	if of.waiting+of.inFlight == 0 {
		s.held++
	}
	j.share = of
	of.waiting++
	of.bytes += j.size
}

// send notes that a job is in flight.
func (s *shares) send(j *job) {
	j.share.waiting--
	j.share.inFlight++
}

// receive notes that a job is no longer in flight.
func (s *shares) receive(j *job) {
	j.share.inFlight--
	j.share.waiting++
}

// remove uncounts a job that is done, and not in flight.
func (s *shares) remove(j *job) {
	of := j.share
	of.waiting--
	of.bytes -= j.size
	if of.waiting+of.inFlight == 0 {
		s.held--
	}
}

// grow adds a sender. From time to time it forgets those who hold nothing.
func (s *shares) grow(sender uint32) *share {
	switch {
	case s.bySender == nil:
		s.bySender = make(map[uint32]*share)
	case len(s.bySender) > 2*s.held+maxIdleShares:
		for k, of := range s.bySender {
			if of.waiting+of.inFlight == 0 {
				delete(s.bySender, k)
			}
		}
	}
	of := &share{sender: sender}
	s.bySender[sender] = of
	return of
}

// full reports whether a sender's message of so many bytes is refused. waiting and bytes are
// what the queue holds now, of all senders: the messages that wait, and the bytes of those in
// flight, too.
func (s *shares) full(o *Options, sender uint32, waiting, bytes, size int) bool {
	if waiting < o.QueueMessages && (bytes == 0 || bytes+size <= o.QueueBytes) {
		return false
	}
	var of share
	if known := s.bySender[sender]; known != nil {
		of = *known
	}
	return over(waiting, of.waiting, 1, o.QueueMessages) || bytes > 0 && over(bytes, of.bytes, size, o.QueueBytes)
}

// over reports whether n more are too many for a sender that holds some of the total.
func over(total, held, n, limit int) bool {
	if total+n <= limit {
		return false
	}
	return held+n > limit+limit/4-total
}
