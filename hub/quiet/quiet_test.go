package quiet

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestOnceInAnInterval(t *testing.T) {
	l := New(slog.New(slog.DiscardHandler), time.Second)
	start := time.Unix(1e9, 0)
	for i, want := range []struct {
		after time.Duration
		left  int
		due   bool
	}{
		{0, 0, true},
		{time.Millisecond, 0, false},
		{999 * time.Millisecond, 0, false},
		{time.Second, 2, true},
		{1999 * time.Millisecond, 0, false},
		{2 * time.Second, 1, true},
		{3 * time.Second, 0, true},
	} {
		if left, due := l.due("a", start.Add(want.after)); left != want.left || due != want.due {
			t.Errorf("step %d: got %d, %v, want %d, %v", i, left, due, want.left, want.due)
		}
	}
	if _, due := l.due("b", start); !due {
		t.Error("another text was held back")
	}
}

func TestRepeatedIsLogged(t *testing.T) {
	var out bytes.Buffer
	l := New(slog.New(slog.NewTextHandler(&out, nil)), 0)
	l.every = time.Hour
	l.Warn("no room", "queue", 1)
	l.Warn("no room", "queue", 2)
	l.seen["no room"].last = time.Time{}
	l.Warn("no room", "queue", 3)
	got := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(got) != 2 || !strings.Contains(got[0], "queue=1") || !strings.HasSuffix(got[1], "queue=3 repeated=1") {
		t.Errorf("got %q", got)
	}
}
