package bformat

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

// raceEnabled tells tests that count allocations that sync.Pool forgets at random.
var raceEnabled bool

// frames returns n payloads of sizes that cross every buffer's edge, and their stream.
func frames(n int, sizes ...int) (payloads [][]byte, stream []byte) {
	for i := range n {
		p := bytes.Repeat([]byte{byte(i)}, sizes[i%len(sizes)])
		payloads = append(payloads, p)
		stream = Append(stream, p)
	}
	return payloads, stream
}

func TestReaderAnySplit(t *testing.T) {
	sizes := []int{0, 1, 3, 4, 5, 64, 503, 504, 505, 507, 508, 509, 511, 512, 513, 4096,
		largeSize - 5, largeSize - 4, largeSize - 3, largeSize, largeSize + 1, 3 * largeSize, 0, 200000, 7, 7}
	want, stream := frames(3*len(sizes), sizes...)
	small, smallStream := frames(20000, 0, 1, 64, 65, 17)
	rnd := rand.New(rand.NewPCG(1, 2))
	random := func(r io.Reader) io.Reader {
		return readerFunc(func(b []byte) (int, error) {
			return r.Read(b[:min(len(b), 1+int(rnd.ExpFloat64()*3000))])
		})
	}
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"whole":      func(r io.Reader) io.Reader { return r },
		"byte":       iotest.OneByteReader,
		"half":       iotest.HalfReader,
		"data+error": iotest.DataErrReader,
		"random":     random,
	} {
		t.Run(name, func(t *testing.T) {
			for _, c := range []struct {
				want   [][]byte
				stream []byte
			}{{want, stream}, {small, smallStream}} {
				r := NewReader(wrap(bytes.NewReader(c.stream)), 0)
				for i, w := range c.want {
					got, err := r.Next()
					if err != nil || !bytes.Equal(got, w) {
						t.Fatalf("frame %d: got %d bytes, %v; want %d bytes", i, len(got), err, len(w))
					}
				}
				for range 2 {
					if got, err := r.Next(); err != io.EOF {
						t.Fatalf("at the end: got %q, %v; want io.EOF", got, err)
					}
				}
				r.SetIdle(func() { t.Error("idle with an error to report") })
				r.Next()
			}
		})
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

func TestReaderEnds(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		name string
		src  io.Reader
		n    int // frames before the error
		want error
	}{
		{"empty", strings.NewReader(""), 0, io.EOF},
		{"in header", strings.NewReader("\x01\x00\x00\x00x\x01\x00\x00"), 1, io.ErrUnexpectedEOF},
		{"in payload", strings.NewReader("\x02\x00\x00\x00x"), 0, io.ErrUnexpectedEOF},
		{"after header", strings.NewReader("\x02\x00\x00\x00"), 0, io.ErrUnexpectedEOF},
		{"error after frames", io.MultiReader(strings.NewReader("\x00\x00\x00\x00\x00\x00\x00\x00"), iotest.ErrReader(broken)), 2, broken},
		{"error in frame", io.MultiReader(strings.NewReader("\x00"), iotest.ErrReader(broken)), 0, broken},
		{"no progress", readerFunc(func([]byte) (int, error) { return 0, nil }), 0, io.ErrNoProgress},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := NewReader(c.src, 0)
			for i := range c.n {
				if _, err := r.Next(); err != nil {
					t.Fatalf("frame %d: %v", i, err)
				}
			}
			for range 3 {
				if _, err := r.Next(); err != c.want {
					t.Errorf("got %v, want %v", err, c.want)
				}
			}
		})
	}
	for _, n := range []int{-1, smallSize + 1} {
		r := NewReader(readerFunc(func([]byte) (int, error) { return n, nil }), 0)
		if _, err := r.Next(); err == nil {
			t.Errorf("a stream that reports %d bytes read: got no error", n)
		}
	}
}

func TestReaderLimit(t *testing.T) {
	_, stream := frames(3, 10)
	r := NewReader(bytes.NewReader(stream), 9)
	var le *LimitError
	for range 2 {
		if _, err := r.Next(); !errors.As(err, &le) || *le != (LimitError{10, 9}) {
			t.Fatalf("got %v, want a LimitError of 10 over 9", err)
		}
		r.SetLimit(100) // must not bring it back to life
	}

	r = NewReader(bytes.NewReader(stream), 10)
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	r.SetLimit(9)
	r.SetIdle(func() { t.Error("idle although the next frame is refused without reading") })
	if _, err := r.Next(); !errors.As(err, &le) {
		t.Fatalf("got %v, want a LimitError for a frame that was in memory when the limit fell", err)
	}

	r = NewReader(strings.NewReader("\xff\xff\xff\xff\x00"), math.MaxInt) // taken as MaxPayload
	if _, err := r.Next(); !errors.As(err, &le) || le.Length != 1<<32-1 {
		t.Fatalf("got %v, want a LimitError", err)
	}
}

// A header may announce what it likes: memory follows the bytes that come.
func TestReaderMemoryFollowsBytes(t *testing.T) {
	var got uint64
	for _, sent := range []int{0, 56, 600, largeSize, 3 * largeSize} {
		stream := append(binary.LittleEndian.AppendUint32(nil, DefaultLimit), make([]byte, sent)...)
		readBuffers[2].pool.Get() // so that the pool's buffer counts as well, most of the time
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r := NewReader(bytes.NewReader(stream), 0)
		if _, err := r.Next(); err != io.ErrUnexpectedEOF {
			t.Fatalf("got %v, want io.ErrUnexpectedEOF", err)
		}
		runtime.ReadMemStats(&after)
		got = after.TotalAlloc - before.TotalAlloc
		if limit := uint64(8<<10 + 4*max(sent, largeSize)); got > limit {
			t.Errorf("%d bytes of a frame of 1 MiB allocated %d bytes, want at most %d", sent, got, limit)
		}
		if sent < smallSize-HeaderSize && got > largeSize {
			t.Errorf("%d bytes of a frame of 1 MiB allocated %d bytes, want at most %d", sent, got, largeSize)
		}
	}
}

// A Reader that waits for input holds a small buffer.
func TestReaderIdleIsSmall(t *testing.T) {
	_, busy := frames(1000, 64)
	_, long := frames(1, 200000)
	for name, c := range map[string]struct {
		sent []byte
		want int
	}{
		"fresh":            {nil, smallSize},
		"after a burst":    {busy[:len(busy)-68*3], smallSize},
		"inside a frame":   {busy[:len(busy)-70], smallSize},
		"after a long one": {long, smallSize},
	} {
		var r *Reader
		held := 0
		src := io.MultiReader(bytes.NewReader(c.sent), readerFunc(func([]byte) (int, error) {
			held = len(r.buf)
			return 0, io.EOF
		}))
		r = NewReader(src, 0)
		for {
			if _, err := r.Next(); err != nil {
				break
			}
		}
		if held != c.want || r.pooled != nil {
			t.Errorf("%s: waits with a buffer of %d bytes, want %d", name, held, c.want)
		}
	}
}

func TestReaderRelease(t *testing.T) {
	_, stream := frames(1000, 64)
	r := NewReader(bytes.NewReader(stream), 0)
	for range 20 {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	r.Release()
	r.Release()
	if _, err := r.Next(); err != ErrReleased || r.pooled != nil {
		t.Errorf("got %v, want ErrReleased", err)
	}
	r = NewReader(strings.NewReader(""), 0)
	_, _ = r.Next()
	r.Release()
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("got %v, want the error from before Release", err)
	}
}

// loop is a stream without end.
type loop struct {
	b   []byte
	off int
}

func (l *loop) Read(b []byte) (int, error) {
	n := copy(b, l.b[l.off:])
	l.off = (l.off + n) % len(l.b)
	return n, nil
}

func TestReaderAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("pools forget under the race detector")
	}
	_, stream := frames(5000, 64, 0, 600, 20)
	r := NewReader(&loop{b: stream}, 0)
	if got := testing.AllocsPerRun(20000, func() {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}); got != 0 {
		t.Errorf("%v allocations a frame, want 0", got)
	}
}

func vectors(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.hex")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no vectors under testdata: %v", err)
	}
	vs := make(map[string][]byte)
	for _, p := range paths {
		text, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		var b []byte
		for line := range strings.Lines(string(text)) {
			line, _, _ = strings.Cut(line, "#")
			for _, f := range strings.Fields(line) {
				var c byte
				if _, err := fmt.Sscanf(f, "%02x", &c); err != nil {
					t.Fatalf("%s: %q: %v", p, f, err)
				}
				b = append(b, c)
			}
		}
		vs[filepath.Base(p)] = b
	}
	return vs
}

func TestVectors(t *testing.T) {
	for name, want := range map[string]struct {
		payloads []string
		err      error
	}{
		"empty.hex":            {[]string{""}, io.EOF},
		"hello.hex":            {[]string{"hello"}, io.EOF},
		"three.hex":            {[]string{"a", "", "bc"}, io.EOF},
		"length-256.hex":       {[]string{strings.Repeat("\x2a", 256)}, io.EOF},
		"cut-header.hex":       {nil, io.ErrUnexpectedEOF},
		"cut-payload.hex":      {[]string{"ok"}, io.ErrUnexpectedEOF},
		"over-limit.hex":       {nil, &LimitError{DefaultLimit + 1, DefaultLimit}},
		"longest-possible.hex": {nil, &LimitError{1<<32 - 1, DefaultLimit}},
	} {
		stream, ok := vectors(t)[name]
		if !ok {
			t.Errorf("%s is missing", name)
			continue
		}
		r := NewReader(bytes.NewReader(stream), 0)
		for i, w := range want.payloads {
			if got, err := r.Next(); err != nil || string(got) != w {
				t.Errorf("%s: frame %d: got %q, %v; want %q", name, i, got, err, w)
			}
		}
		if _, err := r.Next(); err == nil || err.Error() != want.err.Error() {
			t.Errorf("%s: got %v, want %v", name, err, want.err)
		}
	}
}

// Property: the frames that are read, appended again, are the bytes of the stream, except
// for a frame that is incomplete or refused. It holds for every split.
func FuzzReader(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v, uint16(1))
		f.Add(v, uint16(1000))
	}
	f.Fuzz(func(t *testing.T, stream []byte, chunk uint16) {
		src := bytes.NewReader(stream)
		r := NewReader(readerFunc(func(b []byte) (int, error) {
			return src.Read(b[:min(len(b), 1+int(chunk))])
		}), 1000)
		var again []byte
		idle := false
		r.SetIdle(func() {
			idle = true
			if r.Progress() != 0 {
				t.Fatal("the peer is waited for while the reader is idle")
			}
		})
		for {
			left := src.Len()
			idle = false
			p, err := r.Next()
			if !idle && src.Len() != left {
				t.Fatal("Next read and was not idle")
			}
			if err != nil {
				var le *LimitError
				rest := stream[len(again):]
				switch {
				case errors.As(err, &le) && binary.LittleEndian.Uint32(rest) == le.Length && le.Length > 1000:
				case err == io.EOF && len(rest) == 0:
				case err == io.ErrUnexpectedEOF && len(rest) > 0:
				default:
					t.Fatalf("%v with %d bytes left", err, len(rest))
				}
				break
			}
			again = Append(again, p)
		}
		if !bytes.HasPrefix(stream, again) {
			t.Fatalf("read %x, which is not how %x begins", again, stream)
		}
	})
}

func BenchmarkReader64(b *testing.B) {
	_, stream := frames(1000, 64)
	r := NewReader(&loop{b: stream}, 0)
	b.SetBytes(68)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Next(); err != nil {
			b.Fatal(err)
		}
	}
}
