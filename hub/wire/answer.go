package wire

import (
	"errors"

	"github.com/tinylib/msgp/msgp"

	"github.com/besterhub/bester/hub"
)

// An Answer is the answer of a handler process to one message.
type Answer struct {
	// Commands are executed in order. If there are none, the message is discarded. A
	// pass whose data is nil passes the data on unchanged.
	Commands []hub.Command
	// Reason says why the handler failed, after its commands; "" if it did not.
	Reason string
}

// errMalformedAnswer is the error of an invalid answer.
var errMalformedAnswer = errors.Join(ErrMalformed, hub.ErrHandler)

// Answer reads an answer's body. The result belongs to the Decoder, aliases body and is
// valid until the Decoder's next call. An error wraps both ErrMalformed and
// hub.ErrHandler: only this message has failed, and the connection remains usable. In
// steady state nothing is allocated, unless there is a Reason.
func (d *Decoder) Answer(body []byte) (*Answer, error) {
	a := &d.out
	clear(a.Commands)
	a.Commands, a.Reason, d.to = a.Commands[:0], "", d.to[:0]
	if err := d.readAnswer(body, a); err != nil {
		return nil, hub.Reason(errMalformedAnswer, "%v", err)
	}
	return a, nil
}

func (d *Decoder) readAnswer(body []byte, a *Answer) error {
	r := bodyReader{b: body}
	for range r.header(0x80) {
		key := r.key()
		switch key {
		case 'a':
			d.readCommands(&r, a)
		case 'e':
			if a.Reason = singleLine(r.text()); a.Reason == "" {
				a.Reason = hub.ErrHandler.Error()
			}
		default:
			r.skipValue()
		}
		if r.err != nil {
			return r.fieldError("answer", key, nil)
		}
	}
	if r.err != nil {
		return malformed("answer: %v", r.err)
	}
	return nil
}

// readCommands reads the list of commands.
func (d *Decoder) readCommands(r *bodyReader, a *Answer) {
	n := r.header(0x90)
	if n > MaxCommands {
		r.err = malformed("%d commands, at most %d are allowed", n, MaxCommands)
		return
	}
	a.Commands, d.to = a.Commands[:0], d.to[:0]
	for i := range n {
		a.Commands = append(a.Commands, hub.Command{})
		if err := d.readCommand(r, &a.Commands[i]); err != nil {
			r.err = malformed("command %d: %v", i+1, err)
			return
		}
	}
}

// readCommand reads one command. The recipients may come before the verb, so they are
// parsed after all keys have been read.
func (d *Decoder) readCommand(r *bodyReader, c *hub.Command) (err error) {
	var verb, typ, to []byte
	for range r.header(0x80) {
		switch r.key() {
		case 'c':
			verb = r.text()
		case 'd':
			c.Data.Bytes = r.skipValue()
		case 'r':
			to = r.skipValue()
		case 't':
			typ = r.text()
		default:
			r.skipValue()
		}
	}
	if r.err != nil {
		return r.err
	}
	c.Verb, c.Data.Encoding = hub.ParseVerb(verb), hub.MessagePack
	switch {
	case c.Verb == 0:
		return malformed("unknown command %q", singleLine(verb))
	case c.Verb == hub.Drop:
		c.Data = hub.Data{}
	case c.Verb != hub.Pass && c.Data.Bytes == nil:
		return malformed("%s: d: data missing", c.Verb)
	}
	switch c.Verb {
	case hub.SendClients, hub.SendServers:
		if to == nil {
			return malformed("%s: r: recipients missing", c.Verb)
		}
		list := bodyReader{b: to}
		if c.To, err = d.readRecipients(&list, c.Verb); err == nil {
			err = list.err
		}
		if err != nil {
			return malformed("%s: r: %v", c.Verb, err)
		}
	case hub.SendHandler:
		if c.Type, err = d.typ(typ); err != nil {
			return malformed("%s: t: %v", c.Verb, err)
		}
	}
	return nil
}

// An AnswerEncoder writes the payload of one answer, command by command. The zero
// value is ready; after End it can begin another. It is used by one goroutine.
type AnswerEncoder struct {
	dst        []byte
	listHeader int // offset of the header of the list of commands
	commands   int
	recipients int // number so far
}

// Begin starts the answer to the handle with that tag and appends it to dst.
func (e *AnswerEncoder) Begin(dst []byte, tag uint64) {
	dst = append(appendHeader(dst, tag, KindAnswer), 0x81, 0xa1, 'a', 0x90)
	*e = AnswerEncoder{dst: dst, listHeader: len(dst) - 1}
}

// Command adds a command. It copies what c points to, and converts JSON data. A Pass
// whose Data.Bytes is nil passes the data on unchanged. An error wraps hub.ErrEncoding
// if the data cannot be converted, otherwise hub.ErrHandler; nothing is added then.
func (e *AnswerEncoder) Command(c *hub.Command) error {
	if e.commands == MaxCommands {
		return hub.Reason(hub.ErrHandler, "answer: more than %d commands", MaxCommands)
	}
	if e.recipients+len(c.To) > MaxRecipients {
		return hub.Reason(hub.ErrHandler, "answer: more than %d recipients", MaxRecipients)
	}
	name := c.Verb.String()
	if name == "" {
		return hub.Reason(hub.ErrHandler, "answer: unknown command %d", c.Verb)
	}
	start := len(e.dst)
	dst := msgp.AppendString(append(e.dst, 0x81, 0xa1, 'c'), name)
	fields := byte(1)
	switch c.Verb {
	case hub.SendClients:
		fields++
		dst = appendRecipients(dst, c.To)
	case hub.SendServers:
		fields++
		dst = msgp.AppendArrayHeader(append(dst, 0xa1, 'r'), uint32(len(c.To)))
		for _, a := range c.To {
			dst = msgp.AppendString(dst, string(a.Server))
		}
	case hub.SendHandler:
		fields++
		dst = msgp.AppendString(append(dst, 0xa1, 't'), string(c.Type))
	}
	if c.Verb != hub.Drop && !(c.Verb == hub.Pass && c.Data.Bytes == nil) {
		fields++
		var err error
		if dst, err = AppendMessagePack(append(dst, 0xa1, 'd'), c.Data); err != nil {
			return err
		}
	}
	dst[start] = 0x80 | fields
	e.dst = dst
	e.commands++
	e.recipients += len(c.To)
	return nil
}

// End finishes the answer and returns dst with its payload. err is the reason why the
// handler failed after its commands, or nil.
func (e *AnswerEncoder) End(err error) []byte {
	e.dst = setCount(e.dst, e.listHeader, e.commands, 0xdc)
	if err != nil {
		e.dst[e.listHeader-3]++
		e.dst = appendReason(append(e.dst, 0xa1, 'e'), err.Error())
	}
	dst := e.dst
	*e = AnswerEncoder{}
	return dst
}
