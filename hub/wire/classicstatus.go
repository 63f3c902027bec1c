package wire

// ParseClassicStatus reads a statusReport: whether it says good, and the reason it
// gives, "" where it gives none. An error wraps ErrMalformed: the frame is something else.
func ParseClassicStatus(frame []byte) (good bool, reason string, err error) {
	var d Decoder
	var kind, status, why []byte
	var s scanner
	s.all(frame, 2)
	for more := s.open("{}"); more; more = s.next("{}") {
		if string(s.key()) != "header" || !s.at('{') {
			s.value()
			continue
		}
		for more := s.open("{}"); more; more = s.next("{}") {
			switch string(s.key()) {
			case "messageType":
				kind = s.value()
			case "status":
				status = s.value()
			case "reason":
				why = s.value()
			default:
				s.value()
			}
		}
	}
	if err := s.done(); err != nil {
		return false, "", malformed("statusReport: %v", err)
	}
	if d.copied(kind) != "statusReport" || !isString(status) {
		return false, "", malformed("frame: want a statusReport")
	}
	if isString(why) {
		if reason, err = d.copy(why); err != nil {
			return false, "", malformed("statusReport: header.reason: %v", err)
		}
		reason = line(reason)
	}
	return d.copied(status) == "good", reason, nil
}
