package system

import "golang.org/x/sys/unix"

// synchronized asks the kernel whether its clock is synchronized. known is false where
// the kernel refuses to tell, as in some containers.
func synchronized() (synchronized, known bool) {
	var t unix.Timex // Modes is 0: it only queries
	if _, err := unix.Adjtimex(&t); err != nil {
		return false, false
	}
	return t.Status&unix.STA_UNSYNC == 0, true
}
