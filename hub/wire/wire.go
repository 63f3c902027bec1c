package wire

import (
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/tristanable"
)

// Version is the version of the native dialect that this package speaks.
const Version = 1

// Kind is the kind of a native frame: the byte after its tag.
type Kind uint8

// The kinds of frames. A receiver skips those it does not know.
const (
	KindHello Kind = iota + 1
	KindSend
	KindDeliver
	KindStatus
	KindHandle
	KindAnswer
	KindPing
	KindGoodbye
	KindGap
	KindSubscribe
	KindUnsubscribe
)

// The roles of a hello.
const (
	RoleClient  = "client"
	RoleServer  = "server"
	RoleHandler = "handler"
	RoleHub     = "hub" // of the hub's own hello
)

const (
	// MaxRecipients is the most recipients that a message names, or all commands
	// of one answer together.
	MaxRecipients = 1024

	// MaxCommands is the most commands in one answer.
	MaxCommands = 256

	// MaxReason is the longest reason of a status, answer or goodbye, in bytes;
	// a longer one is cut short when it is sent.
	MaxReason = 1024
)

// ErrMalformed is wrapped by the error of every parser here: the input is invalid. The
// text of the error says what is wrong and where.
var ErrMalformed = errors.New("malformed")

// Cut splits a frame's payload into the tag, the kind and the body, which is a slice of
// payload. It does not check that the kind is a known one. The error is
// tristanable.ErrShort or wraps ErrMalformed.
func Cut(payload []byte) (tag uint64, k Kind, body []byte, err error) {
	tag, message, err := tristanable.Cut(payload)
	if err != nil {
		return 0, 0, nil, err
	}
	k, body, err = CutKind(message)
	return tag, k, body, err
}

// CutKind splits a native payload without its tag into the kind and the body. It does
// not check that the kind is a known one. An error wraps ErrMalformed.
func CutKind(b []byte) (Kind, []byte, error) {
	if len(b) == 0 {
		return 0, nil, malformed("frame: no kind after the tag")
	}
	if b[0] > 0x7f {
		return 0, nil, malformed("frame: kind 0x%02x is no positive fixint", b[0])
	}
	return Kind(b[0]), b[1:], nil
}

// appendHeader appends the header of a native frame: tag and kind.
func appendHeader(dst []byte, tag uint64, k Kind) []byte {
	return append(tristanable.Append(dst, tag), byte(k))
}

// AppendPing appends the payload of a ping. The peer answers it with a good status
// under the same tag, or not at all if the tag is 0.
func AppendPing(dst []byte, tag uint64) []byte {
	return append(appendHeader(dst, tag, KindPing), 0x80)
}

// AppendGoodbye appends the payload of a goodbye: the sender closes once everything in
// flight is answered. The reason may be empty.
func AppendGoodbye(dst []byte, reason string) []byte {
	dst = append(appendHeader(dst, 0, KindGoodbye), 0x81, 0xa1, 'e')
	return appendReason(dst, reason)
}

// ParseGoodbye returns the reason in a goodbye's body. An error wraps ErrMalformed.
func ParseGoodbye(body []byte) (reason string, err error) {
	var g goodbyeBody
	if err := unmarshal("goodbye", body, &g); err != nil {
		return "", err
	}
	return singleLine(g.Reason), nil
}

// AppendGap appends the payload of a gap: how many deliveries the peer has missed, and why.
func AppendGap(dst []byte, missed uint64, reason string) []byte {
	dst = append(appendHeader(dst, 0, KindGap), 0x82, 0xa1, 'n')
	dst = append(msgp.AppendUint64(dst, missed), 0xa1, 'e')
	return appendReason(dst, reason)
}

// ParseGap returns the number of missed deliveries in a gap's body, at least 1, and the
// reason, which may be empty. An error wraps ErrMalformed.
func ParseGap(body []byte) (missed uint64, reason string, err error) {
	var g gapBody
	if err := unmarshal("gap", body, &g); err != nil {
		return 0, "", err
	}
	if g.Missed == 0 {
		return 0, "", malformed("gap: n: number missing or 0")
	}
	return g.Missed, singleLine(g.Reason), nil
}

// unmarshal decodes a body into v, which must be zero.
func unmarshal(what string, body []byte, v msgp.Unmarshaler) error {
	err := checkBody(body)
	if err == nil {
		if _, err = v.UnmarshalMsg(body); err == nil {
			return nil
		}
	}
	return malformed("%s: %s", what, strings.TrimPrefix(err.Error(), "msgp: "))
}

// appendReason appends a reason as a string: valid UTF-8, at most MaxReason bytes.
func appendReason(dst []byte, reason string) []byte {
	reason = truncate(reason)
	if !utf8.ValidString(reason) {
		reason = truncate(strings.ToValidUTF8(reason, "\uFFFD"))
	}
	return msgp.AppendString(dst, reason)
}

// truncate returns the first MaxReason bytes, or a few less so that no character is split.
func truncate(reason string) string {
	if len(reason) <= MaxReason {
		return reason
	}
	n := MaxReason
	for n > MaxReason-utf8.UTFMax && !utf8.RuneStart(reason[n]) {
		n--
	}
	return reason[:n]
}

// singleLine makes a peer's reason safe to print and log: one line of UTF-8, made of at
// most its first MaxReason bytes.
func singleLine[T string | []byte](reason T) string {
	if len(reason) > MaxReason {
		reason = reason[:MaxReason]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(reason), "\uFFFD"))
}

// checkName checks the name of a user or a server.
func checkName(s string) error {
	const longest = 512 // user@host:port
	if len(s) > longest {
		return hub.Reason(ErrMalformed, "%d bytes, at most %d are allowed", len(s), longest)
	}
	if !utf8.ValidString(s) {
		return malformed("%q is not UTF-8", s)
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return malformed("%q contains a control character", s)
		}
	}
	return nil
}

func parseAddress(s string) (hub.Address, error) {
	if err := checkName(s); err != nil {
		return hub.Address{}, err
	}
	return hub.ParseAddress(s)
}
