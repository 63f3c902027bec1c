package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/client"
)

// A lineTest is a lineSender with a hub of the test's own. It runs in a bubble of synctest.
type lineTest struct {
	*testing.T
	*lineSender
	in      *io.PipeWriter
	outcome chan error
	cancel  context.CancelFunc

	mu   sync.Mutex
	hub  func() (session, error) // what an attempt to connect gives
	told []string
}

// testLines starts a lineSender and runs do, which writes to its input and is its hub.
func testLines(t *testing.T, o lineOptions, do func(t *lineTest)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r, w := io.Pipe()
		defer w.Close()
		m := &messageOptions{}
		l := &lineTest{T: t, in: w, outcome: make(chan error, 1), cancel: cancel}
		l.lineSender = &lineSender{
			lineOptions: o, header: &hub.Message{Type: "chat"}, typ: "chat", data: m.data,
			input: func() io.Reader { return r },
			dial: func(context.Context) (session, error) {
				l.mu.Lock()
				defer l.mu.Unlock()
				return l.hub()
			},
			report: func(text string) {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.told = append(l.told, text)
			},
		}
		l.setHub(func() (session, error) { return nil, unreachableAs(syscall.ECONNREFUSED, false) })
		context.AfterFunc(ctx, func() { w.CloseWithError(ctx.Err()) })
		go func() {
			time.Sleep(time.Nanosecond) // until do waits: the hub is the one that it has set
			l.outcome <- l.run(ctx)
		}()
		do(l)
	})
}

func (l *lineTest) setHub(hub func() (session, error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hub = hub
}

func (l *lineTest) tellings() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.told, "\n")
}

// A lineHub records the data that it gets. It confirms them if answer is nil.
type lineHub struct {
	*fakeSession
	mu     sync.Mutex
	got    []string
	dones  []func(error)
	answer func(data string) (answered bool, err error)
}

func newLineHub() *lineHub {
	h := &lineHub{fakeSession: newFakeSession()}
	h.send = func(m *hub.Message, done func(error)) error {
		h.mu.Lock()
		data := string(m.Data.Bytes)
		h.got = append(h.got, data)
		h.mu.Unlock()
		if h.answer != nil {
			answered, err := h.answer(data)
			if !answered {
				h.dones = append(h.dones, done)
				return nil
			}
			done(err)
			return nil
		}
		done(nil)
		return nil
	}
	return h
}

// end ends the session: what is in flight has no answer.
func (h *lineHub) end() {
	for _, done := range h.dones {
		done(fmt.Errorf("%w: gone", client.ErrDisconnected))
	}
	h.fakeSession.end(hub.ErrClosed)
}

func (h *lineHub) received() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.got, " ")
}

func (l *lineTest) want(what, got, want string) {
	l.Helper()
	if got != want {
		l.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// What has come is sent at once, with no more input in sight.
func TestLinesAreNotHeldBack(t *testing.T) {
	testLines(t, lineOptions{}, func(l *lineTest) {
		h := newLineHub()
		l.setHub(func() (session, error) { return h, nil })
		for i := 1; i <= 3; i++ {
			began := time.Now()
			fmt.Fprintln(l.in, i)
			synctest.Wait()
			if waited := time.Since(began); waited > 1 || h.flushed != i || len(h.got) != i {
				l.Errorf("line %d: %d sent, %d flushes, after %v", i, len(h.got), h.flushed, waited)
			}
			time.Sleep(time.Second)
		}
		fmt.Fprint(l.in, "4") // without an end
		l.in.Close()
		if err := <-l.outcome; err != nil {
			l.Error(err)
		}
		l.want("sent", h.received(), "1 2 3 4")
	})
}

// What a hub has not confirmed is sent to the next one, in order, and nothing is lost.
func TestUnconfirmedLinesAreSentAgain(t *testing.T) {
	testLines(t, lineOptions{}, func(l *lineTest) {
		first, second := newLineHub(), newLineHub()
		first.answer = func(data string) (bool, error) { return data == "2", nil }
		l.setHub(func() (session, error) { return first, nil })
		io.WriteString(l.in, "1\n2\n3\n4\n5\n")
		synctest.Wait()
		l.want("in flight, three at a time", first.received(), "1 2 3 4")
		l.setHub(func() (session, error) { return nil, unreachableAs(syscall.ECONNREFUSED, false) })
		first.end()
		time.Sleep(10 * time.Second)
		fmt.Fprintln(l.in, 6) // while there is no hub
		time.Sleep(time.Hour)
		l.setHub(func() (session, error) { return second, nil })
		time.Sleep(time.Second)
		l.in.Close()
		if err := <-l.outcome; err != nil {
			l.Error(err)
		}
		l.want("sent again", second.received(), "1 3 4 5 6")
		told := l.tellings()
		for _, once := range []string{"the hub closed the connection", "Trying again until it is back; what is not confirmed is kept and sent again.",
			"Connected to the hub fake again, after 1h0m10"} {
			if strings.Count(told, once) != 1 {
				l.Errorf("told %q, want %q once", told, once)
			}
		}
	})
}

// While there is no hub, lines are kept up to a bound; then the writer of the pipe waits.
func TestKeptLinesAreBounded(t *testing.T) {
	testLines(t, lineOptions{quiet: true}, func(l *lineTest) {
		first, second := newLineHub(), newLineHub()
		l.setHub(func() (session, error) { return first, nil })
		fmt.Fprintln(l.in, 0)
		synctest.Wait()
		l.setHub(func() (session, error) { return nil, unreachableAs(syscall.ECONNREFUSED, false) })
		first.end()
		line := append(bytes.Repeat([]byte("7"), 9999), '\n')
		const lines = 2000
		written := 0
		go func() {
			for range lines {
				l.in.Write(line)
				written++
			}
			l.in.Close()
		}()
		synctest.Wait()
		if most := (maxKept + maxBatchBytes + 256<<10) / len(line); written > most || written < maxKept/len(line) {
			l.Errorf("%d lines were read, want %d to %d", written, maxKept/len(line), most)
		}
		l.setHub(func() (session, error) { return second, nil })
		if err := <-l.outcome; err != nil {
			l.Error(err)
		}
		if len(second.got) != lines {
			l.Errorf("%d lines arrived, want %d", len(second.got), lines)
		}
		if told := l.tellings(); told != "" {
			l.Errorf("told %q, want nothing", told)
		}
	})
}

// One wrong line does not end the rest: it is told and skipped.
func TestWrongLinesAreSkipped(t *testing.T) {
	testLines(t, lineOptions{}, func(l *lineTest) {
		h := newLineHub()
		h.frame = 40
		l.setHub(func() (session, error) { return h, nil })
		io.WriteString(l.in, "\ufeff1\r\n\nthree\n4\n"+strings.Repeat("5", 81)+"\n"+strings.Repeat("6", 200_000)+"\n7\n")
		for range 100 {
			io.WriteString(l.in, "{\n")
		}
		l.in.Close()
		err := <-l.outcome
		if exitCode(err) != exitSkipped || !strings.HasPrefix(err.Error(), `103 lines skipped; the first, line 3: data is not JSON: "three"`) {
			l.Errorf("exit code %d: %v", exitCode(err), err)
		}
		l.want("sent", h.received(), "1 4 7")
		l.want("told", l.tellings(), `bester: line 3 is skipped: data is not JSON: "three"; --text takes it as plain text
bester: line 5 is skipped: 82 bytes are more than the hub takes: hub.frame in its config sets the limit
bester: line 6 is skipped: 200001 bytes are more than the hub takes: hub.frame in its config sets the limit`)
	})
}

// With --strict the first wrong line ends it, after those before it were confirmed.
func TestStrictStopsAtAWrongLine(t *testing.T) {
	testLines(t, lineOptions{strict: true}, func(l *lineTest) {
		h := newLineHub()
		l.setHub(func() (session, error) { return h, nil })
		io.WriteString(l.in, "1\n2\nthree\n4\n")
		err := <-l.outcome
		if exitCode(err) != exitFailed || !strings.Contains(err.Error(), "line 3: data is not JSON") || !strings.Contains(err.Error(), "tail -n +3 FILE") {
			l.Errorf("exit code %d: %v", exitCode(err), err)
		}
		l.want("sent", h.received(), "1 2")
	})
}

// A line that only the connection finds too long is skipped; with --strict it ends it, and
// what was read after it is not sent.
func TestRefusedByTheConnection(t *testing.T) {
	for _, strict := range []bool{false, true} {
		testLines(t, lineOptions{strict: strict}, func(l *lineTest) {
			h := newLineHub()
			send := h.send
			h.send = func(m *hub.Message, done func(error)) error {
				if string(m.Data.Bytes) == "2" {
					return errors.New("too long")
				}
				return send(m, done)
			}
			l.setHub(func() (session, error) { return h, nil })
			io.WriteString(l.in, "1\n2\n3\n")
			l.in.Close()
			err := <-l.outcome
			if strict {
				l.want("sent", h.received(), "1")
				l.want("exit code", fmt.Sprint(exitCode(err)), "1")
			} else {
				l.want("sent", h.received(), "1 3")
				l.want("exit code", fmt.Sprint(exitCode(err)), "5")
			}
		})
	}
}

// A connection that takes no more for now is tried again.
func TestBackpressureIsNoError(t *testing.T) {
	testLines(t, lineOptions{}, func(l *lineTest) {
		h := newLineHub()
		send, refused := h.send, 0
		h.send = func(m *hub.Message, done func(error)) error {
			if refused++; refused%3 != 0 {
				return hub.ErrFull
			}
			return send(m, done)
		}
		l.setHub(func() (session, error) { return h, nil })
		io.WriteString(l.in, "1\n2\n3\n")
		l.in.Close()
		if err := <-l.outcome; err != nil {
			l.Error(err)
		}
		l.want("sent", h.received(), "1 2 3")
	})
}

// Messages that fail do not end it; they are counted, and told, but not each.
func TestFailuresAreCounted(t *testing.T) {
	testLines(t, lineOptions{}, func(l *lineTest) {
		h := newLineHub()
		h.answer = func(data string) (bool, error) { return true, hub.ErrNoHandler }
		l.setHub(func() (session, error) { return h, nil })
		for i := range 100 {
			fmt.Fprintln(l.in, i)
		}
		l.in.Close()
		err := <-l.outcome
		if exitCode(err) != exitFailed || !strings.HasPrefix(err.Error(), "100 of 100 messages failed; the first, line 1: ") {
			l.Errorf("exit code %d: %v", exitCode(err), err)
		}
		if n := strings.Count(l.tellings(), "failed"); n != firstNotices {
			l.Errorf("told %d times, want %d", n, firstNotices)
		}
	})
}

// --timeout ends the patience with a hub that is away, or does not answer, and says what
// has no answer.
func TestPatienceEnds(t *testing.T) {
	testLines(t, lineOptions{hubTimeout: 5 * time.Second}, func(l *lineTest) {
		began := time.Now()
		err := <-l.outcome
		if took := time.Since(began); exitCode(err) != exitUnreachable || !errors.Is(err, syscall.ECONNREFUSED) || took < 5*time.Second || took > 6*time.Second {
			l.Errorf("after %v, exit code %d: %v", took, exitCode(err), err)
		}
	})
	testLines(t, lineOptions{hubTimeout: 5 * time.Second}, func(l *lineTest) {
		h := newLineHub()
		h.answer = func(data string) (bool, error) { return data != "2", nil }
		l.setHub(func() (session, error) { return h, nil })
		io.WriteString(l.in, "1\n2\n3\n")
		began := time.Now()
		err := <-l.outcome
		if took := time.Since(began); exitCode(err) != exitUnreachable || took < 5*time.Second || took > 6*time.Second {
			l.Errorf("after %v, exit code %d: %v", took, exitCode(err), err)
		}
		if want := "the hub did not answer in 5s\n2 messages were sent, 0 failed; line 2 and what follows it have no answer. To go on from there:\n  tail -n +2 FILE | bester send --lines chat"; err.Error() != want {
			l.Errorf("got %q, want %q", err, want)
		}
	})
	testLines(t, lineOptions{hubTimeout: 5 * time.Second}, func(l *lineTest) {
		h := newLineHub()
		l.setHub(func() (session, error) { return h, nil })
		time.Sleep(time.Hour) // a quiet input is no reason
		l.in.Close()
		if err := <-l.outcome; err != nil {
			l.Error(err)
		}
	})
}

// Who is not let in again is told what has no answer.
func TestDeniedLater(t *testing.T) {
	testLines(t, lineOptions{}, func(l *lineTest) {
		h := newLineHub()
		h.answer = func(string) (bool, error) { return false, nil }
		l.setHub(func() (session, error) { return h, nil })
		fmt.Fprintln(l.in, 1)
		synctest.Wait()
		l.setHub(func() (session, error) { return nil, &exitError{exitDenied, hub.ErrDenied} })
		h.end()
		err := <-l.outcome
		if exitCode(err) != exitDenied || !strings.Contains(err.Error(), "not allowed\n0 messages were sent, 0 failed; line 1 and what follows") {
			l.Errorf("exit code %d: %v", exitCode(err), err)
		}
		if strings.Contains(l.tellings(), "Trying again") {
			l.Errorf("told %q", l.tellings())
		}
	})
}

// Ctrl-C ends it, also while it waits for input, an answer or the hub.
func TestInterruptedLines(t *testing.T) {
	for _, connected := range []bool{false, true} {
		for _, line := range []string{"", "1\n"} {
			testLines(t, lineOptions{}, func(l *lineTest) {
				h := newLineHub()
				h.answer = func(string) (bool, error) { return false, nil }
				if connected {
					l.setHub(func() (session, error) { return h, nil })
					io.WriteString(l.in, line)
				}
				synctest.Wait()
				l.cancel()
				err := <-l.outcome
				if connected && line != "" {
					if exitCode(err) != exitInterrupted || !strings.Contains(err.Error(), "line 1 and what follows it have no answer") {
						l.Errorf("exit code %d: %v", exitCode(err), err)
					}
				} else if !errors.Is(err, context.Canceled) {
					l.Errorf("got %v, want %v", err, context.Canceled)
				}
			})
		}
	}
}

// An error of the input is told after what came before it was sent.
func TestInputError(t *testing.T) {
	testLines(t, lineOptions{}, func(l *lineTest) {
		h := newLineHub()
		l.setHub(func() (session, error) { return h, nil })
		io.WriteString(l.in, "1\n")
		l.in.CloseWithError(syscall.EIO)
		err := <-l.outcome
		if exitCode(err) != exitFailed || !strings.Contains(err.Error(), "standard input, after line 1: input/output error") {
			l.Errorf("exit code %d: %v", exitCode(err), err)
		}
		l.want("sent", h.received(), "1")
	})
}

// What is too long for any message is refused, not cut.
func TestInputTooLong(t *testing.T) {
	if b, err := readAll(strings.NewReader("1234"), 4); string(b) != "1234" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
	if _, err := readAll(strings.NewReader("12345"), 4); err == nil || !strings.Contains(err.Error(), "more than 4 bytes") {
		t.Errorf("got %v", err)
	}
}

// The hub's notes are told as they come, the first ones each, and at the end only what was
// not told.
func TestNotesAreToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c lineCounts
		told := 0
		for i := range firstNotices {
			if more, ok := c.note(i+1, "nobody is there"); ok && more == "" {
				told++
			}
		}
		if told != firstNotices || c.noteSummary() != "" {
			t.Errorf("%d told at once, %q at the end", told, c.noteSummary())
		}
		if _, ok := c.note(9, "nobody is there"); ok {
			t.Error("too many are told at once")
		}
		if got := c.noteSummary(); got != "4 messages, line 1 the first: nobody is there" {
			t.Errorf("at the end: %q", got)
		}
		time.Sleep(noticeInterval)
		if more, ok := c.note(10, "nobody is there"); !ok || !strings.Contains(more, "1 more") {
			t.Errorf("later: %q, %v", more, ok)
		}
		if more, ok := c.note(11, ""); ok || more != "" {
			t.Error("told without a note")
		}
	})
}
