package spool

import (
	"context"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/besterhub/bester/hub/spool/internal/loopfs"
)

// A spool of a million records, half of them confirmed, opens from a cold disk in a
// second, and takes no more memory than a small one.
func TestLoopOpen(t *testing.T) {
	fs := loopFS(t, 512<<20)
	cold := func(n int) (took time.Duration, allocated uint64) {
		dir := filepath.Join(fs.Dir, time.Duration(n).String())
		o := Options{MaxBytes: 1 << 30}
		s := open(t, dir, o)
		r := reader(t, s, "up")
		fill(t, s, n)
		for range n / 2 {
			rec, err := r.Next(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			r.Confirm(rec.Seq)
		}
		closeSpool(t, s)
		if err := loopfs.DropCaches(); err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		began := time.Now()
		s = open(t, dir, o)
		took = time.Since(began)
		runtime.ReadMemStats(&after)
		if st := checkAccounting(t, s); st.Found != uint64(n-n/2) || st.Damage.Found != 0 {
			t.Errorf("found %d of %d: %+v", st.Found, n-n/2, st.Damage)
		}
		closeSpool(t, s)
		return took, after.TotalAlloc - before.TotalAlloc
	}
	_, small := cold(50_000)
	took, large := cold(1_000_000)
	t.Logf("opened in %v; %d KiB of memory used in all, %d KiB for a twentieth of the records", took.Round(time.Millisecond), large>>10, small>>10)
	if took > time.Second {
		t.Errorf("took %v", took)
	}
	if large > small+1<<20 {
		t.Errorf("%d bytes of memory used, %d for a twentieth of the records", large, small)
	}
}
