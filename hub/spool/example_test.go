package spool_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/besterhub/bester/hub/spool"
)

func Example() {
	dir, err := os.MkdirTemp("", "spool")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()

	s, err := spool.Open(filepath.Join(dir, "upstream"), spool.Options{MaxBytes: 16 << 20})
	if err != nil {
		log.Fatal(err)
	}
	r, err := s.Reader("upstream")
	if err != nil {
		log.Fatal(err)
	}
	for _, text := range []string{"21.4", "21.5", "21.7"} {
		if _, err := s.Append(ctx, []byte(text)); err != nil { // nil: it is on the card
			log.Fatal(err)
		}
	}
	rec, err := r.Next(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d: %s\n", rec.Seq, rec.Data)
	if err := r.Confirm(rec.Seq); err != nil {
		log.Fatal(err)
	}
	if err := s.Close(ctx); err != nil {
		log.Fatal(err)
	}

	err = spool.Walk(filepath.Join(dir, "upstream"), func(rec spool.Record) error {
		fmt.Printf("still there: %d: %s\n", rec.Seq, rec.Data)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// 1: 21.4
	// still there: 2: 21.5
	// still there: 3: 21.7
}
