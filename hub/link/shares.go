package link

// A full queue is shared by its senders: whoever holds most of it is refused, and the
// others are not. Beyond Options.QueueMessages and Options.QueueBytes there is a quarter more room, for
// senders who hold less than what is then left. So a sender who sends too much for the
// handler is told to try again, while the few messages of others still get in.

// shares counts what each sender holds of a queue. Senders are told apart by a hash, so few
// of them share one counter. Its owner's lock guards it.
type shares struct {
	held [64]struct{ jobs, bytes int }
}

// add counts a job that is taken.
func (s *shares) add(j *job) {
	h := &s.held[j.sender%64]
	h.jobs++
	h.bytes += j.size
}

// remove uncounts a job that is done.
func (s *shares) remove(j *job) {
	h := &s.held[j.sender%64]
	h.jobs--
	h.bytes -= j.size
}

// full reports whether a sender's message of so many bytes is refused, where waiting
// messages wait that take bytes.
func (s *shares) full(o *Options, sender uint8, waiting, bytes, size int) bool {
	h := &s.held[sender%64]
	return over(waiting, h.jobs, 1, o.QueueMessages) || bytes > 0 && over(bytes, h.bytes, size, o.QueueBytes)
}

// over reports whether n more are too many for a sender that holds some of the total.
func over(total, held, n, limit int) bool {
	if total+n <= limit {
		return false
	}
	return held+n > limit+limit/4-total
}
