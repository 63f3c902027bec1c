package spool

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var killRounds = flag.Int("spool.kills", 20, "how often a program under load is killed")
var killDir = flag.String("spool.dir", "", "folder for the killed program's spool; if empty, a temporary one")

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

// start starts a program; where this one is emulated and the kernel cannot
// start another of its kind, the test is for others.
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

// A program appends and confirms under load, tells what it was promised, and is
// killed; the next finds all of it.
func TestKill(t *testing.T) {
	if dir := os.Getenv("SPOOL_TEST_KILL"); dir != "" {
		killChild(t, dir)
		return
	}
	n := max(2, short(*killRounds))
	dir := *killDir
	if dir == "" {
		dir = t.TempDir()
	}
	total := 0
	var kept uint64
	acked := map[uint64]bool{}
	for round := range n {
		cmd := rerun(t, "TestKill", "SPOOL_TEST_KILL="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		start(t, cmd)
		kill := rand.IntN(3000)
		lines := bufio.NewScanner(out)
		for i := 0; lines.Scan(); i++ {
			var seq uint64
			line := lines.Text()
			if strings.HasPrefix(line, "bad") {
				t.Errorf("round %d: %s", round, line)
			}
			if _, err := fmt.Sscanf(line, "acked %d.", &seq); err == nil {
				acked[seq] = true
			} else if _, err := fmt.Sscanf(line, "kept %d.", &seq); err == nil {
				kept = max(kept, seq)
			}
			if i == kill {
				cmd.Process.Kill()
			}
		}
		cmd.Wait()
		total += len(acked)
		s := open(t, dir, killOptions)
		r := reader(t, s, "up")
		at := r.Position()
		if at < kept {
			t.Fatalf("round %d: position %d, was %d", round, at, kept)
		}
		st := balance(t, s)
		if st.Damage.Found != 0 {
			t.Fatalf("round %d: %+v", round, st.Damage)
		}
		for range st.Queued {
			rec, err := r.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			delete(acked, rec.Seq)
			r.Confirm(rec.Seq)
		}
		for seq := range acked {
			if seq > at {
				t.Fatalf("round %d: record %d was acknowledged and is lost; %+v", round, seq, st)
			}
		}
		clear(acked)
		kept = r.Position()
		closeSpool(t, s)
	}
	t.Logf("%d acknowledged in %d lives", total, n)
}

var killOptions = Options{SegmentSize: 256 << 10, InFlight: 1 << 20, MaxBytes: 1 << 30}

func killChild(t *testing.T, dir string) {
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
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for i := range 8 {
		go func() {
			for n := 0; ctx.Err() == nil; n++ {
				data := make([]byte, 8+(n*7919+i)%2000)
				binary.LittleEndian.PutUint64(data, uint64(n))
				seq, err := s.Append(ctx, data)
				if err == nil {
					say("acked %d", seq)
				}
			}
		}()
	}
	for n := 1; ctx.Err() == nil; n++ {
		rec, err := r.Next(ctx)
		if err != nil {
			break
		}
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
