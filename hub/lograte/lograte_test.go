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

// What a peer repeats all night costs some lines, and none of it is left uncounted.
func TestRepetitionIsSummedUp(t *testing.T) {
	var l Limiter
	at := time.Unix(1000, 0)
	const night = 10 * time.Hour
	lines, told := 0, uint64(0)
	tries := 0
	for d := time.Duration(0); d < night; d += 500 * time.Millisecond {
		tries++
		if ok, n := l.allow("login refused", at.Add(d)); ok {
			lines++
			told += n
		}
	}
	if lines > 30 || uint64(lines)+told > uint64(tries) || uint64(lines)+told < uint64(tries)*9/10-7200 {
		t.Errorf("%d lines tell of %d further ones, of %d", lines, told, tries)
	}
	// After a quiet time it is as at first.
	at = at.Add(night + 3*time.Hour)
	for i, want := range []bool{true, false, true, false} {
		if ok, _ := l.allow("login refused", at.Add(time.Duration(i)*600*time.Millisecond)); ok != want {
			t.Errorf("line %d: allowed %v, want %v", i, ok, want)
		}
	}
}

// Kinds that have been quiet give way to new ones.
func TestQuietKindsGiveWay(t *testing.T) {
	var l Limiter
	at := time.Unix(1000, 0)
	for i := range 10 * maxKinds {
		at = at.Add(time.Second)
		if ok, _ := l.allow(strconv.Itoa(i), at); !ok {
			t.Errorf("kind %d was suppressed", i)
		}
	}
	if len(l.kinds) > maxKinds+1 {
		t.Errorf("%d kinds", len(l.kinds))
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
