package bformat

import "io"

// A Writer writes frames to a stream, several in one write. It is for one goroutine;
// see Queue for many.
type Writer struct {
	w   io.Writer
	buf []byte // cap is the size asked for, except while a longer frame goes through
	err error
}

// NewWriter returns a Writer onto w that buffers up to size bytes of frames, headers
// included, before it writes. A size of zero or less means 4096.
func NewWriter(w io.Writer, size int) *Writer {
	if size <= 0 {
		size = 4096
	}
	return &Writer{w: w, buf: make([]byte, 0, size)}
}

// WriteFrame adds one frame, whose payload is the parts one after the other; they are
// copied. If the frame does not fit in the rest of the buffer, the buffer is written first;
// a frame longer than the buffer is written at once. A frame is never split over two
// writes. Once the stream has failed, every call returns its first error. For a payload
// over MaxPayload, WriteFrame returns a *LimitError, writes nothing, and leaves the Writer
// as it was.
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
		_, w.err = writeFull(w.w, Append(make([]byte, 0, HeaderSize+n), parts...))
		return w.err
	}
	w.buf = Append(w.buf, parts...)
	return nil
}

// Flush writes the buffered frames in one write. Once the stream has failed, every call
// returns its first error.
func (w *Writer) Flush() error {
	if w.err == nil && len(w.buf) > 0 {
		_, w.err = writeFull(w.w, w.buf)
		w.buf = w.buf[:0]
	}
	return w.err
}

// writeFull calls Write and returns io.ErrShortWrite for a short count without an error.
func writeFull(w io.Writer, b []byte) (int, error) {
	n, err := w.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return n, err
}
