package asynclog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// wait is how long a test waits for what must come. It is no measure of speed.
const wait = time.Minute

// A gate is a reader that reads when the test lets it.
type gate struct {
	open chan error // one value a Write: what it returns

	mu  sync.Mutex
	got bytes.Buffer
	in  chan struct{} // one value a Write that has begun
}

func newGate() *gate { return &gate{open: make(chan error, 1<<16), in: make(chan struct{}, 1<<16)} }

func (g *gate) Write(b []byte) (int, error) {
	g.in <- struct{}{}
	if err := <-g.open; err != nil {
		return 0, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.got.Write(b)
}

func (g *gate) String() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.got.String()
}

func TestLinesComeWholeAndInOrder(t *testing.T) {
	defer goleak.VerifyNone(t)
	var got bytes.Buffer
	w := New(&got, 0)
	var want strings.Builder
	for i := range 1000 {
		fmt.Fprintf(w, "line %d\n", i)
		fmt.Fprintf(&want, "line %d\n", i)
	}
	io.WriteString(w, "the last has no end")
	want.WriteString("the last has no end\n")
	if !w.Close(wait) {
		t.Fatal("not closed")
	}
	if got.String() != want.String() || w.Lost() != 0 {
		t.Errorf("%d lines lost; got %d bytes, want %d", w.Lost(), got.Len(), want.Len())
	}
	io.WriteString(w, "too late\n")
	if w.Lost() != 1 {
		t.Errorf("a line after Close: %d lost, want 1", w.Lost())
	}
}

func TestStalledReaderCostsLinesAndNothingElse(t *testing.T) {
	g := newGate()
	w := New(g, 100)
	io.WriteString(w, "first\n")
	<-g.in // on its way, and stays there
	line := strings.Repeat("x", 49) + "\n"
	for range 10 {
		if n, err := io.WriteString(w, line); n != len(line) || err != nil {
			t.Fatalf("got %d, %v", n, err)
		}
	}
	io.WriteString(w, "short\n") // would fit, but not in its place
	if got := w.Lost(); got != 9 {
		t.Errorf("%d lines lost, want 9", got)
	}
	g.open <- nil // first
	<-g.in        // the two lines
	g.open <- nil
	<-g.in // the report
	g.open <- nil
	io.WriteString(w, "after\n")
	g.open <- nil
	if !w.Close(wait) {
		t.Fatal("not closed")
	}
	if got, want := g.String(), "first\n"+line+line+"9 log lines were lost: standard error was not read in time\nafter\n"; got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestCloseGivesUp(t *testing.T) {
	g := newGate()
	w := New(g, 0)
	io.WriteString(w, "stuck\n")
	<-g.in
	if w.Close(time.Millisecond) {
		t.Error("closed, though the line is not written")
	}
	g.open <- nil
	if !w.Close(wait) {
		t.Error("not closed")
	}
}

func TestFailedWritesAreCountedAndReported(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{&os.PathError{Op: "write", Path: "/dev/stderr", Err: syscall.EPIPE}, "the reader of standard error had ended"},
		{&os.PathError{Op: "write", Path: "/dev/stderr", Err: syscall.ENOSPC}, "standard error could not be written: no space left on device"},
	} {
		g := newGate()
		w := New(g, 0)
		w.SetReport(func(w io.Writer, lines uint64, reason error) { fmt.Fprintf(w, "lost=%d reason=%v\n", lines, reason) })
		io.WriteString(w, "one\ntwo\n")
		g.open <- c.err // the two lines
		<-g.in
		g.open <- c.err // the report
		<-g.in
		io.WriteString(w, "three\n")
		g.open <- nil
		g.open <- nil
		if !w.Close(wait) {
			t.Fatal("not closed")
		}
		if got, want := g.String(), "lost=2 reason="+c.want+"\nthree\n"; got != want {
			t.Errorf("got:\n%swant:\n%s", got, want)
		}
		if w.Lost() != 2 {
			t.Errorf("%d lost, want 2", w.Lost())
		}
	}
}

// A shortWriter takes n bytes and then fails once.
type shortWriter struct {
	bytes.Buffer
	n int
}

func (s *shortWriter) Write(b []byte) (int, error) {
	if s.n < 0 || len(b) <= s.n {
		s.n = max(s.n-len(b), -1)
		return s.Buffer.Write(b)
	}
	n, _ := s.Buffer.Write(b[:s.n])
	s.n = -1
	return n, errors.New("full")
}

// A line that was written in part stays a line of its own.
func TestTornLine(t *testing.T) {
	s := &shortWriter{n: 6}
	w := New(s, 0)
	io.WriteString(w, "one\ntwo\nthree\n")
	if !w.Close(wait) {
		t.Fatal("not closed")
	}
	if got, want := s.String(), "one\ntw\n2 log lines were lost: full\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Whatever the reader does, each line is there once, whole and in order, or counted in
// its place.
func TestEveryLineIsWrittenOrCounted(t *testing.T) {
	r, pipe, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	w := New(pipe, 2000)
	const lines = 20000
	go func() {
		for i := range lines {
			fmt.Fprintf(w, "%d %s\n", i, strings.Repeat("x", rand.IntN(200)))
		}
		w.Close(wait)
		pipe.Close()
	}()
	var got bytes.Buffer
	for buf := make([]byte, 4096); ; {
		n, err := r.Read(buf[:1+rand.IntN(len(buf))])
		got.Write(buf[:n])
		if err != nil {
			break
		}
		if rand.IntN(50) == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	next, lost := 0, 0
	line := regexp.MustCompile(`^(\d+) x*$`)
	report := regexp.MustCompile(`^(\d+) log lines were lost: `)
	for l := range strings.Lines(got.String()) {
		l = strings.TrimSuffix(l, "\n")
		if m := report.FindStringSubmatch(l); m != nil {
			n, _ := strconv.Atoi(m[1])
			next += n
			lost += n
		} else if m := line.FindStringSubmatch(l); m == nil || m[1] != strconv.Itoa(next) {
			t.Fatalf("got %q, want line %d", l, next)
		} else {
			next++
		}
	}
	if next != lines || uint64(lost) != w.Lost() {
		t.Errorf("%d lines written or reported, want %d; %d reported as lost, %d counted", next, lines, lost, w.Lost())
	}
}

func TestWriteAllocatesNothing(t *testing.T) {
	w := New(io.Discard, 0)
	defer w.Close(wait)
	line := []byte("a line\n")
	w.Write(line)
	if n := testing.AllocsPerRun(1000, func() { w.Write(line) }); n > 1 {
		t.Errorf("%v allocations a line", n)
	}
}

func Example() {
	w := New(os.Stdout, 0)
	fmt.Fprintln(w, "hub started")
	w.Close(time.Second)
	// Output: hub started
}
