// Package bformat carries frames over a byte stream, such as a TCP or UNIX domain
// socket, the way Tristan B. Kildaire's D library of the same name does.
//
// A frame is a length and a payload:
//
//	offset  size  what
//	0       4     length of the payload in bytes, unsigned, little-endian; it excludes itself
//	4       length  payload
//
// A length of zero is legal. There is no magic number, checksum or padding, so a reader
// cannot resynchronize with a corrupt stream: every error is final.
//
// [Reader] reads frames from a stream, however it was split or coalesced on its way.
// [Writer] writes frames to a stream from one goroutine. [Queue] is the bounded send queue
// of a connection that many goroutines write to, and [Stage] is one goroutine's buffer
// before it, for many frames at once. A [Budget] bounds the memory that many of them hold
// together. [Begin] and [End] build a frame in place; [Append] builds one from parts.
package bformat

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	// HeaderSize is the number of bytes before a frame's payload.
	HeaderSize = 4

	// DefaultLimit is the longest payload, in bytes, that a Reader accepts by default.
	DefaultLimit = 1 << 20

	// MaxPayload is the longest payload, in bytes, that this package reads or writes.
	// The wire format allows twice as much; this much, header included, also fits in an
	// int on 32-bit ARM.
	MaxPayload = 1<<31 - 1 - HeaderSize
)

var (
	// ErrFull is the error of a Queue that had no room for a required frame, or for any
	// frame if its policy is Close.
	ErrFull = errors.New("bformat: queue: full, the peer does not read fast enough")

	// ErrShutdown is returned for frames that come after Queue.Shutdown.
	ErrShutdown = errors.New("bformat: queue: shut down")

	// ErrMemory is wrapped by the error of a Reader whose Budget had too little left for
	// a long frame.
	ErrMemory = errors.New("bformat: no memory left for a frame")

	// ErrReleased is returned by a Reader after Release.
	ErrReleased = errors.New("bformat: read: reader has been released")
)

// A LimitError says that a frame was longer than allowed. On reading, nothing was
// allocated for it; on writing, nothing of it was sent.
type LimitError struct {
	Length uint32 // of the payload, in bytes
	Limit  int    // in force at the time, in bytes
}

// Error returns both numbers in words.
func (e *LimitError) Error() string {
	return fmt.Sprintf("bformat: frame of %d bytes exceeds the limit of %d", e.Length, e.Limit)
}

// Append appends one frame to dst, whose payload is the parts one after the other,
// and returns the extended slice. It panics if the payload is over MaxPayload.
func Append(dst []byte, parts ...[]byte) []byte {
	start := len(dst)
	dst = Begin(dst)
	for _, p := range parts {
		dst = append(dst, p...)
	}
	return End(dst, start)
}

// Begin reserves the header of a frame at the end of dst. The caller appends the
// payload to what it returns, then calls End with the length that dst had before Begin.
func Begin(dst []byte) []byte {
	return append(dst, 0, 0, 0, 0)
}

// End fills in the header that Begin reserved at dst[start:]; everything after it is
// the payload. It returns dst. It panics if the payload is over MaxPayload.
func End(dst []byte, start int) []byte {
	n := len(dst) - start - HeaderSize
	if uint64(n) > MaxPayload { // also if End was called without Begin
		panic(fmt.Sprintf("bformat: End: payload of %d bytes is out of range", n))
	}
	binary.LittleEndian.PutUint32(dst[start:], uint32(n))
	return dst
}

// frameSize returns the size of the first frame in b, header included.
func frameSize(b []byte) int { return HeaderSize + int(binary.LittleEndian.Uint32(b)) }

// payloadSize returns the total length of parts. It is an error if that is over MaxPayload.
func payloadSize(parts [][]byte) (int, error) {
	var n uint64
	for _, p := range parts {
		n += uint64(len(p))
	}
	if n > MaxPayload {
		return 0, &LimitError{Length: uint32(min(n, 1<<32-1)), Limit: MaxPayload}
	}
	return int(n), nil
}
