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
// Strings in it are kept by whoever wants to; Data.Bytes and To are borrowed
// from whoever gives the message, until that call returns.
type Message struct {
	Type Type      // picks the way
	From Address   // who sent it: a user here, or a user at another server
	To   []Address // the recipients the sender named, if any
	ID   ID        // its origin hub and a number that never repeats
	Time time.Time // when it was sent or measured
	Hops int       // how often a handler has sent it round, or a hub to another
	Data Data      // what the hub never looks into

	// Receipt is told what becomes of the message; nil if nobody asks. A Receipt
	// that is also a Sink gets the replies, with the Tag of the message.
	Receipt Receipt
	// Tag is the sender's own number for the message, handed back with its
	// receipt and replies; the hub does not look at it.
	Tag uint64
	// Lane tells apart the connections of one sender that each have an order of their
	// own, as the original's have; 0 where all that the sender sends is in one order.
	OrderKey uint64
	// Reach says which users the sender may reach; nil if all.
	Reach Reach
	// Notes is for Receipt.Done alone: what the sender of a message that has not failed
	// may want to know.
	Notes Notes
	// Batch gathers what is to be flushed by the goroutine that now carries the
	// message; nil if everything is to be flushed at once.
	Batch *Batch
}

// Notes say of a message that has not failed what its sender may not have meant.
type Notes uint8

const (
	// NoteAbsent: somebody who was to get it is not here now.
	NoteAbsent Notes = 1 << iota
	// NoteOverruled: a route decided who gets it, not the recipients that were named.
	NoteOverruled
)

// String writes them for people, in one line; "" if there are none.
func (n Notes) String() string {
	switch n {
	case NoteAbsent:
		return "not all who were to get it are here"
	case NoteOverruled:
		return "the type's route decides who gets it, not the recipients named"
	case NoteAbsent | NoteOverruled:
		return "the type's route decides who gets it, not the recipients named; not all of them are here"
	}
	return ""
}

// Reach is the sender's permission to have messages handed to an address.
type Reach interface {
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

// Data is exactly one value, written in its encoding. It crosses from one
// encoding to the other only where the two ends of its way differ.
type Data struct {
	Encoding Encoding
	Bytes    []byte
}

// Type names what a message is, in levels separated by "/", for example
// "reading/greenhouse/bme280". A plain word is a type of the original Bester.
type Type string

// UserName names an account. Names are compared byte for byte.
type UserName string

// ServerName names another hub: a name from the config, or host:port.
type ServerName string

// Address says who is to get a message: "user" is a user here, "user@server" a
// user at another server, "@server" that server itself, which then picks the
// way by the type.
type Address struct {
	User   UserName
	Server ServerName
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

// ID names a message for good: no two messages ever have the same. The zero ID
// is that of a message which has not been given one yet.
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
