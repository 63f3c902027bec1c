package wire

import (
	"fmt"
	"math"
	"strconv"

	"github.com/besterhub/bester/hub"
)

// A ClassicMessage is a message from a classic client or server.
type ClassicMessage struct {
	Type hub.Type // by which it is routed
	// ID is the sender's own id for the message: a raw JSON string, with its quotes. Nil
	// if there was none. It aliases the frame.
	ID []byte
	// Data is raw JSON. It aliases the frame.
	Data hub.Data
	// To are the users here that a server sends the message to. It is nil if the message
	// is routed by its type, and for messages from clients. It belongs to the Decoder and
	// is valid until its next call.
	To []hub.Address
	// Hops is how often the message has been forwarded, if the server says so.
	Hops int
}

// A ClassicFirst is the first frame of a classic connection.
type ClassicFirst struct {
	Scope          string         // "client" or "server"
	User, Password string         // a client's, as given; may be empty
	Message        ClassicMessage // a server's; a client's first frame carries none
}

func frameError(what string) error { return malformed("frame: %s", what) }

// ParseClassicFirst reads the first frame of a classic connection. An error wraps
// ErrMalformed, or hub.ErrNoHandler if only the type of a server's message is one that no
// handler can serve. Message.ID is set if it could be read, also with an error.
func ParseClassicFirst(frame []byte, d *Decoder) (ClassicFirst, error) {
	var f ClassicFirst
	var p payload
	var h firstHeader
	isObject := false
	var s scanner
	s.init(frame, 2)
	for more := s.open("{}"); more; more = s.next("{}") {
		switch string(s.key()) {
		case "header":
			h.read(&s)
		case "payload":
			isObject = p.read(&s)
		default:
			s.skipValue()
		}
	}
	f.Message.ID = p.id()
	if err := s.end(); err != nil {
		return f, err
	}
	if !h.isObject {
		return f, frameError("header: want an object")
	}
	var err error
	switch f.Scope = d.stringOrEmpty(h.scope); {
	case f.Scope == "client":
		err = h.readAccount(d, &f)
	case f.Scope != "server":
		err = frameError(`header.scope: want "client" or "server"`)
	case !isObject:
		err = frameError("payload: want an object")
	default:
		if err = p.readMessage(d, &f.Message, false); err == nil {
			err = h.readDelivery(d, &f.Message)
		}
	}
	return f, err
}

// A firstHeader holds the fields of a first frame's header as raw JSON.
type firstHeader struct {
	isObject                        bool
	scope, user, password, to, hops []byte
}

func (h *firstHeader) read(s *scanner) {
	*h = firstHeader{isObject: s.at('{')}
	if !h.isObject {
		s.skipValue()
		return
	}
	for more := s.open("{}"); more; more = s.next("{}") {
		switch string(s.key()) {
		case "scope":
			h.scope = s.skipValue()
		case "to":
			h.to = s.skipValue()
		case "hops":
			h.hops = s.skipValue()
		case "authentication":
			h.readAuthentication(s)
		default:
			s.skipValue()
		}
	}
}

func (h *firstHeader) readAuthentication(s *scanner) {
	h.user, h.password = nil, nil
	if !s.at('{') {
		s.skipValue()
		return
	}
	for more := s.open("{}"); more; more = s.next("{}") {
		switch string(s.key()) {
		case "username":
			h.user = s.skipValue()
		case "password":
			h.password = s.skipValue()
		default:
			s.skipValue()
		}
	}
}

// readAccount reads the user and password of a client.
func (h *firstHeader) readAccount(d *Decoder, f *ClassicFirst) (err error) {
	if !isString(h.user) || !isString(h.password) {
		return frameError("header.authentication: want username and password, both strings")
	}
	if f.User, err = d.unquoteString(h.user); err == nil {
		f.Password, err = d.unquoteString(h.password)
	}
	if err != nil {
		return frameError("header.authentication: " + err.Error())
	}
	return nil
}

// readDelivery reads the fields that our servers add to the header.
func (h *firstHeader) readDelivery(d *Decoder, m *ClassicMessage) (err error) {
	if h.hops != nil {
		n, err := strconv.ParseUint(string(h.hops), 10, 32)
		if err != nil {
			return frameError("header.hops: want a number that is no less than 0")
		}
		m.Hops = int(min(n, math.MaxUint16))
	}
	if h.to != nil {
		if m.To, err = d.readNames(h.to, hub.SendClients); err != nil {
			return frameError("header.to: " + err.Error())
		}
	}
	return nil
}

// ParseClassicMessage reads a later frame of a classic client. An error wraps
// ErrMalformed and ends the session, or wraps hub.ErrNoHandler if only the type is one
// that no handler can serve. m.ID is set if it could be read, also with an error. In
// steady state nothing is allocated.
func ParseClassicMessage(frame []byte, d *Decoder, m *ClassicMessage) error {
	*m = ClassicMessage{}
	var p payload
	header, isObject := false, false
	var s scanner
	s.init(frame, 2)
	for more := s.open("{}"); more; more = s.next("{}") {
		switch string(s.key()) {
		case "header":
			header = true
			s.skipValue()
		case "payload":
			isObject = p.read(&s)
		default:
			s.skipValue()
		}
	}
	m.ID = p.id()
	if err := s.end(); err != nil {
		return err
	}
	if !header {
		return frameError("header missing")
	}
	if !isObject {
		return frameError("payload: want an object")
	}
	return p.readMessage(d, m, true)
}

// A payload holds the fields of a frame's payload as raw JSON.
type payload struct{ typ, identity, data []byte }

// read reads a payload and reports whether it is an object.
func (p *payload) read(s *scanner) bool {
	*p = payload{}
	if !s.at('{') {
		s.skipValue()
		return false
	}
	for more := s.open("{}"); more; more = s.next("{}") {
		switch string(s.key()) {
		case "type":
			p.typ = s.skipValue()
		case "id":
			p.identity = s.skipValue()
		case "data":
			p.data = s.skipValue()
		default:
			s.skipValue()
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

// readMessage sets m from the payload.
func (p *payload) readMessage(d *Decoder, m *ClassicMessage, needID bool) error {
	m.ID = p.id()
	switch {
	case !isString(p.typ):
		return frameError("payload.type: want a string")
	case p.identity == nil && needID:
		return frameError("payload.id missing")
	case p.identity != nil && m.ID == nil:
		return frameError("payload.id: want a string")
	case p.data == nil:
		return frameError("payload.data missing")
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

// unquote returns the contents of a JSON string, without quotes and escapes. The result is
// valid until the next call.
func (d *Decoder) unquote(raw []byte) ([]byte, error) {
	raw = raw[1 : len(raw)-1]
	if !hasEscapes(raw) {
		return raw, nil
	}
	if len(raw) > maxInternedBytes { // too long for any name: do not keep the buffer
		return unescape(nil, raw)
	}
	var err error
	d.unquoted, err = unescape(d.unquoted[:0], raw)
	return d.unquoted, err
}

// unquoteString is unquote with a copy of the result.
func (d *Decoder) unquoteString(raw []byte) (string, error) {
	b, err := d.unquote(raw)
	return string(b), err
}

// stringOrEmpty returns the contents of a JSON string, or "" if raw is not one.
func (d *Decoder) stringOrEmpty(raw []byte) string {
	if !isString(raw) {
		return ""
	}
	s, err := d.unquoteString(raw)
	if err != nil {
		return ""
	}
	return s
}

// readNames reads a JSON list of names: addresses of users or, for SendServers, servers.
func (d *Decoder) readNames(raw []byte, v hub.Verb) ([]hub.Address, error) {
	if raw[0] != '[' {
		return nil, errNames
	}
	d.to = d.to[:0]
	var s scanner
	s.init(raw, 0)
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
