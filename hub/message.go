package hub

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Message is the unit that the hub routes.
//
// Its strings may be kept. Data.Bytes and To are borrowed from the caller that
// passes the message, until that call returns.
type Message struct {
	Type Type      // picks the route
	From Address   // who sent it: a user here, or a user at another server
	To   []Address // the recipients the sender named, if any
	ID   ID        // its origin hub and a number that never repeats
	Time time.Time // when it was sent or measured
	Hops int       // how often a handler or a hub has forwarded it to another
	Data Data      // the content; the hub never looks into it

	// Retained says that a receiver gets the message as the last one of its type, from
	// before it subscribed.
	Retained bool

	// Receipt is notified of the message's outcome; nil if nobody asks. A Receipt
	// that is also a Sink gets the replies, with the Tag of the message.
	Receipt Receipt
	// Tag is the sender's own number for the message. It comes back with the
	// receipt and the replies; the hub does not look at it.
	Tag uint64
	// OrderKey is the ordering key within one sender: messages with the same sender, type
	// and OrderKey stay in order. The connections of a classic client have different
	// keys, as in the original. It is 0 if all messages of the sender share one order.
	OrderKey uint64
	// Reach says which addresses the sender may reach; nil means all.
	Reach Reach
	// Notes is set only for Receipt.Done: hints to the sender of a message that has
	// not failed.
	Notes Notes
	// Batch collects what the current goroutine has to flush; nil means that
	// everything is flushed at once.
	Batch *Batch
}

// Notes are hints about a message that has not failed, but whose outcome the sender
// may not have intended.
//
// The lower half are flags. The upper half counts who is absent, up to its largest number.
type Notes uint32

const (
	// NoteAbsent: a recipient that the sender named has no live session here.
	NoteAbsent Notes = 1 << iota
	// NoteOverruled: the type's route decided who gets it, not the recipients named.
	NoteOverruled
	// NoteUnconfirmed: a server took it and did not say what became of it.
	NoteUnconfirmed
	// NoteDenied: a receiver's account may not receive the type.
	NoteDenied
	// NoteFull: a receiver's queue had no room for it.
	NoteFull
	// NoteReceiverAbsent: somebody whom a route or a handler sends it to has no live session
	// here.
	NoteReceiverAbsent
	// NoteNobody: nobody got it, since all who were to get it are absent.
	NoteNobody
	noteHanded  // a receiver has taken it; not for senders, nor is the next
	noteDropped // a handler has dropped it
	noteMissed  // a subscriber has not taken it

	oneAbsent Notes = 1 << 16
)

// Absent returns how many were to get the message and have no live session here.
func (n Notes) Absent() int { return int(n / oneAbsent) }

// AbsentRecipients returns the note that n of the recipients that the sender named are absent.
func AbsentRecipients(n int) Notes { return NoteAbsent | Notes(n)*oneAbsent }

// String returns the notes as one line for people; "" if there are none.
func (n Notes) String() string {
	var parts []string
	for _, p := range [...]struct {
		note Notes
		text string
	}{
		{NoteOverruled, "the type's route decides who gets it, not the recipients named"},
		{NoteAbsent | NoteReceiverAbsent, n.absentText()},
		{NoteUnconfirmed, "handed over to a server that did not confirm it"},
		{NoteDenied, "not all who were to get it may receive its type"},
		{NoteFull, "not all who were to get it have room for it in their queues"},
	} {
		if n&p.note != 0 {
			parts = append(parts, p.text)
		}
	}
	return strings.Join(parts, "; ")
}

// absentText says who is absent: of the recipients named, if only such are.
func (n Notes) absentText() string {
	nobody, whom := "nobody who was to get it is here", "those who were to get it"
	if n&NoteReceiverAbsent == 0 {
		nobody, whom = "no recipient named is here", "the recipients named"
	}
	switch {
	case n&NoteNobody != 0:
		return nobody
	case n.Absent() == 1:
		return "1 of " + whom + " is not here"
	}
	return strconv.Itoa(n.Absent()) + " of " + whom + " are not here"
}

// Reach is the sender's permission to have messages handed to an address.
type Reach interface {
	// MayReach reports whether the sender's messages may be handed to that address.
	MayReach(Address) bool
}

// Encoding is how a message's data is written.
type Encoding uint8

// The encodings of data. JSON is the classic dialect's, MessagePack the native one's.
const (
	JSON Encoding = iota
	MessagePack
)

// String returns the encoding's common name.
func (e Encoding) String() string {
	if e == MessagePack {
		return "MessagePack"
	}
	return "JSON"
}

// Data is exactly one value, in its encoding. It is converted to the other
// encoding only if the receiver needs that.
type Data struct {
	Encoding Encoding // of Bytes
	Bytes    []byte   // one whole value; borrowed during Put
}

// Type names what a message is, in levels separated by "/", for example
// "reading/greenhouse/bme280". A plain word is a type of the original Bester.
type Type string

// UserName names an account. Names are compared byte for byte.
type UserName string

// ServerName names another hub: a name from the config, or host:port.
type ServerName string

// Address says who is to get a message: "user" is a user here, "user@server" a
// user at another server, "@server" that server itself, which then routes the
// message by its type.
type Address struct {
	User   UserName   // "" for the server itself
	Server ServerName // "" for this hub; otherwise its name, or host:port
}

// ParseAddress reads "user", "user@server" or "@server".
func ParseAddress(s string) (Address, error) {
	user, server, at := strings.Cut(s, "@")
	switch {
	case s == "":
		return Address{}, errors.New(`address "": want user, user@server or @server`)
	case at && (server == "" || strings.Contains(server, "@")):
		return Address{}, fmt.Errorf("address %q: want user, user@server or @server", s)
	}
	return Address{UserName(user), ServerName(server)}, nil
}

// String writes the address as ParseAddress reads it.
func (a Address) String() string {
	if a.Server == "" {
		return string(a.User)
	}
	return string(a.User) + "@" + string(a.Server)
}

// ID identifies a message: no two messages ever have the same ID. A message that
// has not been given an ID yet has the zero ID.
type ID struct {
	Origin string // the hub that first took the message
	Number uint64 // never repeats at its origin
}

// String writes "origin/number", or "" for the zero ID.
func (id ID) String() string {
	if id == (ID{}) {
		return ""
	}
	return string(id.Append(nil))
}

// Append appends what String returns to dst.
func (id ID) Append(dst []byte) []byte {
	dst = append(dst, id.Origin...)
	dst = append(dst, '/')
	return strconv.AppendUint(dst, id.Number, 10)
}
