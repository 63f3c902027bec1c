package wire

import (
	"net"
	"strconv"
	"strings"

	"github.com/besterhub/bester/hub"
)

// ParseClassicAnswer reads what a classic handler answers: one command with its data,
// which is JSON and aliases frame; its recipients are the Decoder's until its next
// call. An error wraps hub.ErrHandler and says what is wrong with the answer, or the
// status that the handler gave. In steady state nothing is allocated.
func ParseClassicAnswer(frame []byte, d *Decoder) (hub.Command, error) {
	c, err := d.classicAnswer(frame)
	if err != nil {
		return hub.Command{}, failed(hub.ErrHandler, "%s", err.Error())
	}
	return c, nil
}

func (d *Decoder) classicAnswer(frame []byte) (c hub.Command, err error) {
	var data, status, verb, with []byte
	header, command := false, false
	s := &d.json
	s.all(frame, 1)
	for more := s.open("{}"); more; more = s.next("{}") {
		switch string(s.key()) {
		case "header":
			status, verb, with, command = nil, nil, nil, false
			if header = s.at('{'); !header {
				s.value()
				continue
			}
			for more := s.open("{}"); more; more = s.next("{}") {
				switch string(s.key()) {
				case "status":
					status = s.value()
				case "command":
					verb, with = nil, nil
					if command = s.at('{'); !command {
						s.value()
						continue
					}
					for more := s.open("{}"); more; more = s.next("{}") {
						switch string(s.key()) {
						case "type":
							verb = s.value()
						case "data":
							with = s.value()
						default:
							s.value()
						}
					}
				default:
					s.value()
				}
			}
		case "data":
			data = s.value()
		default:
			s.value()
		}
	}
	if err := s.done(); err != nil {
		return c, answered(err.Error())
	}
	if !header {
		return c, answered("header: want an object")
	}
	if err := d.status(status); err != nil {
		return c, err
	}
	if !command {
		return c, answered("header.command: want an object")
	}
	if data == nil {
		return c, answered("data missing")
	}
	c.Data = hub.Data{Encoding: hub.JSON, Bytes: data}
	return c, d.classicCommand(&c, verb, with)
}

// classicCommand reads the command's type and what goes with it.
func (d *Decoder) classicCommand(c *hub.Command, verb, with []byte) (err error) {
	if !isString(verb) {
		return answered("header.command.type: want a string")
	}
	name, err := d.unquote(verb)
	if err != nil {
		return answered("header.command.type: " + err.Error())
	}
	switch c.Verb = hub.ParseVerb(name); c.Verb {
	case hub.SendClients, hub.SendServers:
		if with == nil {
			err = errNames
		} else {
			c.To, err = d.names(with, c.Verb)
		}
	case hub.SendHandler:
		if !isString(with) {
			return answered("header.command.data: want a type, a string")
		}
		if name, err = d.unquote(with); err == nil {
			c.Type, err = d.typ(name)
		}
	default:
		return answered("unknown command " + strconv.Quote(string(name)) + ": want sendClients, sendServers or sendHandler")
	}
	if err != nil {
		return answered("header.command.data: " + err.Error())
	}
	return nil
}

func answered(what string) error { return plain("handler's answer: " + what) }

// status checks the status that a handler answered with: a string that holds an
// unsigned number, and that is 0.
func (d *Decoder) status(raw []byte) error {
	if raw == nil {
		return answered("header.status missing")
	}
	if !isString(raw) {
		return answered(`header.status: want a string that holds a number, such as "0"`)
	}
	text, err := d.unquote(raw)
	if err != nil || len(text) == 0 {
		return answered(`header.status: want a string that holds a number, such as "0"`)
	}
	zero := true
	for _, c := range text {
		if c < '0' || c > '9' {
			return answered(`header.status: want a string that holds a number, such as "0"`)
		}
		zero = zero && c == '0'
	}
	if !zero {
		return plain("handler answered status " + strconv.Quote(line(text)))
	}
	return nil
}

// user returns the address that a classic name means. One that is no address is the
// name of a user all the same, who just is not here.
func (d *Decoder) user(name []byte) (hub.Address, error) {
	return d.users.find(name, func(s string) (hub.Address, error) {
		if a, err := hub.ParseAddress(s); err == nil && a.User != "" {
			return a, nil
		}
		return hub.Address{User: hub.UserName(s)}, nil
	})
}

// server returns the address of the server with that name.
func (d *Decoder) server(name []byte) (hub.Address, error) {
	return d.servers.find(name, parseServer)
}

// parseServer reads host:port with a name, an IPv4 address or an IPv6 address in
// brackets, or the plain name of a server in the config.
func parseServer(s string) (hub.Address, error) {
	if err := checkName(s); err != nil {
		return hub.Address{}, malformed("server %v", err)
	}
	a := hub.Address{Server: hub.ServerName(s)}
	if !strings.Contains(s, ":") {
		if s == "" || strings.ContainsAny(s, "@/[] ") {
			return a, malformed("server %q: want host:port, or a name from the config", s)
		}
		return a, nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" || strings.ContainsAny(host, "@/ ") {
		return a, malformed("server %q: want host:port, with an IPv6 address in brackets", s)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return a, malformed("server %q: want a port from 1 to 65535", s)
	}
	return a, nil
}

// A ClassicBuiltin is a command to the hub itself: the data of a message of type "builtin".
type ClassicBuiltin struct {
	Command     string // "close", "login", "logout", "changePassword", or one unknown here
	User        string // of login
	Password    string // of login, and the present one of changePassword
	NewPassword string // of changePassword
}

// ParseClassicBuiltin reads the data of a message of type "builtin". The fields that
// come with the command are "" where they are missing. An error wraps hub.ErrHandler.
func ParseClassicBuiltin(data []byte) (ClassicBuiltin, error) {
	var b ClassicBuiltin
	var d Decoder
	var name, user, password, newPassword []byte
	s := &d.json
	s.all(data, 0)
	for more := s.open("{}"); more; more = s.next("{}") {
		if string(s.key()) != "command" || !s.at('{') {
			s.value()
			continue
		}
		for more := s.open("{}"); more; more = s.next("{}") {
			switch key := s.key(); {
			case string(key) == "type":
				name = s.value()
			case string(key) == "command" && s.at('{'):
				for more := s.open("{}"); more; more = s.next("{}") {
					switch string(s.key()) {
					case "username":
						user = s.value()
					case "password":
						password = s.value()
					case "newPassword":
						newPassword = s.value()
					default:
						s.value()
					}
				}
			default:
				s.value()
			}
		}
	}
	if err := s.done(); err != nil {
		return b, failed(hub.ErrHandler, "builtin: %v", err)
	}
	if !isString(name) {
		return b, failed(hub.ErrHandler, "builtin: data.command.type: want a string")
	}
	b.Command, b.User = d.copied(name), d.copied(user)
	b.Password, b.NewPassword = d.copied(password), d.copied(newPassword)
	return b, nil
}

// plain is an error whose text is all that matters of it.
type plain string

func (p plain) Error() string { return string(p) }
