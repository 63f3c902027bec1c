// Package tristanable carries many requests at once over one byte stream, such as a TCP or
// UNIX domain socket, by giving each a tag that its reply repeats. It speaks the wire of
// Tristan B. Kildaire's D library of the same name.
//
// Every message is one bformat frame:
//
//	offset  size  what
//	0       4     bformat: length of the rest, unsigned, little-endian
//	4       8     tag, unsigned, little-endian
//	12      …     the message's bytes; there may be none
//
// The D library writes all 8 bytes of the tag, but its releases read back only the low 16
// bits. So requests are tagged 1…65535 here and the tags are recycled. Both ends are equal:
// they agree on what a tag means, and the receiver of a message may answer it under its
// tag. Tag 0 is for pushes, which nobody requested. A frame of fewer than 8 bytes has no
// tag: the D library reads past its end; here it ends the connection with ErrShort.
//
// [Conn] is one end of such a stream: Call and Go for requests, Send for answers and
// pushes, and a [Queue] per tag for messages that are not replies.
package tristanable

import (
	"encoding/binary"
	"errors"
)

const (
	// TagSize is the number of bytes before a message.
	TagSize = 8

	// MaxTag is the highest tag of a request: all that a released D peer reads back.
	MaxTag = 1<<16 - 1
)

var (
	// ErrShort is the error for a frame too short to hold a tag.
	ErrShort = errors.New("tristanable: frame is too short to hold a tag")

	// ErrBusy refuses a request because 65535 are in flight or because the send queue is
	// full. The connection still works: try again when a reply has come.
	ErrBusy = errors.New("tristanable: too many requests in flight")

	// ErrClosed is the error of a connection that this side closed.
	ErrClosed = errors.New("tristanable: connection closed")

	// ErrTagInUse refuses to register a tag that has a queue or a request already.
	ErrTagInUse = errors.New("tristanable: tag is in use")

	// ErrUnregistered is the error of a queue after Unregister.
	ErrUnregistered = errors.New("tristanable: queue is no longer registered")
)

// Append appends the encoded tag, with which a frame's payload begins, to dst and returns the
// extended slice. The message's bytes must follow it.
func Append(dst []byte, tag uint64) []byte {
	return binary.LittleEndian.AppendUint64(dst, tag)
}

// Cut splits a frame's payload into its tag and the message, which is a slice of payload. It
// returns ErrShort if payload has fewer than TagSize bytes.
func Cut(payload []byte) (tag uint64, message []byte, err error) {
	if len(payload) < TagSize {
		return 0, nil, ErrShort
	}
	return binary.LittleEndian.Uint64(payload), payload[TagSize:], nil
}
