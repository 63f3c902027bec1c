// Compare benchmarks hub/spool against nats-server (JetStream) and mosquitto, in one
// run on one file system, and prints one table: how fast records are acknowledged, what
// is written to the card for them, and what is there after kill -9. Each runs as a
// process of its own, in its durable setting. Compare makes an ext4 on a loop device and
// must therefore be root.
//
//	make compare                  on a card in memory
//	make compare DIR=/var/tmp     on the disk that the folder is on
//	make compare DELAY=10ms       on a card whose syncs take so much longer
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/besterhub/bester/hub/spool/internal/loopfs"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func run() error {
	var (
		dir    = flag.String("dir", "/dev/shm", "folder for the image of the file system")
		each   = flag.Duration("for", time.Second, "how long one measurement takes")
		rounds = flag.Int("rounds", 3, "how often each is measured; the table has the medians")
		every  = flag.Duration("every", 100*time.Millisecond, "the pace of lone records")
		only   = flag.String("only", "", "only those whose name has this in it")
		asJSON = flag.Bool("json", false, "print JSON: all that was measured; times in nanoseconds")
		asMD   = flag.Bool("markdown", false, "print the table in Markdown")
		probe  = flag.String("probe", "", "only print how long a sync of this file takes, and remove it")
	)
	flag.DurationVar(&delay, "delay", 0, "make each sync so much longer, by strace")
	flag.Parse()
	if *probe != "" {
		took, err := probeSync(*probe)
		fmt.Println(took)
		return err
	}
	if flag.NArg() > 0 || *rounds < 1 || *each <= 0 || *every <= 0 {
		return errors.New("usage: compare [flags]; compare -h lists them")
	}
	image := filepath.Join(*dir, "bester-compare.img")
	fs, err := loopfs.New(image, 4<<30)
	if err != nil {
		return err
	}
	defer fs.Close()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt)
	go func() {
		for range signals {
			interrupt()
		}
	}()
	m := &measurement{fs: fs, only: *only, each: *each, rounds: *rounds, every: *every}
	t, err := m.all()
	if err != nil {
		return err
	}
	switch {
	case *asJSON:
		return writeJSON(os.Stdout, t)
	case *asMD:
		return writeMarkdown(os.Stdout, t)
	}
	return writeText(os.Stdout, t)
}
