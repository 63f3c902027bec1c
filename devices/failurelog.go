package devices

import (
	"errors"
	"log/slog"
)

// A failureLog logs changes of state: one line when something begins to fail, and one
// when it works again, however often it fails in between.
type failureLog struct {
	log                *slog.Logger
	failing, recovered string
	consecutive        int    // failures in a row
	last               string // the last of them; "" if the last attempt succeeded
}

// record takes the result of one attempt.
func (t *failureLog) record(err error) {
	switch {
	case err != nil:
		t.consecutive++
		if t.last = err.Error(); t.last == "" {
			t.last = "failed"
		}
		switch bug, ok := errors.AsType[*panicError](err); {
		case t.consecutive > 1:
		case ok:
			t.log.Error(t.failing, "err", err, "stack", string(bug.stack))
		default:
			t.log.Warn(t.failing, "err", err)
		}
	case t.consecutive > 0:
		t.log.Info(t.recovered, "failures", t.consecutive)
		t.consecutive, t.last = 0, ""
	}
}

// partLogs is a failureLog for each part of a sensor that has failed.
type partLogs struct {
	log   *slog.Logger
	parts map[string]*failureLog
}

// maxPartLogs bounds how many parts have a log of their own. Further ones share one.
const maxPartLogs = 64

// record takes the error of a read that yielded readings, and returns how many parts
// failed in it. An error that names no part counts as one.
func (t *partLogs) record(err error) int {
	if err == nil && len(t.parts) == 0 {
		return 0
	}
	var failed PartErrors
	if err != nil && !errors.As(err, &failed) {
		failed = PartErrors{{Part: "others", Err: err}}
	}
	now := make(map[string]error, len(failed))
	for _, f := range failed {
		name := f.Part
		if t.parts[name] == nil && len(t.parts) >= maxPartLogs {
			name = "others"
		}
		now[name] = f.Err
	}
	for name, err := range now {
		if t.parts[name] == nil {
			if t.parts == nil {
				t.parts = make(map[string]*failureLog)
			}
			t.parts[name] = &failureLog{log: t.log.With("part", name), failing: "part of the sensor fails", recovered: "part of the sensor works again"}
		}
		t.parts[name].record(err)
	}
	for name, l := range t.parts {
		if now[name] == nil {
			l.record(nil)
			delete(t.parts, name)
		}
	}
	return len(failed)
}
