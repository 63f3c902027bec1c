package wire

// ParseClassicStatus reads a statusReport. It returns whether the status is good, and the
// reason, "" if there is none. An error wraps ErrMalformed: the frame is not a
// statusReport.
func ParseClassicStatus(frame []byte) (good bool, reason string, err error) {
	var d Decoder
	var kind, status, why []byte
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
			default:
				s.skipValue()
			}
		}
	}
	if err := s.end(); err != nil {
		return false, "", malformed("statusReport: %v", err)
	}
	if d.stringOrEmpty(kind) != "statusReport" || !isString(status) {
		return false, "", malformed("frame: want a statusReport")
	}
	if isString(why) {
		if reason, err = d.unquoteString(why); err != nil {
			return false, "", malformed("statusReport: header.reason: %v", err)
		}
		reason = singleLine(reason)
	}
	return d.stringOrEmpty(status) == "good", reason, nil
}
