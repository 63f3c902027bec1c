package spool

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

var killRounds = flag.Int("spool.kills", 20, "how often a program under load is killed")
var killDir = flag.String("spool.dir", "", "folder for the killed program's spool; if empty, a file system of -spool.loop, or a temporary one")

// rerun is this test program again, with one test.
func rerun(t testing.TB, test string, env ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^"+test+"$", "-test.v")
	cmd.Env = append(os.Environ(), env...)
	return cmd
}

// start starts a program. If this program is emulated and the kernel cannot start
// another of its kind, the test is skipped.
func start(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	err := cmd.Start()
	if errors.Is(err, syscall.ENOEXEC) {
		t.Skip("cannot start a program for this machine: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A program appends and confirms under load, prints what was acknowledged, and is
// killed. The next one finds all of that, each record unchanged, and nothing that was
// confirmed.
func TestKill(t *testing.T) {
	if dir := os.Getenv("SPOOL_TEST_KILL"); dir != "" {
		killChild(t, dir)
		return
	}
	n := max(2, short(*killRounds))
	dir := *killDir
	if dir == "" && *loopFolder != "" {
		dir = filepath.Join(loopFS(t, 256<<20).Dir, "s")
	} else if dir == "" {
		dir = t.TempDir()
	}
	total, left, began, payload := 0, uint64(0), time.Now(), totalOf(t, dir)
	for round := range n {
		k := runKilled(t, dir, round)
		k.payload(t, dir, &payload)
		total += len(k.acked)
		left += k.verify(t, dir, round)
		if t.Failed() {
			t.FailNow()
		}
		if (round+1)%100 == 0 {
			t.Logf("%d kills, %v", round+1, time.Since(began).Round(time.Second))
		}
	}
	t.Logf("%d acknowledged in %d lives, %d still there at the kill", total, n, left)
}

// A killed is what a program printed before it was killed.
type killed struct {
	acked     map[uint64]uint64 // sequence → number
	persisted uint64            // the position that was on the card
}

func runKilled(t *testing.T, dir string, round int) killed {
	cmd := rerun(t, "TestKill", "SPOOL_TEST_KILL="+dir, "SPOOL_TEST_LIFE="+strconv.Itoa(round))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	start(t, cmd)
	k := killed{acked: map[uint64]uint64{}}
	kill := rand.IntN(3000)
	lines := bufio.NewScanner(out)
	for i := 0; lines.Scan(); i++ {
		var seq, n uint64
		line := lines.Text()
		if strings.HasPrefix(line, "bad") {
			t.Errorf("round %d: %s", round, line)
		}
		if _, err := fmt.Sscanf(line, "acked %d %d.", &seq, &n); err == nil {
			k.acked[seq] = n
		} else if _, err := fmt.Sscanf(line, "kept %d.", &seq); err == nil {
			k.persisted = max(k.persisted, seq)
		}
		if i == kill {
			cmd.Process.Kill()
		}
	}
	cmd.Wait()
	return k
}

// totalOf is the number of bytes accepted since the log began, by the log.
func totalOf(t *testing.T, dir string) uint64 {
	c, err := inspect(folder(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	} else if err != nil {
		t.Fatal(err)
	}
	return c.state.wear.payload
}

// payload checks the total after the kill against that before and what was
// acknowledged between. It may lack only what was written since the last checkpoint,
// and may exceed it only by what was accepted and not yet printed.
func (k killed) payload(t *testing.T, dir string, total *uint64) {
	acked := uint64(0)
	for _, n := range k.acked {
		acked += uint64(len(inLife(0, n)))
	}
	const batches = 2 * 8 * 2020
	was, is := *total, totalOf(t, dir)
	if is+wearEvery+batches < was+acked || is > was+acked+batches {
		t.Fatalf("total %d after %d more were acknowledged, was %d", is, acked, was)
	}
	*total = is
}

// verify opens what was left, checks it, confirms all of it and closes.
func (k killed) verify(t *testing.T, dir string, round int) (left uint64) {
	s := open(t, dir, killOptions)
	r := reader(t, s, "up")
	at := r.Position()
	if at < k.persisted {
		t.Fatalf("round %d: position %d, was %d", round, at, k.persisted)
	}
	st := checkAccounting(t, s)
	if st.Damage.Found != 0 {
		t.Fatalf("round %d: %+v", round, st.Damage)
	}
	there := map[uint64]bool{} // by number
	for range st.Queued {
		rec, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		life, n := lifeOf(rec.Data)
		if life != uint64(round) || there[n] {
			t.Fatalf("round %d: record %d is number %d of life %d, which had come: %v", round, rec.Seq, n, life, there[n])
		}
		if want, ok := k.acked[rec.Seq]; ok && n != want {
			t.Fatalf("round %d: record %d is number %d, acknowledged was %d", round, rec.Seq, n, want)
		}
		there[n] = true
		delete(k.acked, rec.Seq)
		r.Confirm(rec.Seq)
	}
	for seq := range k.acked {
		if seq > at {
			t.Fatalf("round %d: record %d was acknowledged and is lost; %+v", round, seq, st)
		}
	}
	closeSpool(t, s)
	if got, want := totalOf(t, dir), s.Stats().Writes.Total.Payload; got != want || want != st.Writes.Total.Payload {
		t.Fatalf("round %d: total %d, closed with %d, opened with %d", round, got, want, st.Writes.Total.Payload)
	}
	return st.Queued
}

var killOptions = Options{SegmentSize: 256 << 10, InFlight: 1 << 20, MaxBytes: 1 << 30}

// inLife is record n of a life, all of whose bytes follow from both numbers.
func inLife(life, n uint64) []byte {
	b := make([]byte, 16+n*7919%2000)
	le.PutUint64(b, life)
	le.PutUint64(b[8:], n)
	for i := range b[16:] {
		b[16+i] = byte(n>>3) + byte(life) + byte(i)
	}
	return b
}

// lifeOf tells which record b is; none if it was never written.
func lifeOf(b []byte) (life, n uint64) {
	if len(b) < 16 {
		return 1<<64 - 1, 0
	}
	life, n = le.Uint64(b), le.Uint64(b[8:])
	if !bytes.Equal(b, inLife(life, n)) {
		return 1<<64 - 1, 0
	}
	return life, n
}

func killChild(t *testing.T, dir string) {
	life, err := strconv.ParseUint(os.Getenv("SPOOL_TEST_LIFE"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	out := bufio.NewWriter(os.Stdout)
	var mu sync.Mutex
	say := func(format string, args ...any) {
		mu.Lock()
		fmt.Fprintf(out, format+".\n", args...)
		out.Flush()
		mu.Unlock()
	}
	s, err := Open(dir, killOptions)
	if err != nil {
		say("bad: %v", err)
		return
	}
	r, _ := s.Reader("up")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var number atomic.Uint64
	for range 8 {
		go func() {
			for ctx.Err() == nil {
				n := number.Add(1)
				if seq, err := s.Append(ctx, inLife(life, n)); err == nil {
					say("acked %d %d", seq, n)
				}
			}
		}()
	}
	last := r.Position()
	for n := 1; ctx.Err() == nil; n++ {
		rec, err := r.Next(ctx)
		if err != nil {
			break
		}
		if of, _ := lifeOf(rec.Data); of != life || rec.Seq <= last {
			say("bad: record %d of life %d after %d", rec.Seq, of, last)
		}
		last = rec.Seq
		r.Confirm(rec.Seq)
		if n%500 == 0 {
			at := r.Position()
			if s.Sync(ctx) == nil {
				say("kept %d", at)
			}
		}
	}
	os.Exit(1)
}
