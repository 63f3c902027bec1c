package link

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestOutputLines(t *testing.T) {
	log := newLogRecorder()
	l := newOutputLog("x", newLogger(log))
	fmt.Fprint(l, "one\ntw")
	fmt.Fprint(l, "o\r\n\n"+strings.Repeat("y", 5000)+"\n\xff\x1b\n")
	fmt.Fprintln(l, strings.Repeat("y", maxLine-1)+"ü")
	fmt.Fprint(l, "unfinished")
	l.flush()
	var want []string
	for _, line := range []string{"one", "two", strings.Repeat("y", maxLine) + "…", "\xff\x1b", strings.Repeat("y", maxLine-1) + "…", "unfinished"} {
		want = append(want, "handler says handler=x line="+line)
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	if !slices.Equal(log.lines, want) {
		t.Errorf("got %.200q, want %.200q", log.lines, want)
	}
}

// However much a program writes, what the log gets of it in an hour is bounded, and what
// it does not get is counted.
func TestOutputFlood(t *testing.T) {
	for name, line := range map[string]string{"short": "x", "long": strings.Repeat("x", 5000), "binary": strings.Repeat("\x00", 5000)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := newLogRecorder()
				l := newOutputLog("x", newLogger(log))
				const seconds, rate = 60 * 60, 20
				for range seconds {
					fmt.Fprint(l, strings.Repeat(line+"\n", rate))
					time.Sleep(time.Second)
				}
				l.flush()
				bytes, logged, suppressed, summarized, summaries := 0, 0, 0, 0, 0
				for _, line := range log.lines {
					bytes += len(fmt.Sprintf("%q", line)) + 50
					var n int
					if _, rest, ok := strings.Cut(line, "lines_left_out="); ok {
						fmt.Sscan(rest, &n)
						summarized += n
						summaries++
						if !strings.HasSuffix(line, " in=1m0s") && summaries < 50 {
							t.Errorf("summary %q", line)
						}
						continue
					}
					logged++
					if _, rest, ok := strings.Cut(line, " suppressed="); ok {
						fmt.Sscan(rest, &n)
						suppressed += n
					}
				}
				if bytes > 4<<20 { // 100 MB a day
					t.Errorf("%d bytes of log", bytes)
				}
				if logged+summarized != rate*seconds {
					t.Errorf("%d lines logged and %d left out, want %d together", logged, summarized, rate*seconds)
				}
				if suppressed == 0 || suppressed > summarized {
					t.Errorf("%d lines suppressed, %d in summaries", suppressed, summarized)
				}
			})
		})
	}
}
