package lograte

import (
	"log/slog"
	"os"
	"strconv"
	"testing"
	"time"
)

func TestLimiterLetsBurstThroughAndCountsTheRest(t *testing.T) {
	l := Limiter{Every: time.Minute, Burst: 2}
	at := time.Unix(1000, 0)
	for i, want := range []bool{true, true, false, false, false} {
		if got, _ := l.allow("flood", at.Add(time.Duration(i)*time.Second)); got != want {
			t.Errorf("line %d: allowed %v, want %v", i, got, want)
		}
	}
	if ok, n := l.allow("other", at.Add(5*time.Second)); !ok || n != 0 {
		t.Errorf("another kind: allowed %v with %d suppressed, want true with 0", ok, n)
	}
	ok, n := l.allow("flood", at.Add(time.Minute))
	if !ok || n != 3 {
		t.Errorf("after the interval: allowed %v with %d suppressed, want true with 3", ok, n)
	}
	if _, n := l.allow("flood", at.Add(61*time.Second)); n != 0 {
		t.Errorf("the count was told twice: %d", n)
	}
}

func TestKindsAreBounded(t *testing.T) {
	var l Limiter
	at := time.Unix(1000, 0)
	for i := range 10 * maxKinds {
		if ok, _ := l.allow(strconv.Itoa(i), at); ok != (i <= maxKinds) {
			t.Errorf("kind %d: allowed %v", i, ok)
		}
	}
	if len(l.kinds) != maxKinds+1 {
		t.Errorf("%d kinds, want %d", len(l.kinds), maxKinds+1)
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
