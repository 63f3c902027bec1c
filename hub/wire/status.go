package wire

import (
	"errors"

	"github.com/besterhub/bester/hub"
)

// codes are the status codes of the native dialect; good is 0. An error is sent with the
// first code whose error it wraps.
var codes = [...]struct {
	code uint8
	err  error
}{
	{2, hub.ErrNoHandler},
	{3, hub.ErrHops},
	{4, hub.ErrFull},
	{5, hub.ErrDenied},
	{6, hub.ErrUnknownServer},
	{7, hub.ErrTimeout},
	{9, hub.ErrEncoding},
	{10, hub.ErrClosed},
	{11, hub.ErrTooLong},
	{12, hub.ErrThrottled},
	{1, hub.ErrHandler}, // before malformed: a handler's answer may be both
	{8, ErrMalformed},
}

// AppendStatus appends the payload of a status. It is good if err is nil. Otherwise it
// has the code of the hub's error that err wraps (of hub.ErrHandler, if none) and the
// text of err as the reason, truncated to MaxReason bytes. It allocates nothing.
func AppendStatus(dst []byte, tag uint64, err error) []byte {
	dst = appendHeader(dst, tag, KindStatus)
	if err == nil {
		return append(dst, 0x81, 0xa1, 's', 0)
	}
	code := uint8(1)
	for _, c := range codes {
		if errors.Is(err, c.err) {
			code = c.code
			break
		}
	}
	dst = append(dst, 0x82, 0xa1, 's', code, 0xa1, 'e')
	return appendReason(dst, err.Error())
}

// AppendGood appends the payload of a good status with a note for the sender, which
// may be empty. It allocates nothing.
func AppendGood(dst []byte, tag uint64, note string) []byte {
	if note == "" {
		return AppendStatus(dst, tag, nil)
	}
	dst = append(appendHeader(dst, tag, KindStatus), 0x82, 0xa1, 's', 0, 0xa1, 'e')
	return appendReason(dst, note)
}

// Note returns the note in the body of a good status, "" if it has none.
func Note(body []byte) string {
	if len(body) == 4 {
		return ""
	}
	s := statusBody{Code: 1 << 63}
	if err := unmarshal("status", body, &s); err != nil || s.Code != 0 {
		return ""
	}
	return singleLine(s.Reason)
}

// ParseStatus reads a status' body. It returns nil if the status is good. Otherwise the
// error's text is the peer's reason, and the error wraps the hub's error with that code
// (ErrMalformed for code 8, hub.ErrHandler for an unknown code). If the body does not
// parse, the error wraps ErrMalformed.
func ParseStatus(body []byte) error {
	if len(body) == 4 && body[0] == 0x81 && body[1] == 0xa1 && body[2] == 's' && body[3] == 0 {
		return nil // the usual one
	}
	s := statusBody{Code: 1 << 63}
	if err := unmarshal("status", body, &s); err != nil {
		return err
	}
	switch s.Code {
	case 0:
		return nil
	case 1 << 63:
		return malformed("status: s: code missing")
	}
	kind := hub.ErrHandler
	for _, c := range codes {
		if uint64(c.code) == s.Code {
			kind = c.err
		}
	}
	reason := singleLine(s.Reason)
	if reason == "" {
		reason = kind.Error()
	}
	return hub.Reason(kind, "%s", reason)
}
