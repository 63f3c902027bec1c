package bformat

import "io"

// A Writer puts frames on a stream, several in one write. It is for one goroutine;
// see Queue for many.
type Writer struct {
	w   io.Writer
	buf []byte // cap is the size asked for, except while a longer frame goes through
	err error
}

// NewWriter returns a Writer onto w that gathers up to size bytes of frames, headers
// included, before it writes. A size of zero or less means 4096.
func NewWriter(w io.Writer, size int) *Writer {
	if size <= 0 {
		size = 4096
	}
	return &Writer{w: w, buf: make([]byte, 0, size)}
}

// WriteFrame adds one frame, whose payload is the parts one after the other; they are
// copied. What was gathered before is written first if the frame does not fit in beside
// it; a frame longer than the buffer is written at once. A frame is never spread over two
// writes. It returns the first error of the stream, ever after, or a *LimitError for a
// payload over MaxPayload, which is not written and leaves the Writer as it was.
func (w *Writer) WriteFrame(parts ...[]byte) error {
	if w.err != nil {
		return w.err
	}
	n, err := payloadSize(parts)
	if err != nil {
		return err
	}
	if n > cap(w.buf)-len(w.buf)-HeaderSize {
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if n > cap(w.buf)-HeaderSize {
		w.err = writeFull(w.w, Append(make([]byte, 0, HeaderSize+n), parts...))
		return w.err
	}
	w.buf = Append(w.buf, parts...)
	return nil
}

// Flush writes what was gathered in one write. It returns the first error of the stream, ever after.
func (w *Writer) Flush() error {
	if w.err == nil && len(w.buf) > 0 {
		w.err = writeFull(w.w, w.buf)
		w.buf = w.buf[:0]
	}
	return w.err
}

// write is Write that takes a short count for an error even where the writer does not say so.
func writeFull(w io.Writer, b []byte) error {
	n, err := w.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return err
}
