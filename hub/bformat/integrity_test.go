package bformat

import (
	"bytes"
	"fmt"
	"testing"
)

// A Queue writes complete frames in order, whatever it drops, also if a dropped frame made
// the buffer grow first.
func TestQueueWritesWholeFrames(t *testing.T) {
	for _, full := range []OverflowPolicy{DropOldest, DropNewest} {
		for _, limit := range []int{4 << 10, 32 << 10, 64 << 10, 256 << 10} {
			for _, long := range []int{1500, 20_000, 70_000, 250_000} {
				if long > limit {
					continue
				}
				t.Run(fmt.Sprint(full, limit, long), func(t *testing.T) {
					var out bytes.Buffer
					q := NewQueue(&out, QueueOptions{Limit: limit, Overflow: full})
					n, refused := 0, 0
					add := func(droppable bool, size int) {
						class := Required
						if droppable {
							class = Droppable(0)
						}
						err := q.End(append(q.Begin(), bytes.Repeat([]byte{byte(n)}, size)...), class)
						if err == dropErrors[LossFull] {
							refused++
						} else if err != nil {
							t.Fatal(err)
						}
						n++
					}
					for range (limit - limit/20) / 104 { // nearly fill it; with DropOldest they may not be dropped
						add(full == DropNewest, 100)
					}
					add(true, long) // is dropped, or fits
					add(false, 100)
					q.Shutdown()
					if err := q.Run(); err != nil {
						t.Fatal(err)
					}
					got := payloads(t, out.Bytes())
					if len(got)+int(lost(q))+refused != n {
						t.Errorf("%d frames written, %d dropped, %d refused; want %d in all", len(got), lost(q), refused, n)
					}
					for i, p := range got[:len(got)-1] {
						if p[0] != byte(i) && int(lost(q))+refused < 2 {
							t.Fatalf("frame %d is that of %d", i, p[0])
						}
					}
					if last := got[len(got)-1]; last[0] != byte(n-1) || len(last) != 100 {
						t.Errorf("the last frame is that of %d, with %d bytes", last[0], len(last))
					}
				})
			}
		}
	}
}
