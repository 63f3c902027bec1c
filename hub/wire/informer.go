package wire

import (
	"errors"
	"strconv"

	"github.com/besterhub/bester/hub"
)

// ErrNoCommand: a request to the informer is JSON but contains no command.
var ErrNoCommand = errors.New("informer: command.type: want a string")

// An InformerRequest is a handler's query about the hub.
type InformerRequest struct {
	Command string       // "listClients", "isClient", "serverInfo", "quit", or one unknown here
	Name    hub.UserName // of isClient
	Named   bool         // a name was given; it may be empty
}

// ParseInformerRequest reads one request. An error is ErrNoCommand, or wraps ErrMalformed
// and ends the connection. Both are answered with AppendInformerError.
func ParseInformerRequest(frame []byte) (InformerRequest, error) {
	var r InformerRequest
	var d Decoder
	var name, data []byte
	var s scanner
	s.init(frame, 0)
	if !s.at('{') {
		s.skipValue()
		if err := s.end(); err != nil {
			return r, err
		}
		return r, ErrNoCommand
	}
	for more := s.open("{}"); more; more = s.next("{}") {
		if string(s.key()) != "command" {
			s.skipValue()
			continue
		}
		name, data = nil, nil
		if !s.at('{') {
			s.skipValue()
			continue
		}
		for more := s.open("{}"); more; more = s.next("{}") {
			switch string(s.key()) {
			case "type":
				name = s.skipValue()
			case "data":
				data = s.skipValue()
			default:
				s.skipValue()
			}
		}
	}
	if err := s.end(); err != nil {
		return r, err
	}
	if !isString(name) {
		return r, ErrNoCommand
	}
	r.Command, r.Name, r.Named = d.stringOrEmpty(name), hub.UserName(d.stringOrEmpty(data)), isString(data)
	return r, nil
}

// AppendInformerError appends the answer to an invalid request.
func AppendInformerError(dst []byte) []byte { return append(dst, `{"status":"1"}`...) }

// AppendInformerNone appends an answer without data. It is good for quit, and bad for a
// command that is unknown or lacks its data.
func AppendInformerNone(dst []byte, good bool) []byte {
	if good {
		return append(dst, `{"data":null,"status":"0"}`...)
	}
	return append(dst, `{"data":null,"status":"1"}`...)
}

// AppendInformerBool appends the answer to isClient.
func AppendInformerBool(dst []byte, v bool) []byte {
	dst = append(dst, `{"data":`...)
	dst = strconv.AppendBool(dst, v)
	return append(dst, `,"status":"0"}`...)
}

// AppendInformerUsers appends the answer to listClients.
func AppendInformerUsers(dst []byte, users []hub.UserName) []byte {
	dst = append(dst, `{"data":[`...)
	for i, u := range users {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendJSONString(dst, string(u))
	}
	return append(dst, `],"status":"0"}`...)
}

// ServerInfo is the informer's information about the hub.
type ServerInfo struct {
	Admin     []byte   // JSON value, the config's admin.info; if nil, null
	Clients   int      // live sessions
	Listeners []string // as the original prints them: "tcp4://127.0.0.1:2223"
}

// AppendInformerServer appends the answer to serverInfo.
func AppendInformerServer(dst []byte, i *ServerInfo) []byte {
	dst = append(dst, `{"data":{"adminInfo":`...)
	if i.Admin == nil {
		dst = append(dst, "null"...)
	} else {
		dst = append(dst, i.Admin...)
	}
	dst = append(dst, `,"clientCount":"`...) // a string, as in the original
	dst = strconv.AppendInt(dst, int64(i.Clients), 10)
	dst = append(dst, `","listeners":{`...)
	for n, l := range i.Listeners {
		if n > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `"listener`...)
		dst = strconv.AppendInt(dst, int64(n), 10)
		dst = append(dst, `":{"address":`...)
		dst = AppendJSONString(dst, l)
		dst = append(dst, '}')
	}
	return append(dst, `}},"status":"0"}`...)
}
