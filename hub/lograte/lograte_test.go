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

// What a peer repeats all night costs some lines, however often it does, and none of it is
// left uncounted.
func TestRepetitionIsSummedUp(t *testing.T) {
	var l Limiter
	at := time.Unix(1000, 0)
	const night = 10 * time.Hour
	for _, each := range []time.Duration{500 * time.Millisecond, 3 * time.Second, 100 * time.Second, 5 * time.Minute} {
		lines, told, tries := 0, uint64(0), 0
		for d := time.Duration(0); d < night; d += each {
			tries++
			if ok, n := l.allow("login refused", at.Add(d)); ok {
				lines++
				told += n
			}
		}
		told += l.kinds["login refused"].suppressed
		if lines > 45 || uint64(lines)+told != uint64(tries) {
			t.Errorf("each %v: %d lines tell of %d further ones, of %d", each, lines, told, tries)
		}
		at = at.Add(night + 3*time.Hour)
		l.kinds["login refused"].suppressed = 0
	}
	// After a quiet time it is as at first.
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
		at = at.Add(minQuiet / maxKinds)
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

// Many subjects that fail all night, the same ones or ever new ones, cost no more lines than
// a few do, and none of it is left uncounted.
func TestManySubjectsAreSummedUp(t *testing.T) {
	const night = 10 * time.Hour
	for name, c := range map[string]struct {
		subjects int // 0: ever new ones
		most     int // lines
	}{"hundreds": {500, 2000}, "ever new": {0, 4000}} {
		var l Limiter
		at := time.Unix(1000, 0)
		lines, told, tries := 0, uint64(0), 0
		for d := time.Duration(0); d < night; d += time.Second {
			subject := tries
			if c.subjects > 0 {
				subject %= c.subjects
			}
			tries++
			if ok, suppressed := l.allow(strconv.Itoa(subject), at.Add(d)); ok {
				lines++
				told += suppressed
			}
		}
		for _, k := range l.kinds {
			told += k.suppressed
		}
		if told += uint64(lines); told != uint64(tries) {
			t.Errorf("%s: %d lines and suppressed ones, want %d", name, told, tries)
		}
		if lines > c.most {
			t.Errorf("%s: %d lines, want at most %d", name, lines, c.most)
		}
		t.Logf("%s: %d lines", name, lines)
	}
}
