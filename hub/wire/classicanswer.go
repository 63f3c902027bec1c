package wire

import (
	"net"
	"strconv"
	"strings"

	"github.com/besterhub/bester/hub"
)

// ParseClassicAnswer reads the answer of a classic handler: one command. Its data is JSON
// and aliases frame. Its recipients belong to the Decoder and are valid until its next
// call. An error wraps hub.ErrHandler and says what is wrong with the answer, or which
// status the handler gave. In steady state nothing is allocated.
func ParseClassicAnswer(frame []byte, d *Decoder) (hub.Command, error) {
	c, err := d.classicAnswer(frame)
	if err != nil {
		return hub.Command{}, hub.Reason(hub.ErrHandler, "%s", err.Error())
	}
	return c, nil
}

func (d *Decoder) classicAnswer(frame []byte) (c hub.Command, err error) {
	var h answerHeader
	var data []byte
	var s scanner
	s.init(frame, 1)
	for more := s.open("{}"); more; more = s.next("{}") {
		switch string(s.key()) {
		case "header":
			h.read(&s)
		case "data":
			data = s.skipValue()
		default:
			s.skipValue()
		}
	}
	if err := s.end(); err != nil {
		return c, answerError(err.Error())
	}
	if !h.isObject {
		return c, answerError("header: want an object")
	}
	if err := d.checkStatus(h.status); err != nil {
		return c, err
	}
	if !h.command {
		return c, answerError("header.command: want an object")
	}
	if data == nil {
		return c, answerError("data missing")
	}
	c.Data = hub.Data{Encoding: hub.JSON, Bytes: data}
	err = d.classicCommand(&c, h.verb, h.with)
	return c, err
}

// An answerHeader holds the fields of an answer's header as raw JSON.
type answerHeader struct {
	status, verb, with []byte

	isObject, command bool // it is present and an object
}

func (h *answerHeader) read(s *scanner) {
	*h = answerHeader{isObject: s.at('{')}
	if !h.isObject {
		s.skipValue()
		return
	}
	for more := s.open("{}"); more; more = s.next("{}") {
		switch string(s.key()) {
		case "status":
			h.status = s.skipValue()
		case "command":
			h.readCommand(s)
		default:
			s.skipValue()
		}
	}
}

func (h *answerHeader) readCommand(s *scanner) {
	h.verb, h.with, h.command = nil, nil, s.at('{')
	if !h.command {
		s.skipValue()
		return
	}
	for more := s.open("{}"); more; more = s.next("{}") {
		switch string(s.key()) {
		case "type":
			h.verb = s.skipValue()
		case "data":
			h.with = s.skipValue()
		default:
			s.skipValue()
		}
	}
}

// classicCommand reads the command's type and its arguments.
func (d *Decoder) classicCommand(c *hub.Command, verb, with []byte) (err error) {
	if !isString(verb) {
		return answerError("header.command.type: want a string")
	}
	name, err := d.unquote(verb)
	if err != nil {
		return answerError("header.command.type: " + err.Error())
	}
	switch c.Verb = hub.ParseVerb(name); c.Verb {
	case hub.SendClients, hub.SendServers:
		if with == nil {
			err = errNames
		} else {
			c.To, err = d.readNames(with, c.Verb)
		}
	case hub.SendHandler:
		if !isString(with) {
			return answerError("header.command.data: want a type, a string")
		}
		if name, err = d.unquote(with); err == nil {
			c.Type, err = d.typ(name)
		}
	default:
		return answerError("unknown command " + strconv.Quote(string(name)) + ": want sendClients, sendServers or sendHandler")
	}
	if err != nil {
		return answerError("header.command.data: " + err.Error())
	}
	return nil
}

func answerError(what string) error { return textError("handler's answer: " + what) }

// checkStatus checks the status of a handler's answer. It must be a string that holds an
// unsigned number, and the number must be 0.
func (d *Decoder) checkStatus(raw []byte) error {
	if raw == nil {
		return answerError("header.status missing")
	}
	if !isString(raw) {
		return answerError(`header.status: want a string that holds a number, such as "0"`)
	}
	text, err := d.unquote(raw)
	if err != nil || len(text) == 0 {
		return answerError(`header.status: want a string that holds a number, such as "0"`)
	}
	zero := true
	for _, c := range text {
		if c < '0' || c > '9' {
			return answerError(`header.status: want a string that holds a number, such as "0"`)
		}
		zero = zero && c == '0'
	}
	if !zero {
		return textError("handler answered status " + strconv.Quote(singleLine(text)))
	}
	return nil
}

// user returns the address for a classic name. A name that is not a valid address counts
// as the name of an absent user.
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

// textError is an error that consists of its text alone.
type textError string

func (p textError) Error() string { return string(p) }
