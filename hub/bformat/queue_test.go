package bformat

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// gate is a writer whose writes wait for a token; it records each.
type gate struct {
	entered chan struct{}
	open    chan error
	writes  [][]byte
}

func newGate() *gate { return &gate{entered: make(chan struct{}, 1000), open: make(chan error)} }

func (g *gate) Write(b []byte) (int, error) {
	g.entered <- struct{}{}
	if err := <-g.open; err != nil {
		return 0, err
	}
	g.writes = append(g.writes, bytes.Clone(b))
	return len(b), nil
}

// run starts q and returns where Run's error will come.
func run(q *Queue) <-chan error {
	done := make(chan error, 1)
	go func() { done <- q.Run() }()
	return done
}

// payloads reads the frames of b.
func payloads(t *testing.T, b []byte) (ps []string) {
	t.Helper()
	r := NewReader(bytes.NewReader(b), 0)
	for {
		p, err := r.Next()
		if err == io.EOF {
			return ps
		}
		if err != nil {
			t.Fatalf("the queue wrote a broken stream: %v", err)
		}
		ps = append(ps, string(p))
	}
}

// lost returns how many deliveries q has lost.
func lost(q *Queue) uint64 {
	s := q.Stats()
	return s.Lost.Total()
}

func put(t *testing.T, q *Queue, c Class, ps ...string) {
	t.Helper()
	for _, p := range ps {
		if err := q.Put(c, []byte(p)); err != nil {
			t.Fatalf("Put(%q): %v", p, err)
		}
	}
}

func TestQueueWritesWhatWaitsAtOnce(t *testing.T) {
	defer goleak.VerifyNone(t)
	g := newGate()
	q := NewQueue(g, QueueOptions{})
	put(t, q, Droppable(0), "a", "", "b")
	done := run(q)
	q.Flush()
	<-g.entered
	put(t, q, Required, "c")
	put(t, q, Droppable(0), "d")
	if err := q.Put(Required, []byte("e"), nil, []byte("f")); err != nil {
		t.Fatal(err)
	}
	if f, b := q.Waiting(); f != 3 || b != 3*4+4 {
		t.Errorf("waiting: %d frames, %d bytes; want 3 and 16", f, b)
	}
	q.Begin()
	q.Cancel()
	q.Shutdown()
	if err := q.Put(Required); err != ErrShutdown {
		t.Errorf("Put after Shutdown: %v", err)
	}
	g.open <- nil
	g.open <- nil
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	if len(g.writes) != 2 {
		t.Fatalf("%d writes, want 2", len(g.writes))
	}
	got := append(payloads(t, g.writes[0]), payloads(t, g.writes[1])...)
	if want := []string{"a", "", "b", "c", "d", "ef"}; !equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if q.chunk != nil {
		t.Error("an idle queue holds a buffer")
	}
}

func equal(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// Each frame of the tests below is 10 bytes with its header.
// A full queue treats staged frames and put frames alike.
func TestQueueFull(t *testing.T) {
	for _, c := range []struct {
		name     string
		full     OverflowPolicy
		required string // letters put as not droppable
		put      string
		want     string
		err      error
	}{
		{"room", DropOldest, "", "abcdefgh", "abcdefgh", nil},
		{"oldest", DropOldest, "", "abcdefghi", "defghi", nil}, // a quarter of 80 free: 6 frames stay
		{"oldest but required", DropOldest, "bd", "abcdefghi", "bdfghi", nil},
		{"required past the limit", DropOldest, "abcdefghijklmno", "abcdefghijklmno", "abcdefghijklmno", nil},
		{"required over half", DropOldest, "abcde", "abcdefghij", "abcdefgh", nil},
		{"required past twice the limit", DropOldest, "abcdefghijklmnopqrs", "abcdefghijklmnopqrs", "", ErrFull},
		{"newest", DropNewest, "", "abcdefghij", "abcdefgh", nil},
		{"newest but required", DropNewest, "j", "abcdefghij", "abcdefghj", nil},
		{"close", Close, "", "abcdefghi", "", ErrFull},
		{"close but required", Close, "i", "abcdefghi", "abcdefghi", nil},
	} {
		for _, way := range []string{"put", "staged"} {
			t.Run(c.name+" "+way, func(t *testing.T) {
				var out bytes.Buffer
				var told Losses
				q := NewQueue(&out, QueueOptions{Limit: 80, Overflow: c.full, OnLoss: func(l Losses) {
					for why, n := range l {
						told[why] += n
					}
				}})
				s := NewStage(q)
				var err error
				taken, refused := 0, 0
				for _, p := range c.put {
					payload := bytes.Repeat([]byte{byte(p)}, 6)
					if required := bytes.ContainsRune([]byte(c.required), p); !required && way == "staged" {
						err = s.End(append(s.Begin(), payload...), Droppable(0))
					} else if err = s.Flush(); err == nil {
						class := Droppable(0)
						if required {
							class = RequiredDelivery
						}
						err = q.Put(class, payload)
					}
					if dropped := new(DropError); errors.As(err, &dropped) && dropped.Reason == LossFull {
						refused++
						err = nil
						continue
					}
					if err != nil {
						break
					}
					taken++
				}
				if err == nil {
					err = s.Flush()
				}
				if err != c.err {
					t.Errorf("got %v, want %v", err, c.err)
				}
				q.Shutdown()
				if err := q.Run(); err != c.err {
					t.Errorf("Run: got %v, want %v", err, c.err)
				}
				got := ""
				for _, p := range payloads(t, out.Bytes()) {
					got += p[:1]
				}
				if got != c.want {
					t.Errorf("got %q, want %q", got, c.want)
				}
				if refused > 0 && way == "staged" {
					t.Errorf("%d refused, though staged", refused)
				}
				st := q.Stats()
				taken -= s.Lost()
				if int(told.Total()) != taken-len(c.want) || st.Lost != told || int(st.Accepted) != taken || int(st.Delivered) != len(got) || st.Queued != 0 {
					t.Errorf("told of %v lost, counted %+v, want %d taken and %d lost", told, st, taken, taken-len(c.want))
				}
			})
		}
	}
}

// A producer that calls Wait puts no more frames in than the writer writes.
func TestQueueBackpressure(t *testing.T) {
	defer goleak.VerifyNone(t)
	g := newGate()
	q := NewQueue(g, QueueOptions{Limit: 400})
	done := run(q)
	answered := make(chan bool)
	go func() {
		defer close(answered)
		for range 100 {
			q.Wait()
			if f, b := q.Waiting(); b > 100 {
				t.Errorf("%d frames of %d bytes wait already", f, b)
			}
			put(t, q, Required, "an answer that is some fifty bytes long, as they are")
		}
	}()
	for waiting := true; waiting; {
		select {
		case g.open <- nil:
		case <-answered:
			waiting = false
		}
	}
	close(g.open)
	q.Shutdown()
	if err := <-done; err != nil {
		t.Error(err)
	}

	for name, end := range map[string]func(*Queue){
		"Shutdown": (*Queue).Shutdown,
		"Fail":     func(q *Queue) { q.Fail(io.ErrClosedPipe) },
	} {
		q := NewQueue(io.Discard, QueueOptions{Limit: 40}) // and nobody writes
		put(t, q, Droppable(0), "what may be", "dropped")
		if q.Backpressured() {
			t.Error("backpressured by droppable frames")
		}
		q.Wait()
		put(t, q, Required, "an answer")
		if !q.Backpressured() {
			t.Fatal("not backpressured")
		}
		returned := make(chan bool)
		go func() {
			q.Wait()
			close(returned)
		}()
		select {
		case <-returned:
			t.Errorf("%s: did not wait", name)
		case <-time.After(10 * time.Millisecond):
		}
		end(q)
		<-returned
	}
}

// A droppable frame longer than the limit waits beside shorter ones, but no second one does.
func TestQueueFrameOverLimit(t *testing.T) {
	var out bytes.Buffer
	q := NewQueue(&out, QueueOptions{Limit: 80})
	long := string(make([]byte, 300))
	put(t, q, Droppable(0), "a", long, "b")
	put(t, q, Required, string(make([]byte, 120))) // never dropped
	put(t, q, Required, "c")
	if lost(q) != 0 {
		t.Errorf("lost %d", lost(q))
	}
	if err := q.Put(Droppable(1), []byte(long)); err != dropErrors[LossFull] {
		t.Errorf("past the required frames: got %v", err)
	}
	q.Shutdown()
	if err := q.Run(); err != nil {
		t.Fatal(err)
	}
	if got, want := payloads(t, out.Bytes()), []string{"a", long, "b", string(make([]byte, 120)), "c"}; !equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}

	out.Reset()
	q = NewQueue(&out, QueueOptions{Limit: 80})
	put(t, q, Droppable(0), "a", long+"1", long+"2", "b")
	q.Shutdown()
	if err := q.Run(); err != nil {
		t.Fatal(err)
	}
	if got, want := payloads(t, out.Bytes()), []string{long + "2", "b"}; !equal(got, want) || lost(q) != 2 {
		t.Errorf("lost %d; got %q, want %q", lost(q), got, want)
	}
	b := NewBudget(600)
	q = NewQueue(&out, QueueOptions{Limit: 80, Budget: b})
	if err := q.Put(Droppable(0), make([]byte, 400<<10)); err != dropErrors[LossMemory] || b.Used() != 0 || q.chunk != nil {
		t.Errorf("without memory: got %v, %d used", err, b.Used())
	}
}

// Encoding may outgrow the buffer that Begin returned.
func TestQueueGrows(t *testing.T) {
	var out bytes.Buffer
	q := NewQueue(&out, QueueOptions{Limit: 4 << 20})
	var want []string
	for n := 1; n < 1<<20; n *= 3 {
		p := bytes.Repeat([]byte{byte(n)}, n)
		want = append(want, string(p))
		if err := q.End(append(q.Begin(), p...), Droppable(0)); err != nil {
			t.Fatal(err)
		}
	}
	q.Shutdown()
	if err := q.Run(); err != nil {
		t.Fatal(err)
	}
	if got := payloads(t, out.Bytes()); !equal(got, want) {
		t.Error("not what was put")
	}
}

func TestQueueEnds(t *testing.T) {
	defer goleak.VerifyNone(t)
	broken := errors.New("broken")
	t.Run("write error", func(t *testing.T) {
		g := newGate()
		q := NewQueue(g, QueueOptions{})
		done := run(q)
		put(t, q, Required, "a")
		q.Flush()
		<-g.entered
		put(t, q, RequiredDelivery, "b", "c")
		g.open <- broken
		if err := <-done; err != broken {
			t.Errorf("Run: got %v, want %v", err, broken)
		}
		if err := q.Put(Required, nil); err != broken || lost(q) != 2 || q.Err() != broken {
			t.Errorf("got %v with %d dropped, want %v with 2", err, lost(q), broken)
		}
	})
	t.Run("fail while idle", func(t *testing.T) {
		q := NewQueue(newGate(), QueueOptions{})
		done := run(q)
		q.Fail(broken)
		q.Fail(io.EOF)
		if err := <-done; err != broken {
			t.Errorf("Run: got %v, want the first error", err)
		}
	})
	t.Run("fail before run", func(t *testing.T) {
		q := NewQueue(newGate(), QueueOptions{})
		put(t, q, Required, "a")
		q.Fail(nil)
		if err := q.Run(); err != io.ErrClosedPipe || q.chunk != nil {
			t.Errorf("Run: got %v", err)
		}
	})
	t.Run("fail between begin and end", func(t *testing.T) {
		q := NewQueue(newGate(), QueueOptions{})
		b := q.Begin()
		failed := make(chan struct{})
		go func() { q.Fail(broken); close(failed) }()
		if err := q.End(append(b, 1), Droppable(0)); err != nil && err != broken {
			t.Errorf("End: %v", err)
		}
		<-failed
		if err := q.End(append(q.Begin(), 1), Droppable(0)); err != broken || q.chunk != nil {
			t.Errorf("End: got %v, want %v", err, broken)
		}
	})
	t.Run("peer does not read", func(t *testing.T) {
		a, b := net.Pipe()
		defer b.Close()
		defer a.Close()
		q := NewQueue(a, QueueOptions{Timeout: time.Millisecond})
		put(t, q, Required, "a")
		q.Shutdown()
		var ne net.Error
		if err := q.Run(); !errors.As(err, &ne) || !ne.Timeout() {
			t.Errorf("Run: got %v, want a timeout", err)
		}
	})
	t.Run("short write", func(t *testing.T) {
		q := NewQueue(writerFunc(func(b []byte) (int, error) { return len(b) - 1, nil }), QueueOptions{})
		put(t, q, Required, "a")
		q.Shutdown()
		if err := q.Run(); err != io.ErrShortWrite {
			t.Errorf("Run: got %v, want io.ErrShortWrite", err)
		}
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestQueueAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("pools forget under the race detector")
	}
	wrote := make(chan struct{})
	q := NewQueue(writerFunc(func(b []byte) (int, error) { wrote <- struct{}{}; return len(b), nil }), QueueOptions{})
	done := run(q)
	payload := make([]byte, 64)
	if got := testing.AllocsPerRun(2000, func() {
		for i := range 64 {
			if err := q.End(append(q.Begin(), payload...), Class(i%4)); err != nil {
				t.Fatal(err)
			}
		}
		q.Flush()
		<-wrote
	}); got != 0 {
		t.Errorf("%v allocations for 64 frames, want 0", got)
	}
	q.Shutdown()
	<-done
}
