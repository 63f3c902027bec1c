package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"sync/atomic"
)

// A line is one line of the input, without its end.
type line struct {
	number int
	text   []byte
	length int // of the whole line in bytes; text is nil if that is over the limit
}

// A batch is what the input has had at a time: the lines that were complete before it
// paused. err is why it ended, io.EOF if it was read to its end.
type batch struct {
	lines []line
	err   error
}

// The limits of a batch.
const (
	maxBatchLines = 1024
	maxBatchBytes = 256 << 10
)

// A lineReader reads lines in batches, so that what has arrived is sent together and
// nothing waits for lines that are still to come. A line over the limit is read to its end
// and thrown away.
type lineReader struct {
	in     *bufio.Reader
	limit  *atomic.Int64 // bytes of a line
	number int
}

func newLineReader(r io.Reader, limit *atomic.Int64) *lineReader {
	return &lineReader{in: bufio.NewReaderSize(r, 64<<10), limit: limit}
}

// run sends batches until the input has ended, or until stop is closed.
func (r *lineReader) run(batches chan<- batch, stop <-chan struct{}) {
	for {
		b := r.batch()
		select {
		case batches <- b:
		case <-stop:
			return
		}
		if b.err != nil {
			return
		}
	}
}

// batch waits for a line and returns it with those that have arrived with it.
func (r *lineReader) batch() (b batch) {
	size := 0
	for {
		l, err := r.line()
		if err == nil || l.length > 0 {
			b.lines = append(b.lines, l)
			size += len(l.text)
		}
		if err != nil {
			b.err = err
			return b
		}
		if len(b.lines) == maxBatchLines || size >= maxBatchBytes || !r.another() {
			return b
		}
	}
}

// another reports whether a further line can be read without waiting.
func (r *lineReader) another() bool {
	have, _ := r.in.Peek(r.in.Buffered())
	return bytes.IndexByte(have, '\n') >= 0
}

// line reads one line. At the end of the input it may return the last one with an error.
func (r *lineReader) line() (l line, err error) {
	r.number++
	l.number = r.number
	limit := r.limit.Load()
	for {
		part, err := r.in.ReadSlice('\n')
		l.length += len(part)
		if int64(l.length) <= limit+2 { // its end is not counted
			l.text = append(l.text, part...)
		} else {
			l.text = nil
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		text := bytes.TrimSuffix(bytes.TrimSuffix(l.text, []byte("\n")), []byte("\r"))
		if l.number == 1 {
			text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")) // a byte order mark
		}
		if l.text != nil && int64(len(text)) > limit {
			text = nil
		}
		l.text = text
		return l, err
	}
}
