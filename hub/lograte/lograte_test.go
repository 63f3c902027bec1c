package lograte

import (
	"log/slog"
	"os"
	"testing"
	"time"
)

func TestLimiterLetsBurstThroughAndCountsTheRest(t *testing.T) {
	l := Limiter{Every: time.Minute, Burst: 2}
	at := time.Unix(1000, 0)
	for i, want := range []bool{true, true, false, false, false} {
		if got, _ := l.allow(at.Add(time.Duration(i) * time.Second)); got != want {
			t.Errorf("line %d: allowed %v, want %v", i, got, want)
		}
	}
	if got := l.Suppressed(); got != 3 {
		t.Errorf("suppressed %d, want 3", got)
	}
	ok, n := l.allow(at.Add(time.Minute))
	if !ok || n != 3 {
		t.Errorf("after the interval: allowed %v with %d suppressed, want true with 3", ok, n)
	}
	if _, n := l.allow(at.Add(61 * time.Second)); n != 0 {
		t.Errorf("the count was told twice: %d", n)
	}
}

func TestNilLogger(t *testing.T) {
	new(Limiter).Log(nil, slog.LevelWarn, "nowhere to go")
}

func Example() {
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
	l := Limiter{Every: time.Hour}
	for range 100 {
		l.Log(log, slog.LevelWarn, "peer is slow", slog.String("user", "anna"))
	}
	// Output: level=WARN msg="peer is slow" user=anna
}
