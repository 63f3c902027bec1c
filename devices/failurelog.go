package devices

import "log/slog"

// A failureLog logs changes of state: one line when something begins to fail, and one
// when it works again, however often it fails in between.
type failureLog struct {
	log                *slog.Logger
	failing, recovered string
	consecutive        int // failures in a row
}

// record takes the result of one attempt.
func (t *failureLog) record(err error) {
	switch {
	case err != nil:
		t.consecutive++
		if t.consecutive == 1 {
			t.log.Warn(t.failing, "err", err)
		}
	case t.consecutive > 0:
		t.log.Info(t.recovered, "failures", t.consecutive)
		t.consecutive = 0
	}
}
