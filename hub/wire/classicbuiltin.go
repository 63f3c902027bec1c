package wire

import "github.com/besterhub/bester/hub"

// A ClassicBuiltin is a command to the hub itself: the data of a message of type "builtin".
type ClassicBuiltin struct {
	Command     string // "close", "login", "logout", "changePassword", "status", "kick", or one unknown here
	User        string // of login and kick
	Password    string // of login; the current one of changePassword
	NewPassword string // of changePassword
}

// ParseClassicBuiltin reads the data of a message of type "builtin". Missing fields of the
// command are "". An error wraps hub.ErrHandler.
func ParseClassicBuiltin(data []byte) (ClassicBuiltin, error) {
	var b ClassicBuiltin
	var d Decoder
	var name, user, password, newPassword []byte
	var s scanner
	s.init(data, 0)
	for more := s.open("{}"); more; more = s.next("{}") {
		if string(s.key()) != "command" || !s.at('{') {
			s.skipValue()
			continue
		}
		for more := s.open("{}"); more; more = s.next("{}") {
			switch key := string(s.key()); {
			case key == "type":
				name = s.skipValue()
			case key == "command" && s.at('{'):
				for more := s.open("{}"); more; more = s.next("{}") {
					switch string(s.key()) {
					case "username":
						user = s.skipValue()
					case "password":
						password = s.skipValue()
					case "newPassword":
						newPassword = s.skipValue()
					default:
						s.skipValue()
					}
				}
			default:
				s.skipValue()
			}
		}
	}
	if err := s.end(); err != nil {
		return b, hub.Reason(hub.ErrHandler, "builtin: %v", err)
	}
	if !isString(name) {
		return b, hub.Reason(hub.ErrHandler, "builtin: data.command.type: want a string")
	}
	b.Command, b.User = d.stringOrEmpty(name), d.stringOrEmpty(user)
	b.Password, b.NewPassword = d.stringOrEmpty(password), d.stringOrEmpty(newPassword)
	return b, nil
}
