// Package wire encodes and decodes messages in the two dialects that Bester's peers
// speak: native MessagePack and classic JSON. It works on bytes alone; the packages
// bformat and tristanable read and write them.
//
// This comment documents the whole wire format, for clients and handlers in other
// languages. Each case is also a test vector under testdata, as hex or JSON, with its
// meaning.
//
// # Frames
//
// All data is sent in bformat frames over a stream (TCP, TLS or a UNIX domain socket): the
// length of the payload, 4 bytes, unsigned, little-endian; then the payload. A hub refuses
// payloads over its limit, which is 1 MiB unless configured, and 4 KiB before the login
// (pre-authentication).
//
// The first frame of a connection determines its dialect: a native payload begins with
// the byte 0x00, JSON never does.
//
// # The native dialect
//
// A payload is a tag, a kind and a body:
//
//	offset  size  what
//	0       8     tag, unsigned, little-endian
//	8       1     kind, 0x01 to 0x7f
//	9             body: one MessagePack map, whose keys are strings
//
// A receiver ignores bytes after the map, unknown keys, and frames of an unknown kind, so
// that the dialect can be extended. The order of keys is free. If a key comes twice, the
// last one counts. A number may be longer than its shortest form. All strings are UTF-8.
// Arrays and maps nest at most 64 deep in any data.
//
//	kind        sent by         tag                                        body
//	1 hello     both            0                                          hello
//	2 send      client, server  1 to 65535: a status comes under it; or 0  message
//	3 deliver   hub             0; or, of a reply, the send's              message
//	4 status    hub             the send's or ping's; 0: the connection's  status
//	5 handle    hub             1 to 65535                                 message
//	6 answer    handler         the handle's                               answer
//	7 ping      both            n: a good status comes under it; or 0      empty map
//	8 goodbye   both            0                                          e, a reason
//	9 gap       hub             0                                          gap
//	10 subscribe    client      1 to 65535: a status comes under it; or 0  subscription
//	11 unsubscribe  client      1 to 65535: a status comes under it; or 0  subscription
//
// A tag pairs a response with its request. It may be used again once its status or answer
// has come. It stays within 16 bits because older peers read no more of it.
//
// hello: the side that connects sends its hello first. The hub answers with its own hello,
// or refuses with a status under tag 0 that gives the reason, and closes the connection.
// To a client it says hello again when what the account may receive has changed: t is new
// then, the rest as before.
//
//	key  value
//	v    version of the dialect: 1
//	r    role: "client", "server", "handler"; "hub" in the hub's own
//	u    user, at most 255 bytes   } omitted on a UNIX socket that
//	p    password, at most 1024    } authenticates peers by their credentials
//	k    token, at most 255 bytes. Hub, after a password check: what the peer may send in
//	     its next hello beside u and p. A token that the hub knows takes the place of the
//	     password check; any other is ignored. Its content is opaque to the peer
//	n    name of the hub or of the handler process, at most 255 bytes
//	t    handler: list of the patterns it serves, at most 256; hub, to a client: of
//	     what the account may receive, omitted if the hub does not say
//	c    credits: how many requests in flight the sender of the hello accepts
//	f    the largest payload that it accepts, in bytes
//	s    client: true if it takes no deliveries; replies come all the same
//
// message: t and d are required, the others are optional. The hub ignores a client's f,
// o, n and h.
//
//	key  value
//	t    type: 1 to 255 bytes without control characters, + and #
//	f    from: "user" or "user@server"
//	r    list of recipients: "user", "user@server"; at most 1024
//	o    origin: the hub that took the message first
//	n    number, which never repeats at its origin: 0 to 2⁶⁴-1
//	w    when: nanoseconds since 1970-01-01 UTC, a signed integer
//	h    hops: how often it was forwarded
//	l    deliver: true if it is the last message of its type from before the subscription
//	d    data: any one value
//
// status: s is the code, e the reason, one line for people, at most 1024 bytes. With code
// 0, e is optional and a note: a hint that the outcome may not be what the sender intended.
//
//	0 good            3 too many hops     6 unknown server   9 data cannot be converted
//	1 failed          4 full: try again   7 no answer in time  10 closing
//	2 no handler      5 not allowed       8 malformed          11 too long for a receiver
//	                                                          12 too many failed logins
//
// Good means: every handler has done its part, every delivery is in its receiver's send
// queue, in the hub's memory, and every native server that the message goes to has
// confirmed it; a classic server may say nothing, and a note tells so. It does not mean
// that the receivers have read it: a delivery is still lost if its receiver disconnects,
// or reads so slowly that its queue overflows. The hub counts it then, and a receiver
// that is still there gets a gap.
//
// subscription: a client asks to be delivered the messages whose types match a pattern, or
// no longer, in addition to what is sent to its user. It gets what no recipient is named
// for, in the form in which the handlers of its route pass it on, each message once. The
// account must be allowed to receive all types of the pattern; the status tells so, and
// it is code 4 if there are too many subscriptions. Deliveries may come before the status.
// They end by themselves when the account may no longer receive the types, which the hub
// tells in a hello, and with the session. To unsubscribe from what one is not subscribed to
// is good.
//
//	key  value
//	p    the pattern
//	l    subscribe: true to get the last message of each type first, as far as the hub
//	     has kept them; it has l then, too
//
// gap: deliveries to this client were lost. It stands where the first of them would have
// been; the others would have come after it, but before the next gap. It counts those
// that no earlier gap has counted. At most one comes with each write of the hub.
//
//	key  value
//	n    how many deliveries were lost, at least 1
//	e    why, one line for people, at most 1024 bytes
//
// answer: a is the list of commands, at most 256, executed in order. Without a, or with an
// empty list, the message is discarded. e is present only if the handler failed, after its
// commands: it is the reason that the sender of the message gets. All commands together
// have at most 1024 recipients. A command is a map:
//
//	c            needs    means
//	pass                  on to the next step of the route, with d as its data; unchanged if there is no d
//	drop                  the message is discarded on purpose
//	reply        d        d goes to the sender
//	sendClients  d, r     d goes to every session of the users r: "user", "user@server"
//	sendServers  d, r     d goes to the servers r: names in the hub's config, or "host:port"
//	sendHandler  d, t     d goes to the handler of type t, whose answer is executed in turn
//
// ping asks whether the peer is alive. goodbye announces that its sender will close the
// connection once everything in flight is answered. The peer must send nothing new then.
//
// # A handler, byte by byte
//
// A process connects to the hub's UNIX socket, which authenticates it by its credentials.
// Its hello says that it serves reading/# and accepts 16 messages in flight:
//
//	30 00 00 00                                       48 bytes follow
//	00 00 00 00 00 00 00 00                           tag 0
//	01                                                hello
//	85                                                map of 5
//	a1 76  01                                         v: 1
//	a1 72  a7 68 61 6e 64 6c 65 72                    r: "handler"
//	a1 6e  a6 73 6d 6f 6f 74 68                       n: "smooth"
//	a1 74  91 a9 72 65 61 64 69 6e 67 2f 23           t: ["reading/#"]
//	a1 63  10                                         c: 16
//
// The hub answers with its hello. When the user greenhouse has sent a reading, the
// hub asks the handler:
//
//	41 00 00 00                                       65 bytes follow
//	03 00 00 00 00 00 00 00                           tag 3
//	05                                                handle
//	83                                                map of 3
//	a1 74  b9 72 65 61 64 69 6e 67 2f 67 72 65 65 6e  t: "reading/green
//	68 6f 75 73 65 2f 62 6d 65 32 38 30               house/bme280"
//	a1 66  aa 67 72 65 65 6e 68 6f 75 73 65           f: "greenhouse"
//	a1 64  81 a1 76 cb 40 35 80 00 00 00 00 00        d: {"v": 21.5}
//
// and the handler passes it on:
//
//	23 00 00 00                                       35 bytes follow
//	03 00 00 00 00 00 00 00                           tag 3, as asked
//	06                                                answer
//	81                                                map of 1
//	a1 61  91                                         a: list of 1
//	82                                                map of 2
//	a1 63  a4 70 61 73 73                             c: "pass"
//	a1 64  81 a1 76 cb 40 35 80 00 00 00 00 00        d: {"v": 21.5}
//
// It may answer in any order, and goes on until either side says goodbye or closes.
//
// # The classic dialect
//
// It is the original's dialect: one JSON object per frame, read strictly according to
// RFC 8259. Trailing bytes, trailing commas, NaN, a byte order mark, bytes that are not
// UTF-8 and data nested over 64 levels are malformed. If a key comes twice, the last one
// counts. Data and the ids of clients are passed through byte for byte.
//
//	client, first: {"header":{"scope":"client","authentication":{"username":U,"password":P}}}
//	client, later: {"header":{},"payload":{"type":T,"id":ID,"data":D}}
//	server, first: {"header":{"scope":"server","to":[U…],"hops":N},"payload":{"data":D,"type":T,"id":ID}}
//	to a client:   {"header":{"messageType":"statusReport","status":"good"},"payload":{"id":ID}}
//	               {"header":{"messageType":"statusReport","status":"bad","reason":R,"code":"hops"},"payload":{"id":ID}}
//	               {"header":{"messageType":"receivedMessage"},"payload":{"data":D,"type":T}}
//	to a handler:  D
//	its answer:    {"header":{"status":"0","command":{"type":COMMAND,"data":C}},"data":D}
//
// T, ID, U, P and R are strings, D is any value. The status of an answer is a string
// that holds an unsigned number, 0 if the handler did not fail. COMMAND is sendClients
// or sendServers, and C a list of at most 1024 names, or sendHandler, and C a type.
// Servers are "name:port", "1.2.3.4:port", "[IPv6]:port" or a name in the hub's
// config. A message of type "builtin" is for the hub itself, with the data
// {"command":{"type":"close"}}, or logout, or with what belongs to it in another
// "command": login {"username":U,"password":P}, changePassword {"password":P,"newPassword":P}.
//
// This hub's additions, all optional, are: reason; code, only for a message that had too
// many hops; to, the users at the receiving hub
// that get the message without its handlers; hops, so that a loop of hubs ends; a server's
// message without id; a user at another server, "user@server", in the names of sendClients.
//
// # Data from one dialect to the other
//
// Data is converted only between peers of different dialects. Order and duplicate keys are
// kept. JSON to MessagePack and back gives the same values. It gives the same bytes if the
// JSON has no white space, no needless escapes, and numbers as below.
//
//	JSON                                    MessagePack
//	number without fraction and exponent    int or uint of the fewest bytes
//	number with either (1.0, 0.1, 1e5)      float 64; back with a fraction (100000.0), below 1e-6 and from 1e21 on with an exponent
//	-0                                      float 64; back as -0.0, since no integer is -0
//	number that these cannot hold           extension of type 78 ("N"): the number's text
//	string, true, false, null               str, true, false, nil
//	array, object                           array, map
//
// The numbers that these cannot hold are integers beyond 64 bits (below -2⁶³, from 2⁶⁴ on)
// and numbers with a fraction or exponent that are not the shortest decimal of their
// float 64: 1e400, 0.12345678901234567891.
//
// What JSON lacks is converted too where a receiver can use the rest, and does not come
// back as it was:
//
//	MessagePack                JSON
//	float 32                   the shortest text that parses as the same float 32: its meaning everywhere
//	NaN, infinities            null
//	bin                        string of base64url without padding, as in SenML's vd
//	integer as a key           string of its digits
//	bytes that are not UTF-8   U+FFFD, in strings
//	timestamp (extension -1)   string as in RFC 3339, in UTC: "2026-11-27T12:00:00.5Z"
//
// There is no JSON for other extensions, for other keys, and for timestamps outside the
// years 0 to 9999, and no MessagePack for the escape of half a surrogate pair. A receiver
// who needs the other form does not get such a message, and the sender is told what and
// where (hub.ErrEncoding: code 9). Receivers who can take it as it is get it all the same.
//
// # Using it
//
// A [Decoder] belongs to a connection and decodes the frames that arrive on it. The
// functions named Append append payloads to a buffer. In steady state neither allocates
// memory per message. Decoded data and names are borrowed as each comment says. All
// parsers accept hostile input: invalid input gives an error that says what is wrong and
// where, and takes no more memory than the frame.
package wire
