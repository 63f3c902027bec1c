package spool

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/besterhub/bester/hub/spool/internal/loopfs"
)

var (
	loopFolder = flag.String("spool.loop", "", "folder for images of file systems to test on (needs root and loop devices); if empty, no such tests")
	outages    = flag.Int("spool.outages", 3, "how often each kind of outage is tried on a file system")
)

// loopFS is an ext4 file system of its own. The test is skipped if none was asked
// for.
func loopFS(t testing.TB, size int64) *loopfs.FS {
	t.Helper()
	if *loopFolder == "" {
		t.Skip("-spool.loop is not set")
	}
	fs, err := loopfs.New(filepath.Join(*loopFolder, "spool.img"), size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := fs.Close(); err != nil {
			t.Error(err)
		}
	})
	return fs
}

// A loadRun is a spool under load: many append, one reads, and each accepted record
// must come once.
type loadRun struct {
	t    *testing.T
	s    *Spool
	read sync.Mutex // held by the reader, and to stop it

	mu     sync.Mutex
	number uint64
	unread map[uint64]uint64 // accepted and not yet read: sequence → number
	early  map[uint64]uint64 // read before the caller was told
	last   uint64
	failed map[error]int // refusals by their class
	slow   time.Duration // the longest of those
	taken  atomic.Uint64
}

var classes = []error{ErrNoSpace, ErrReadOnly, ErrGone, ErrIO}

func startLoad(ctx context.Context, t *testing.T, s *Spool, callers int) (g *loadRun, wait func()) {
	g = &loadRun{t: t, s: s, unread: map[uint64]uint64{}, early: map[uint64]uint64{}, failed: map[error]int{}}
	r := reader(t, s, "up")
	var all sync.WaitGroup
	for range callers {
		all.Go(func() { g.send(ctx) })
	}
	all.Go(func() { g.receive(ctx, r) })
	return g, all.Wait
}

func (g *loadRun) send(ctx context.Context) {
	for ctx.Err() == nil {
		g.mu.Lock()
		g.number++
		n := g.number
		g.mu.Unlock()
		began := time.Now()
		seq, err := g.s.Append(ctx, numbered(n))
		took := time.Since(began)
		if err == nil {
			g.taken.Add(1)
			g.mu.Lock()
			g.match(seq, n, g.unread, g.early)
			g.mu.Unlock()
			continue
		}
		if ctx.Err() != nil {
			return
		}
		i := slices.IndexFunc(classes, func(c error) bool { return errors.Is(err, c) })
		if i < 0 {
			g.t.Errorf("Append: %v", err)
			return
		}
		g.mu.Lock()
		g.failed[classes[i]]++
		g.slow = max(g.slow, took)
		g.mu.Unlock()
		time.Sleep(time.Millisecond) // a caller that is refused would spin
	}
}

// match removes a record from the others if it is there, and else adds it to mine.
func (g *loadRun) match(seq, n uint64, mine, others map[uint64]uint64) {
	if m, ok := others[seq]; ok {
		if m != n {
			g.t.Errorf("record %d is number %d, accepted was %d", seq, m, n)
		}
		delete(others, seq)
		return
	}
	mine[seq] = n
}

func (g *loadRun) receive(ctx context.Context, r *Reader) {
	for ctx.Err() == nil {
		g.read.Lock()
		rec, err := r.Next(ctx)
		if err == nil {
			g.received(rec)
			err = r.Confirm(rec.Seq)
		}
		g.read.Unlock()
		if err != nil && ctx.Err() == nil {
			g.t.Errorf("Next or Confirm: %v", err)
			return
		}
	}
}

func (g *loadRun) received(rec Record) {
	n := uint64(0)
	if len(rec.Data) >= 8 {
		n = le.Uint64(rec.Data)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if n == 0 || n > g.number || string(rec.Data) != string(numbered(n)) {
		g.t.Errorf("record %d was never written", rec.Seq)
	}
	if rec.Seq <= g.last {
		g.t.Errorf("record %d after %d", rec.Seq, g.last)
	}
	g.last = rec.Seq
	g.match(rec.Seq, n, g.early, g.unread)
}

// numbered is the record with that number.
func numbered(n uint64) []byte {
	b := make([]byte, 8+n*7919%1500)
	le.PutUint64(b, n)
	for i := range b[8:] {
		b[8+i] = byte(n) + byte(i)
	}
	return b
}

// until waits for a condition, and returns how long that took.
func (g *loadRun) until(what string, limit time.Duration, f func() bool) time.Duration {
	g.t.Helper()
	for began := time.Now(); ; {
		took := time.Since(began)
		if f() {
			return took
		}
		if took > limit {
			g.t.Fatalf("%s: not within %v; %+v", what, limit, g.s.Stats())
		}
		time.Sleep(time.Millisecond)
	}
}

func (g *loadRun) failing() bool { return g.s.Stats().Failing != nil }

// back waits until records are taken again.
func (g *loadRun) back() time.Duration {
	g.t.Helper()
	before := g.taken.Load()
	return g.until("records are taken again", 5*time.Second, func() bool { return g.taken.Load() > before && !g.failing() })
}

// An outage takes the disk away from a spool, and gives it back.
type outage struct {
	name       string
	class      error
	folder     string // of the spool
	begin, end func(fs *loopfs.FS, g *loadRun) error
}

var outageKinds = []outage{
	{"filled by others", ErrNoSpace, "spool",
		func(fs *loopfs.FS, g *loadRun) error { g.read.Lock(); return fs.Fill(0) },
		func(fs *loopfs.FS, g *loadRun) error { defer g.read.Unlock(); return fs.Empty() }},
	{"filled by the log", ErrNoSpace, "spool",
		func(fs *loopfs.FS, g *loadRun) error { g.read.Lock(); return nil },
		func(fs *loopfs.FS, g *loadRun) error { g.read.Unlock(); return nil }},
	{"read-only", ErrReadOnly, "spool", readOnly,
		func(fs *loopfs.FS, g *loadRun) error { return fs.Remount(false) }},
	{"unmounted", ErrGone, "spool", unmount, mount},
	{"unmounted right there", ErrGone, "", unmount, mount},
	{"renamed", ErrGone, "a", rename("a", "b"), rename("b", "a")},
	{"renamed above", ErrGone, "a/spool", rename("a", "b"), rename("b", "a")},
}

func unmount(fs *loopfs.FS, _ *loadRun) error { return fs.Unmount() }
func mount(fs *loopfs.FS, _ *loadRun) error   { return fs.Mount() }

func rename(from, to string) func(*loopfs.FS, *loadRun) error {
	return func(fs *loopfs.FS, _ *loadRun) error {
		return os.Rename(filepath.Join(fs.Dir, from), filepath.Join(fs.Dir, to))
	}
}

// readOnly remounts read-only. That is refused while the spool has a file open for
// writing, which it has not between two segments.
func readOnly(fs *loopfs.FS, g *loadRun) error {
	for began := time.Now(); ; {
		err := fs.Remount(true)
		if !errors.Is(err, unix.EBUSY) || time.Since(began) > time.Minute {
			return err
		}
	}
}

// Under load the disk fills, becomes read-only and goes away, again and again.
// Appends fail or wait, memory stays within its bound, the spool recovers by itself,
// and no accepted record is lost.
func TestLoopOutages(t *testing.T) {
	for _, o := range []Options{{}, {BufferOnFailure: true}, {Class: Telemetry, FlushEvery: 50 * time.Millisecond}} {
		for _, kind := range outageKinds {
			t.Run(fmt.Sprintf("%v/hold=%v/%s", o.Class, o.BufferOnFailure, kind.name), func(t *testing.T) {
				fs := loopFS(t, 24<<20)
				o.SegmentSize, o.MaxBytes, o.Overflow = 256<<10, 8<<20, Wait
				if kind.class == ErrNoSpace {
					o.MaxBytes = 1 << 30
				}
				if kind.class == ErrReadOnly {
					o.SegmentSize = minSegment
				}
				o.MaxRecord, o.InFlight = 8<<10, 1<<20
				runOutage(t, fs, o, kind)
			})
		}
	}
}

func runOutage(t *testing.T, fs *loopfs.FS, o Options, kind outage) {
	dir := filepath.Join(fs.Dir, kind.folder)
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, o)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	g, wait := startLoad(ctx, t, s, 16)
	g.until("load", 10*time.Second, func() bool { return g.taken.Load() > 1000 })
	base := heap()
	var longest time.Duration
	var most uint64
	for range *outages {
		if err := kind.begin(fs, g); err != nil {
			t.Fatal(err)
		}
		g.until("the outage is noticed", time.Minute, g.failing)
		if err := s.Stats().Failing; !errors.Is(err, kind.class) {
			t.Errorf("fails with %v, want %v", err, kind.class)
		}
		time.Sleep(rand.N(2500 * time.Millisecond)) // some end before the spool has tried again
		most = max(most, heap())
		if n := g.inMemory(); n > uint64(s.opt.Memory) {
			t.Errorf("%d bytes in memory, the bound is %d", n, s.opt.Memory)
		}
		if err := kind.end(fs, g); err != nil {
			t.Fatal(err)
		}
		longest = max(longest, g.back())
		before := g.taken.Load()
		g.until("load", 10*time.Second, func() bool { return g.taken.Load() > before+1000 })
	}
	if most > base+uint64(s.opt.Memory)+16<<20 { // the test remembers, too
		t.Errorf("%d bytes in use, %d without an outage", most, base)
	}
	cancel()
	wait()
	if o.Class == Durable && !o.BufferOnFailure && g.failed[kind.class] == 0 {
		t.Error("no caller was told")
	}
	t.Logf("%d accepted; refused %v, within %v; back within %v; heap %d KiB, before %d KiB",
		g.taken.Load(), g.failed, g.slow.Round(time.Millisecond), longest.Round(time.Millisecond), most>>10, base>>10)
	if n := checkAccounting(t, s).Damage; n.Found != 0 {
		t.Errorf("damage: %+v", n)
	}
	closeSpool(t, s)
	g.matchAll(dir, o)
}

// matchAll opens the spool again and reads the rest.
func (g *loadRun) matchAll(dir string, o Options) {
	g.s = open(g.t, dir, o)
	r := reader(g.t, g.s, "up")
	st := checkAccounting(g.t, g.s)
	if st.Damage.Found != 0 {
		g.t.Errorf("damage: %+v", st.Damage)
	}
	g.last = r.Position()
	for range st.Queued {
		rec, err := r.Next(g.t.Context())
		if err != nil {
			g.t.Fatal(err)
		}
		g.received(rec)
	}
	for seq, n := range g.unread {
		g.t.Errorf("record %d, number %d, was accepted and is lost", seq, n)
		break
	}
	closeSpool(g.t, g.s)
}

func (g *loadRun) inMemory() uint64 {
	g.s.mu.Lock()
	defer g.s.mu.Unlock()
	return g.s.mem.size.bytes
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
