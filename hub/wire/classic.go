package wire

import (
	"fmt"
	"math"
	"strconv"

	"github.com/besterhub/bester/hub"
)

// A ClassicMessage is what a classic client or server sends.
type ClassicMessage struct {
	Type hub.Type
	// ID is the sender's own id for the message: a JSON string as it was written,
	// with its quotes. Nil if there was none. It aliases the frame.
	ID []byte
	// Data is JSON, as it was written. It aliases the frame.
	Data hub.Data
	// To are the users here that a server hands the message to; nil if the type
	// is to pick the way, and from clients. They are the Decoder's until its next call.
	To []hub.Address
	// Hops is how often the message has been sent round, from servers that say so.
	Hops int
}

// A ClassicFirst is the first frame of a classic connection.
type ClassicFirst struct {
	Scope          string         // "client" or "server"
	User, Password string         // a client's, as it gave them: perhaps empty
	Message        ClassicMessage // a server's; a client's first frame carries none
}

func want(what string) error { return malformed("frame: %s", what) }

// ParseClassicFirst reads the first frame of a classic connection. An error wraps
// ErrMalformed; or hub.ErrNoHandler, and all is well but the type of a server's
// message, which no handler can serve. Message.ID is set where one could be read,
// with an error too.
func ParseClassicFirst(frame []byte, d *Decoder) (ClassicFirst, error) {
	var f ClassicFirst
	var p payload
	var h firstHeader
	isObject := false
	var s scanner
	s.all(frame, 2)
	for more := s.open("{}"); more; more = s.next("{}") {
		switch string(s.key()) {
		case "header":
			h.read(&s)
		case "payload":
			isObject = p.read(&s)
		default:
			s.value()
		}
	}
	f.Message.ID = p.id()
	if err := s.done(); err != nil {
		return f, err
	}
	if !h.isObject {
		return f, want("header: want an object")
	}
	var err error
	switch f.Scope = d.copied(h.scope); {
	case f.Scope == "client":
		err = h.account(d, &f)
	case f.Scope != "server":
		err = want(`header.scope: want "client" or "server"`)
	case !isObject:
		err = want("payload: want an object")
	default:
		if err = p.message(d, &f.Message, false); err == nil {
			err = h.delivery(d, &f.Message)
		}
	}
	return f, err
}

// A firstHeader holds the fields of a first frame's header as they were written.
type firstHeader struct {
	isObject                        bool
	scope, user, password, to, hops []byte
}

func (h *firstHeader) read(s *scanner) {
	*h = firstHeader{isObject: s.at('{')}
	if !h.isObject {
		s.value()
		return
	}
	for more := s.open("{}"); more; more = s.next("{}") {
		switch string(s.key()) {
		case "scope":
			h.scope = s.value()
		case "to":
			h.to = s.value()
		case "hops":
			h.hops = s.value()
		case "authentication":
			h.readAuthentication(s)
		default:
			s.value()
		}
	}
}

func (h *firstHeader) readAuthentication(s *scanner) {
	h.user, h.password = nil, nil
	if !s.at('{') {
		s.value()
		return
	}
	for more := s.open("{}"); more; more = s.next("{}") {
		switch string(s.key()) {
		case "username":
			h.user = s.value()
		case "password":
			h.password = s.value()
		default:
			s.value()
		}
	}
}

// account reads who a client says it is.
func (h *firstHeader) account(d *Decoder, f *ClassicFirst) (err error) {
	if !isString(h.user) || !isString(h.password) {
		return want("header.authentication: want username and password, both strings")
	}
	if f.User, err = d.copy(h.user); err == nil {
		f.Password, err = d.copy(h.password)
	}
	if err != nil {
		return want("header.authentication: " + err.Error())
	}
	return nil
}

// delivery reads what our servers add to the header.
func (h *firstHeader) delivery(d *Decoder, m *ClassicMessage) (err error) {
	if h.hops != nil {
		n, err := strconv.ParseUint(string(h.hops), 10, 32)
		if err != nil {
			return want("header.hops: want a number that is no less than 0")
		}
		m.Hops = int(min(n, math.MaxUint16))
	}
	if h.to != nil {
		if m.To, err = d.names(h.to, hub.SendClients); err != nil {
			return want("header.to: " + err.Error())
		}
	}
	return nil
}

// ParseClassicMessage reads a later frame of a classic client. An error wraps
// ErrMalformed, and ends the session; or hub.ErrNoHandler if only the type is one
// that no handler can serve. m.ID is set where one could be read, with an error too.
// In steady state nothing is allocated.
func ParseClassicMessage(frame []byte, d *Decoder, m *ClassicMessage) error {
	*m = ClassicMessage{}
	var p payload
	header, isObject := false, false
	var s scanner
	s.all(frame, 2)
	for more := s.open("{}"); more; more = s.next("{}") {
		switch string(s.key()) {
		case "header":
			header = true
			s.value()
		case "payload":
			isObject = p.read(&s)
		default:
			s.value()
		}
	}
	m.ID = p.id()
	if err := s.done(); err != nil {
		return err
	}
	if !header {
		return want("header missing")
	}
	if !isObject {
		return want("payload: want an object")
	}
	return p.message(d, m, true)
}

// A payload holds the fields of a frame's payload as they were written.
type payload struct{ typ, identity, data []byte }

// read reads a payload, and reports whether it is an object.
func (p *payload) read(s *scanner) bool {
	*p = payload{}
	if !s.at('{') {
		s.value()
		return false
	}
	for more := s.open("{}"); more; more = s.next("{}") {
		switch string(s.key()) {
		case "type":
			p.typ = s.value()
		case "id":
			p.identity = s.value()
		case "data":
			p.data = s.value()
		default:
			s.value()
		}
	}
	return true
}

func (p *payload) id() []byte {
	if !isString(p.identity) {
		return nil
	}
	return p.identity
}

// message makes the payload m.
func (p *payload) message(d *Decoder, m *ClassicMessage, needID bool) error {
	m.ID = p.id()
	switch {
	case !isString(p.typ):
		return want("payload.type: want a string")
	case p.identity == nil && needID:
		return want("payload.id missing")
	case p.identity != nil && m.ID == nil:
		return want("payload.id: want a string")
	case p.data == nil:
		return want("payload.data missing")
	}
	m.Data = hub.Data{Encoding: hub.JSON, Bytes: p.data}
	typ, err := d.unquote(p.typ)
	if err == nil {
		m.Type, err = d.typ(typ)
	}
	if err != nil {
		return hub.Reason(hub.ErrNoHandler, "no handler can serve this type: %v", err)
	}
	return nil
}

func isString(raw []byte) bool { return len(raw) > 0 && raw[0] == '"' }

// unquote returns what a JSON string means. It is valid until the next call.
func (d *Decoder) unquote(raw []byte) ([]byte, error) {
	raw = raw[1 : len(raw)-1]
	if !escaped(raw) {
		return raw, nil
	}
	if len(raw) > maxInternedBytes { // too long for any name: not worth keeping room for
		return unescape(nil, raw)
	}
	var err error
	d.unquoted, err = unescape(d.unquoted[:0], raw)
	return d.unquoted, err
}

// copy returns what a JSON string means.
func (d *Decoder) copy(raw []byte) (string, error) {
	b, err := d.unquote(raw)
	return string(b), err
}

// copied returns what a JSON string means, or "" if raw is none.
func (d *Decoder) copied(raw []byte) string {
	if !isString(raw) {
		return ""
	}
	s, err := d.copy(raw)
	if err != nil {
		return ""
	}
	return s
}

// names reads a JSON list of names: addresses of users, or, for SendServers, servers.
func (d *Decoder) names(raw []byte, v hub.Verb) ([]hub.Address, error) {
	if raw[0] != '[' {
		return nil, errNames
	}
	d.to = d.to[:0]
	var s scanner
	s.all(raw, 0)
	for more := s.open("[]"); more; more = s.next("[]") {
		if !s.at('"') {
			return nil, errNames
		}
		if len(d.to) == MaxRecipients {
			return nil, fmt.Errorf("more than %d names", MaxRecipients)
		}
		name, err := d.unquote(s.str())
		if err != nil {
			return nil, err
		}
		var to hub.Address
		if v == hub.SendServers {
			to, err = d.server(name)
		} else {
			to, err = d.user(name)
		}
		if err != nil {
			return nil, err
		}
		d.to = append(d.to, to)
	}
	if len(d.to) == 0 {
		return nil, nil
	}
	return d.to[:len(d.to):len(d.to)], nil
}

var errNames = fmt.Errorf("want a list of names")
