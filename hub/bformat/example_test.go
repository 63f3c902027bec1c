package bformat_test

import (
	"bytes"
	"fmt"
	"io"

	"github.com/besterhub/bester/hub/bformat"
)

func Example() {
	var stream bytes.Buffer
	w := bformat.NewWriter(&stream, 0)
	w.WriteFrame([]byte("hello"))
	w.WriteFrame([]byte("two "), []byte("parts"))
	if err := w.Flush(); err != nil {
		fmt.Println(err)
	}

	r := bformat.NewReader(&stream, 4096)
	for {
		payload, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%q\n", payload)
	}
	// Output:
	// "hello"
	// "two parts"
}

func ExampleBegin() {
	var b []byte
	start := len(b)
	b = bformat.Begin(b)
	b = fmt.Appendf(b, "%d degrees", 21)
	b = bformat.End(b, start)
	fmt.Printf("%q\n", b)
	// Output: "\n\x00\x00\x0021 degrees"
}

func ExampleQueue() {
	var stream bytes.Buffer
	q := bformat.NewQueue(&stream, bformat.QueueOptions{Limit: 64 << 10})
	done := make(chan error)
	go func() { done <- q.Run() }()

	b := q.Begin()
	b = append(b, "reading"...)
	if err := q.End(b, bformat.Droppable(0)); err != nil {
		fmt.Println(err)
	}
	q.Flush()

	q.Shutdown()
	fmt.Println(<-done)
	fmt.Printf("%q\n", stream.Bytes())
	// Output:
	// <nil>
	// "\a\x00\x00\x00reading"
}
