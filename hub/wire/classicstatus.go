package wire

import (
	"cmp"

	"github.com/besterhub/bester/hub"
)

// ParseClassicStatus reads a statusReport. It returns nil if the status is good. Otherwise
// the error's text is the peer's reason; it wraps hub.ErrHops if the message had too many
// hops there, else hub.ErrHandler. If the frame is not a statusReport, the error wraps
// ErrMalformed.
func ParseClassicStatus(frame []byte) error {
	var d Decoder
	var kind, status, why, code []byte
	var s scanner
	s.init(frame, 2)
	for more := s.open("{}"); more; more = s.next("{}") {
		if string(s.key()) != "header" || !s.at('{') {
			s.skipValue()
			continue
		}
		for more := s.open("{}"); more; more = s.next("{}") {
			switch string(s.key()) {
			case "messageType":
				kind = s.skipValue()
			case "status":
				status = s.skipValue()
			case "reason":
				why = s.skipValue()
			case "code":
				code = s.skipValue()
			default:
				s.skipValue()
			}
		}
	}
	if err := s.end(); err != nil {
		return malformed("statusReport: %v", err)
	}
	if d.stringOrEmpty(kind) != "statusReport" || !isString(status) {
		return malformed("frame: want a statusReport")
	}
	if d.stringOrEmpty(status) == "good" {
		return nil
	}
	reason := ""
	if isString(why) {
		text, err := d.unquoteString(why)
		if err != nil {
			return malformed("statusReport: header.reason: %v", err)
		}
		reason = singleLine(text)
	}
	wraps := hub.ErrHandler
	if d.stringOrEmpty(code) == codeHops {
		wraps = hub.ErrHops
	}
	return hub.Reason(wraps, "%s", cmp.Or(reason, "no reason given"))
}
