package bformat

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// gapText is for TellGaps; it writes what was missed in words.
func gapText(dst []byte, missed Losses) []byte {
	for why, n := range missed {
		if n > 0 {
			dst = fmt.Appendf(dst, "[%d %v]", n, Loss(why))
		}
	}
	return dst
}

// Where a queue is full, the senders with most in it lose, the oldest frames first, and the
// peer is told where the first lost frame would have been.
func TestQueueDropsByShare(t *testing.T) {
	for _, c := range []struct{ name, put, want string }{
		{"a flood", "aAbbbbbbb", "aA[3 queue full]bbbb"},
		{"two floods", "abcbcbcbcbcbcbc", "a[9 queue full]cbcbc"},
		{"equal shares", "abcdefgha", "[3 queue full]defgha"},
		{"the flood is last", "bbbbbaAcc", "[3 queue full]bbaAcc"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			q := NewQueue(&out, QueueOptions{Limit: 80})
			q.TellGaps(gapText)
			for _, p := range c.put { // upper case is the same sender
				put(t, q, Droppable(uint32(strings.ToLower(string(p))[0])), strings.Repeat(string(p), 6))
			}
			q.Shutdown()
			if err := q.Run(); err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, p := range payloads(t, out.Bytes()) {
				if p[0] == '[' {
					got += p
				} else {
					got += p[:1]
				}
			}
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// The peer is told of what it missed also if nothing else comes, once, and in order with
// what it gets; and never within a frame.
func TestQueueGap(t *testing.T) {
	g := newGate()
	q := NewQueue(g, QueueOptions{Limit: 80, Overflow: DropNewest})
	q.TellGaps(gapText)
	put(t, q, Droppable(0), "before")
	q.Miss(OwnerLoss)
	q.Miss(OwnerLoss)
	put(t, q, Droppable(0), "after")
	done := run(q)
	q.Flush()
	<-g.entered
	for range 3 { // the first part, the gap, the rest
		g.open <- nil
	}
	q.Miss(OwnerLoss) // and nothing else
	q.Flush()
	g.open <- nil
	q.Shutdown()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range g.writes {
		got = append(got, payloads(t, w)...)
	}
	if want := []string{"before", "[2 reason 3]", "after", "[1 reason 3]"}; !equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Of a write that fails, the frames that were written whole are delivered, and no others.
func TestQueueCountsPartOfAWrite(t *testing.T) {
	broken := errors.New("broken")
	for n := range 51 {
		q := NewQueue(writerFunc(func(b []byte) (int, error) { return min(n, len(b)), broken }), QueueOptions{})
		put(t, q, Droppable(0), "123456", "123456")
		put(t, q, Required, "123456")
		put(t, q, RequiredDelivery, "123456")
		put(t, q, Droppable(3), "123456")
		q.Flush()
		if err := q.Run(); err != broken {
			t.Fatalf("Run: %v", err)
		}
		want := [...]uint64{0, 1, 2, 2, 3, 4}[n/10]
		if s := q.Stats(); s.Accepted != 4 || s.Delivered != want || s.Lost[LossEnded] != 4-want || s.Queued != 0 {
			t.Errorf("after %d bytes: %+v, want %d delivered", n, s, want)
		}
	}
}

// A sender of few long frames does not lose them to a flood of short ones, and senders of
// short frames do not lose theirs to one whose single frame takes most of the queue.
func TestQueueDropsByShareOfLongFrames(t *testing.T) {
	frames := func(q *Queue, out *bytes.Buffer) map[byte]int {
		q.Shutdown()
		if err := q.Run(); err != nil {
			t.Fatal(err)
		}
		got := make(map[byte]int)
		for _, p := range payloads(t, out.Bytes()) {
			got[p[0]]++
		}
		return got
	}
	for _, long := range []int{100, 300, 450, 1500} {
		var out bytes.Buffer
		q := NewQueue(&out, QueueOptions{Limit: 1000})
		put(t, q, Droppable('q'), "q"+strings.Repeat("x", long))
		for range 2000 {
			put(t, q, Droppable('f'), "flood")
		}
		if got := frames(q, &out); got['q'] != 1 || got['f'] < 10 {
			t.Errorf("a frame of %d bytes beside a flood: got %v", long, got)
		}
	}
	var out bytes.Buffer
	q := NewQueue(&out, QueueOptions{Limit: 1000})
	for range 3 {
		put(t, q, Droppable('a'), "a")
		put(t, q, Droppable('b'), "b")
	}
	put(t, q, Droppable('l'), "l"+strings.Repeat("x", 880))
	for range 20 {
		put(t, q, Droppable('c'), "c")
	}
	if got := frames(q, &out); got['a'] != 3 || got['b'] != 3 || got['c'] != 20 || got['l'] != 0 {
		t.Errorf("one frame that takes most of the queue: got %v", got)
	}
}
