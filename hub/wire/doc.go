// Package wire turns frames into messages and back, in the two dialects that Bester's
// peers speak: native MessagePack and classic JSON. It works on bytes alone; what
// reads and writes them are the packages bformat and tristanable.
//
// Whoever wants to write a client or a handler in another language finds all of the
// wire here. Each case is also a file under testdata, as hex or JSON, with what it means.
//
// # Frames
//
// Everything travels in bformat frames over a stream (TCP, TLS or a UNIX domain
// socket): the length of the payload, 4 bytes, unsigned, little-endian; then the
// payload. A hub refuses payloads over its limit, 1 MiB unless configured, and 4 KiB
// before the login.
//
// The first frame of a connection tells its dialect: a native payload begins with the
// byte 0x00, JSON never does.
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
// Bytes after the map are ignored, so are keys that the receiver does not know, and
// frames of a kind it does not know: the dialect can grow. The order of keys is free;
// if one comes twice the last counts; a number may be written longer than it needs.
// All strings are UTF-8. Arrays and maps nest at most 64 deep in any data.
//
//	kind        sent by         tag                                        body
//	1 hello     both, first     0                                          hello
//	2 send      client, server  1 to 65535: a status comes under it; or 0  message
//	3 deliver   hub             0; or, of a reply, the send's              message
//	4 status    hub             the send's or ping's; 0: the connection's  status
//	5 handle    hub             1 to 65535                                 message
//	6 answer    handler         the handle's                               answer
//	7 ping      both            n: a good status comes under it; or 0      empty map
//	8 goodbye   both            0                                          e, a reason
//
// A tag pairs what comes back with what was sent. It may be used again once its status
// or answer has come; it stays within 16 bits because older peers read no more of it.
//
// hello: the side that connects sends its own first, the hub answers with its own, or
// with a status under tag 0 that says why not, and closes.
//
//	key  value
//	v    version of the dialect: 1
//	r    role: "client", "server", "handler"; "hub" in the hub's own
//	u    user, at most 255 bytes   } left out on a UNIX socket
//	p    password, at most 1024    } that vouches for its peers
//	n    name of the hub or of the handler process, at most 255 bytes
//	t    handler: list of the patterns it serves, at most 256; hub, to a client: of
//	     what the account may receive, left out where the hub does not say
//	c    credits: how many requests without an answer the sender of the hello takes
//	f    the largest payload that it takes, in bytes
//
// message: t and d are always there, the others only where they say something. A
// client's f, o, n and h are not believed.
//
//	key  value
//	t    type: 1 to 255 bytes without control characters, + and #
//	f    from: "user" or "user@server"
//	r    list of recipients: "user", "user@server"; at most 1024
//	o    origin: the hub that took the message first
//	n    number, which never repeats at its origin: 0 to 2⁶⁴-1
//	w    when: nanoseconds since 1970-01-01 UTC, a signed integer
//	h    hops: how often it was sent round
//	d    data: any one value
//
// status: s is the code, e the reason, one line for people, at most 1024 bytes. With code
// 0 it may be left out, and else is a note: what the sender may not have meant.
//
//	0 good            3 too many hops     6 unknown server   9 data cannot be converted
//	1 failed          4 full: try again   7 no answer in time  10 closing
//	2 no handler      5 not allowed       8 malformed
//
// answer: a is the list of commands, at most 256, carried out in order; none, or an
// empty list, and the message goes nowhere. e is there only if the handler failed, after its
// commands: the reason its sender is told. The recipients of all commands together
// are at most 1024. A command is a map:
//
//	c            needs    means
//	pass                  on to what comes next on the route, with d as its data; as it was if there is no d
//	drop                  nowhere, on purpose
//	reply        d        d goes to the sender
//	sendClients  d, r     d goes to every session of the users r: "user", "user@server"
//	sendServers  d, r     d goes to the servers r: names in the hub's config, or "host:port"
//	sendHandler  d, t     d goes to the handler of type t, whose answer is carried out in turn
//
// ping asks whether the other side is there. goodbye says that its sender will close
// once what is in flight is answered; nothing new is to be sent then.
//
// # A handler, byte by byte
//
// A process connects to the hub's UNIX socket, which vouches for it, and says that it
// serves reading/# and takes 16 messages at a time:
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
// It is the original's, one JSON object a frame, read strictly as RFC 8259 has it:
// trailing bytes, trailing commas, NaN, a byte order mark, bytes that are not UTF-8
// and data nested over 64 levels are malformed. Where a key comes twice the last
// counts. Data, and the ids of clients, are passed through with the bytes they were
// written with.
//
//	client, first: {"header":{"scope":"client","authentication":{"username":U,"password":P}}}
//	client, later: {"header":{},"payload":{"type":T,"id":ID,"data":D}}
//	server, first: {"header":{"scope":"server","to":[U…],"hops":N},"payload":{"data":D,"type":T,"id":ID}}
//	to a client:   {"header":{"messageType":"statusReport","status":"good"},"payload":{"id":ID}}
//	               {"header":{"messageType":"statusReport","status":"bad","reason":R},"payload":{"id":ID}}
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
// This hub's additions, all optional, are: reason; to, the users at the receiving hub
// whom a message is for, past its handlers; hops, so that a circle of hubs ends; a
// server's message without id; a user at another server, "user@server", in the names of sendClients.
//
// # Data from one dialect to the other
//
// Data is converted only where it crosses. Order and duplicate keys stay. JSON to
// MessagePack and back gives the same values, and the same bytes if it was written
// without white space, needless escapes, and with numbers as below.
//
//	JSON                                    MessagePack
//	number without fraction and exponent    int or uint of the fewest bytes
//	number with either (1.0, 0.1, 1e5)      float 64; back with a fraction (100000.0), below 1e-6 and from 1e21 on with an exponent
//	-0                                      float 64; back as -0.0, since no integer is -0
//	number that these cannot hold           extension of type 78 ("N"): the number's text
//	string, true, false, null               str, true, false, nil
//	array, object                           array, map
//
// Neither holds an integer beyond 64 bits (below -2⁶³, from 2⁶⁴ on), nor a float whose shortest decimal is
// not the number that was written: 1e400, 0.12345678901234567891. From MessagePack
// alone: float 32 becomes the shortest text that reads back as the same float 32; bin
// becomes a string of base64url without padding (as in SenML's vd), and does not come
// back. There is no JSON for NaN, infinities, keys that are no strings, strings that
// are not UTF-8, timestamps and other extensions; there is no MessagePack for the
// escape of half a surrogate pair. These are errors that say what and where
// (hub.ErrEncoding), and the message fails.
//
// # Using it
//
// A [Decoder] belongs to a connection and reads what arrives on it; functions named
// Append write payloads behind what is in a buffer. On the way of a message neither
// allocates in steady state. Data and names read are borrowed as each comment says.
// Everything here may be fed with anything: what does not parse is an error that says
// what is wrong and where, and costs no more memory than the frame.
package wire
