package link

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/hubtest"
)

func TestBackoff(t *testing.T) {
	for _, c := range []struct {
		last, ran time.Duration
		progress  int32
		want      time.Duration
	}{
		// A crash loop.
		{0, 0, unreachable, minBackoff},
		{minBackoff, 0, unreachable, 2 * minBackoff},
		{minBackoff, time.Second, reachable, 2 * minBackoff},
		{20 * time.Second, time.Second, reachable, maxBackoff},
		{maxBackoff, stableAfter - 1, unreachable, maxBackoff},
		// A program that has worked.
		{maxBackoff, 0, answered, minBackoff},
		{maxBackoff, shortRun, answered, 0},
		{maxBackoff, idleAfter, reachable, 0},
		{maxBackoff, stableAfter, unreachable, 0},
		{0, time.Hour, answered, 0},
	} {
		if got := nextBackoff(c.last, c.ran, c.progress); got != c.want {
			t.Errorf("%+v: got %v", c, got)
		}
	}
}

// killPrograms kills the program of a handler again and again, each time after some more
// answers, while several senders wait for their answers. It returns how many messages
// failed; each of them must have been in flight at a kill.
func killPrograms(t *testing.T, h hub.Handler, pid func() int, kills int, senders int) (failed int) {
	t.Helper()
	var answers atomic.Int64
	var mu sync.Mutex
	done := make(chan struct{})
	var wg sync.WaitGroup
	for n := range senders {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				var as hubtest.Answers
				as.Ask(h, message("reading/x", fmt.Sprint("sender", n), i, "0"))
				switch err := as.Wait(t, 1)[0].Err; {
				case err == nil:
					answers.Add(1)
				case contains(err.Error(), "ended before it answered"), contains(err.Error(), "ended inside its answer"):
					mu.Lock()
					failed++
					mu.Unlock()
				default:
					t.Errorf("a message that was not in flight failed: %v", err)
				}
			}
		})
	}
	for range kills {
		before := answers.Load()
		until(t, "more answers", func() (Stats, bool) { return Stats{}, answers.Load() > before+20 })
		var target int // 0 would be this program's own group
		until(t, "running program", func() (Stats, bool) { target = pid(); return Stats{}, target != 0 })
		syscall.Kill(target, syscall.SIGKILL)
	}
	before := answers.Load()
	until(t, "answers after the last kill", func() (Stats, bool) { return Stats{}, answers.Load() > before+20 })
	close(done)
	wg.Wait()
	return failed
}

func TestKillsFailOnlyWhatIsInFlight(t *testing.T) {
	h := newHub(t, Options{})
	config := h.handler("pass")
	config.Timeout = hubtest.WaitTimeout
	g, err := h.Add(config)
	if err != nil {
		t.Fatal(err)
	}
	const kills, senders = 10, 4
	if failed := killPrograms(t, g, g.command.running, kills, senders); failed > kills*senders {
		t.Errorf("%d messages failed, at most %d were in flight", failed, kills*senders)
	}
	h.until("x", "restarts", func(s Stats) bool { return s.Restarts == kills })
}

func TestKillsOfAClassicFailOnlyWhatIsInFlight(t *testing.T) {
	config := classicProgram(t, newLogRecorder())
	config.Timeout = hubtest.WaitTimeout
	c := newClassic(t, config)
	const kills, senders = 3, 4
	if failed := killPrograms(t, c, c.command.running, kills, senders); failed > kills*senders {
		t.Errorf("%d messages failed, at most %d were in flight", failed, kills*senders)
	}
}

// A message that kills the program fails; the next is served by the next instance, however
// often that happens.
func TestPoisonMessages(t *testing.T) {
	h := newHub(t, Options{})
	config := h.handler("poison")
	config.Timeout = hubtest.WaitTimeout
	g, err := h.Add(config)
	if err != nil {
		t.Fatal(err)
	}
	for i, typ := range []string{"reading/x", "reading/poison", "reading/x", "reading/poison", "reading/poison", "reading/poison",
		"reading/x", "reading/poison", "reading/x"} {
		var as hubtest.Answers
		as.Ask(g, message(typ, "anna", i, "0"))
		if err := as.Wait(t, 1)[0].Err; typ != "reading/poison" {
			if err != nil {
				t.Errorf("message %d, %s: %v", i, typ, err)
			}
		} else {
			wantErr(t, err, hub.ErrHandler, "ended before it answered")
		}
	}
	h.until("x", "restarts", func(s Stats) bool { return s.Restarts == 5 })
}

// A classic's program has the time of the handler's timeout to listen.
func TestClassicProgramThatIsSlowToListen(t *testing.T) {
	config := classicProgram(t, newLogRecorder())
	config.Command.Argv = []string{"sleep", "1000"}
	config.Timeout = 100 * time.Millisecond
	var as hubtest.Answers
	as.Ask(newClassic(t, config), message("t", "anna", 0, "0"))
	wantErr(t, as.Wait(t, 1)[0].Err, hub.ErrTimeout, "its program was started, but does not listen on")

	if testing.Short() {
		return // what follows waits for 6 s
	}
	config = classicProgram(t, newLogRecorder())
	config.Command.Argv = append([]string{"sh", "-c", `sleep 6; exec "$@"`, "sh"}, config.Command.Argv...)
	config.Timeout = hubtest.WaitTimeout
	as.Ask(newClassic(t, config), message("t", "anna", 1, "1"))
	if err := as.Wait(t, 2)[1].Err; err != nil {
		t.Error(err)
	}
}
