package session

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/wire"
)

// until polls for a condition inside the hub that is not visible from outside.
func until(t testing.TB, what string, happens func() bool) {
	t.Helper()
	for late := time.Now().Add(patience); !happens(); time.Sleep(time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("it does not come to this: %s", what)
		}
	}
}

// heap returns the bytes on the heap that are in use.
func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // the second one empties the pools
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// almost returns a frame of 1 MiB without its last byte.
func almost() []byte {
	return append(binary.LittleEndian.AppendUint32(nil, 1<<20), make([]byte, 1<<20-1)...)
}

// The memory of a long frame is released when it has been handled, though its session is idle.
func TestLongFrameMemoryIsReleased(t *testing.T) {
	const n = 40
	h := run(t, Options{Limits: Limits{MaxFrame: 2 << 20}})
	h.account(t, "old", nil)
	pass := hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error { a.Pass(m.Data); return nil })
	drop := hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error { a.Drop(); return nil })
	if err := h.router.SetRoutes([]hub.Route{{Match: "long", Through: []hub.Handler{pass, drop}, To: []hub.Address{{User: "nobody"}}}}); err != nil {
		t.Fatal(err)
	}
	long := `"` + strings.Repeat("x", 1<<20) + `"`
	var native, classic []*peer
	for range n {
		native, classic = append(native, h.native(t, "ann")), append(classic, h.classic(t, "old"))
	}
	before := heap()
	for i := range n {
		native[i].send(1, "long", long)
		native[i].want("status 1: good")
		classic[i].text(classicMessage("long", "1", long))
		classic[i].want(classicGood("1"))
	}
	if grown := heap() - before; grown > n/4<<20 {
		t.Errorf("the heap has grown by %d bytes after %d frames of 1 MiB", grown, 2*n)
	}
	runtime.KeepAlive(native)
	runtime.KeepAlive(classic)
}

// Sessions that each stall inside a long frame hold no more than Limits.Memory.
func TestLongFramesShareMemory(t *testing.T) {
	const n, memory, each = 300, 8 << 20, 32 << 10
	h := run(t, Options{Limits: Limits{Memory: memory, WriteTimeout: time.Hour}}) // none is closed for being slow
	ann, bob := h.native(t, "ann"), h.native(t, "bob")
	ends, almost := make(chan string, n), almost()
	before := heap()
	for range n {
		p := h.native(t, "greedy")
		p.SetDeadline(time.Time{})
		go func() {
			p.Write(almost) // fails if the hub has closed first
			what := "cut"
			if f, err := p.in.Next(); err == nil {
				what, _ = describe(f)
			}
			io.Copy(io.Discard, p)
			ends <- what
		}()
	}
	var whole int
	until(t, "all frames are read as far as they go, or refused", func() bool {
		whole = 0
		for _, s := range h.sessionList() {
			if s.in.Progress() > 1<<20 && s.endReason.Load() == nil {
				whole++
			}
		}
		return whole+int(h.Stats().NoMemory) == n
	})
	for range n - whole {
		if got := <-ends; got != "cut" && got != "goodbye: "+errReclaimed.Error() && !strings.HasPrefix(got, "status 0: queue is full: bformat: no memory left for a frame: 1048576 bytes") {
			t.Fatalf("refused with %s", got)
		}
	}
	grown, s := heap()-before, h.Stats()
	t.Logf("%d frames of 1 MiB held, %d refused, heap +%d bytes, %+v", whole, s.NoMemory, grown, s)
	if s.Memory > memory || whole == 0 || whole > memory>>20 {
		t.Errorf("%d frames held, with %d bytes taken of %d", whole, s.Memory, memory)
	}
	if most := memory + n*each; grown > most {
		t.Errorf("the heap has grown by %d bytes, want at most %d", grown, most)
	}
	h.log.want(t, "memory", "session.memory") // refused, or on a slow machine cut off for others

	// Others still get through, with frames short and not so short.
	for i, size := range []int{1, 1000, 50_000, 100_000} {
		ann.send(uint64(1+i), "t", fmt.Sprintf("%q", strings.Repeat("x", size)), "bob")
		ann.want(fmt.Sprintf("status %d: good", 1+i))
		if got := bob.next(); len(got) < size {
			t.Errorf("got %.40s", got)
		}
	}
	for _, s := range h.sessionList() { // their memory is released
		if s.name == "greedy" {
			s.abort()
		}
	}
	for range whole {
		<-ends
	}
	until(t, "all memory is given back", func() bool { return h.Stats().Memory == 0 })
	ann.send(9, "t", fmt.Sprintf("%q", strings.Repeat("x", 1_000_000)), "bob")
	ann.want("status 9: good")
}

// The queues of sessions that do not read share Limits.Memory.
func TestQueuesShareMemory(t *testing.T) {
	const n, memory, each = 200, 4 << 20, 64 << 10
	h := run(t, Options{Limits: Limits{Memory: memory}})
	h.route(t, "r", "slow", "quick")
	quick, sam := h.native(t, "quick"), h.native(t, "sam")
	before := heap()
	for range n {
		h.native(t, "slow")
	}
	for i := 0; i < 900 || h.Stats().Dropped == 0 && i < 20_000; i++ { // until the kernel's buffers are full, too
		sam.send(1, "r", numbered(i))
		sam.want("status 1: good")
		if got := number(t, quick.next()); got != i {
			t.Fatalf("quick got %d, want %d", got, i)
		}
	}
	grown, s := heap()-before, h.Stats()
	t.Logf("heap +%d bytes, %+v", grown, s)
	if s.Memory > memory || s.Memory < memory/2 || s.MemoryRefused == 0 || s.Dropped == 0 {
		t.Errorf("got %+v", s)
	}
	if most := memory + n*each; grown > most {
		t.Errorf("the heap has grown by %d bytes, want at most %d", grown, most)
	}
	h.log.want(t, "deliveries lost", "out of memory", "session.memory")
}

// A queue that drops frames because of its own limit is not reported as short of memory,
// though memory was short a moment before.
func TestFullQueueIsNotStarved(t *testing.T) {
	h := run(t, Options{Limits: Limits{Memory: 1 << 20, QueueBytes: 4 << 10}})
	h.route(t, "r", "slow")
	h.native(t, "slow")
	in := bformat.NewReader(bytes.NewReader(almost()), 0)
	in.SetBudget(h.memory)
	if _, err := in.Next(); !errors.Is(err, bformat.ErrMemory) {
		t.Fatalf("got %v, want ErrMemory", err)
	}
	sam := h.native(t, "sam")
	for i := 0; h.Stats().Dropped == 0; i++ { // until the kernel's buffers are full, too
		if i == 20_000 {
			t.Fatal("nothing is dropped")
		}
		sam.send(1, "r", numbered(i))
		sam.want("status 1: good")
	}
	for len(h.log) > 0 {
		if line := <-h.log; strings.Contains(line, "memory") {
			t.Errorf("logged %s", line)
		}
	}
	if s := h.Stats(); s.MemoryRefused == 0 {
		t.Errorf("got %+v", s)
	}
}

// A peer that stalls inside a frame is told and closed; one that is idle between frames stays.
func TestStoppedInAFrame(t *testing.T) {
	h := run(t, Options{Limits: Limits{WriteTimeout: time.Hour}})
	h.account(t, "ann", nil)
	now := time.Hour // the server's own clock has not come so far
	passTime := func(p *peer) {
		until(t, "the hub has read all that there is of the frame", func() bool {
			return slices.ContainsFunc(h.sessionList(), func(s *session) bool {
				return s.endReason.Load() == nil && s.in.Progress() != 0 && s.in.Activity() == uint64(p.written)
			})
		})
		h.endStalled(now)
		now += time.Hour
		h.endStalled(now)
	}
	const goodbye = "goodbye: a frame has begun and did not get on in time"
	quiet := h.native(t, "quiet")
	secure := func() *peer {
		p := h.peer(t, "tls", h.tls)
		p.hello(&wire.Hello{Role: wire.RoleClient, User: "ann", Password: "p"})
		p.wantIn("hello")
		return p
	}
	stopped := uint64(0)
	for name, part := range map[string][]byte{"header": {200, 0}, "short": {200, 0, 0, 0, 1, 2, 3}, "long": almost()} {
		for network, p := range map[string]*peer{"unix": h.native(t, "ann"), "tls": secure()} {
			p.frames(sent(1, "dummy", "1")) // earlier messages are answered
			p.want("status 1: good")
			p.Write(part)
			passTime(p)
			p.want(goodbye, "end")
			if s := h.Stats(); s.Stalled != stopped+1 {
				t.Errorf("%s, %s: counted %d", name, network, s.Stalled)
			}
			stopped++
		}
	}
	c := h.classic(t, "ann")
	c.Write([]byte{9, 0, 0, 0, '{'})
	passTime(c)
	c.wantIn(`"bad"`, "did not get on", `"id":""`)
	c.want("end")
	h.log.want(t, "session.write", "user=ann")
	until(t, "their memory is given back", func() bool { return h.Stats().Memory == 0 })
	quiet.lives()
}

// A slow peer is not stalled: it has the time limit for each 64 KiB.
func TestSlowFrameIsNotStalled(t *testing.T) {
	h := run(t, Options{Limits: Limits{WriteTimeout: time.Hour}})
	p := h.native(t, "ann")
	s := h.sessionList()[0]
	frame := bformat.Append(nil, sent(1, "dummy", fmt.Sprintf("%q", strings.Repeat("x", 300_000))))
	stalled := func(at time.Duration) bool { return len(h.findStalled(at)) > 0 }
	now := time.Hour // no periodic check comes before that
	for sent := 0; sent+64<<10 < len(frame); sent += 64 << 10 {
		was := s.in.Progress()
		p.Write(frame[sent : sent+64<<10])
		until(t, "the hub sees the frame get on", func() bool { p := s.in.Progress(); return p != was && p != 0 })
		for _, later := range []time.Duration{0, 59 * time.Minute} {
			if now += later; stalled(now) {
				t.Fatal("stopped, though it gets on")
			}
		}
	}
	if !stalled(now + time.Minute) {
		t.Error("goes on for ever")
	}
	p.Write(frame[len(frame)/(64<<10)*(64<<10):])
	p.want("status 1: good")
}

// A handler process that stalls inside a frame is cut off, too.
func TestStalledHandlerIsCutOff(t *testing.T) {
	ended := make(chan error, 1)
	h := run(t, Options{Limits: Limits{WriteTimeout: 20 * time.Millisecond}, Handler: func(hs HandlerConn) {
		_, err := hs.In.Next()
		ended <- err
		hs.Conn.Close()
	}})
	p := h.peer(t, "unix", h.unix)
	p.hello(&wire.Hello{Role: wire.RoleHandler, Name: "x", Types: []string{"t"}})
	p.Write([]byte{9, 0, 0, 0})
	if err := <-ended; err == nil || errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
	h.log.want(t, "session closed", "stopped inside a frame")
}
