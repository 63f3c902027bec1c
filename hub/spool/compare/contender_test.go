package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/besterhub/bester/hub/spool/compare/load"
)

// Each contender keeps what it acknowledged, hands it out again after kill -9 and
// restart, and releases it when it was read.
func TestContenders(t *testing.T) {
	build := exec.Command("go", "build", "-o", filepath.Dir(siblingPath("x"))+"/", "./spoolproc", "github.com/nats-io/nats-server/v2")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, c := range contenders() {
		t.Run(c.name(), func(t *testing.T) {
			if _, err := os.Stat(c.program()); err != nil {
				t.Skip(err)
			}
			dir := filepath.Join(t.TempDir(), "d")
			if err := c.start(dir); err != nil {
				t.Fatal(err)
			}
			alive := true
			defer func() {
				if alive {
					c.kill()
				}
			}()
			append := func(first uint64, n int) {
				t.Helper()
				r, err := c.load(load.Load{First: first, Size: 100, Flight: 16, Count: n})
				if err != nil || r.Records != n || r.P50 <= 0 || r.P99 < r.P50 {
					t.Fatalf("%d records: %+v, %v", n, r, err)
				}
			}
			append(0, 320)
			if m, err := c.resident(); err != nil || m < 1<<20 {
				t.Errorf("resident: %d, %v", m, err)
			}
			if err := c.drain(); err != nil {
				t.Fatal(err)
			}
			append(1000, 160)
			c.kill()
			alive = false
			if _, ok := c.(*spoolProcess); !ok {
				if err := c.start(dir); err != nil {
					t.Fatal(err)
				}
				defer c.stop()
			}
			n := 0
			err := c.records(func(data []byte) {
				if len(data) != 100 || load.Number(data) < 1000 {
					t.Errorf("%d bytes, record %d", len(data), load.Number(data))
				}
				n++
			})
			if err != nil || n < 155 || n > 160 || n < 160 && c.name() != "mosquitto" {
				t.Errorf("%d records, %v; want 160", n, err)
			}
		})
	}
}
