package devices

import "log/slog"

// trouble logs one line when something begins to fail and one when it is over,
// however often it fails in between.
type trouble struct {
	log          *slog.Logger
	begins, ends string
	failures     int // in a row
}

// is notes how it went this time.
func (t *trouble) is(err error) {
	switch {
	case err != nil:
		t.failures++
		if t.failures == 1 {
			t.log.Warn(t.begins, "err", err)
		}
	case t.failures > 0:
		t.log.Info(t.ends, "failures", t.failures)
		t.failures = 0
	}
}
