package hub

// A Verb is what a command wants done.
type Verb uint8

// The verbs. SendClients, SendServers and SendHandler are the original's; the
// others are ours.
const (
	Pass        Verb = iota + 1 // give the message to what comes next on its route
	Drop                        // discard the message on purpose
	Reply                       // hand data to the sender
	SendClients                 // hand data to users
	SendServers                 // hand data to other servers
	SendHandler                 // give data to the handler of another type
)

var verbs = [...]string{Pass: "pass", Drop: "drop", Reply: "reply",
	SendClients: "sendClients", SendServers: "sendServers", SendHandler: "sendHandler"}

// String returns the verb's name on the wire, the same in both dialects.
func (v Verb) String() string {
	if int(v) < len(verbs) {
		return verbs[v]
	}
	return ""
}

// ParseVerb returns the verb of that name, or 0 if there is none. It allocates nothing.
func ParseVerb(name []byte) Verb {
	for v, s := range verbs {
		if s != "" && s == string(name) {
			return Verb(v)
		}
	}
	return 0
}

// A Command is one action that a handler asks for: with the message it was given,
// or with data of its own. What it points to is borrowed while the command runs.
type Command struct {
	Verb Verb      // what is done with the message
	Data Data      // what goes out; not used by Drop
	To   []Address // SendClients: users; SendServers: servers, their User empty
	Type Type      // SendHandler: the type, whose handler gets the data
}

// Rights are what the commands of a handler process may do. They are asked for each
// command, so they may change while the process is connected.
type Rights interface {
	Reach
	// MaySend reports whether its commands may give messages to the handler of a type.
	MaySend(Type) bool
}

// An Executor executes the commands of an Answer instead of the Router: it sends them
// over the socket of a handler process, or records them in a test.
type Executor interface {
	// Do executes one command. c is valid until Do returns.
	Do(a *Answer, c *Command)
	// Done ends the answer. a may then be reused for another message (Answer.Reset).
	Done(a *Answer, err error)
}

// NewAnswer returns an Answer to m, whose commands c executes. It keeps a copy
// of m, which borrows what m borrows.
func NewAnswer(m *Message, c Executor) *Answer {
	a := &Answer{executor: c}
	a.Reset(m)
	return a
}

// Reset reuses an answer from NewAnswer, which must be done, as an answer to m.
func (a *Answer) Reset(m *Message) { a.m, a.done = *m, false }
