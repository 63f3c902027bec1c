package classictest

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// timeout is how long anything here may take before it counts as hung.
const timeout = 2 * time.Minute

// frame is what goes over the wire for a body.
func frame(body string) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(body)))
	return append(b, body...)
}

// A conn is one end of a connection that carries frames.
type conn struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

func newConn(t *testing.T, c net.Conn) *conn {
	t.Cleanup(func() { c.Close() })
	return &conn{Conn: c, t: t, r: bufio.NewReader(c)}
}

// dial connects to an address as the hub prints it: tcp4://A:P, unix://PATH.
func dial(t *testing.T, address string) *conn {
	t.Helper()
	network, rest, _ := strings.Cut(address, "://")
	c, err := net.DialTimeout(network, rest, timeout)
	if err != nil {
		t.Fatal(err)
	}
	return newConn(t, c)
}

// write writes bytes as they are.
func (c *conn) write(b []byte) {
	c.t.Helper()
	c.SetWriteDeadline(time.Now().Add(timeout))
	if _, err := c.Write(b); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

// send sends frames, all in one write.
func (c *conn) send(bodies ...string) {
	c.t.Helper()
	var b []byte
	for _, body := range bodies {
		b = append(b, frame(body)...)
	}
	c.write(b)
}

func (c *conn) next() (string, error) {
	c.SetReadDeadline(time.Now().Add(timeout))
	return readFrame(c.r)
}

func readFrame(r io.Reader) (string, error) {
	var header [4]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return "", err
	}
	body := make([]byte, binary.LittleEndian.Uint32(header[:]))
	if _, err := io.ReadFull(r, body); err != nil {
		return "", fmt.Errorf("inside a frame of %d bytes: %w", len(body), err)
	}
	return string(body), nil
}

// recv returns the next frame.
func (c *conn) recv() string {
	c.t.Helper()
	body, err := c.next()
	if err != nil {
		c.t.Fatalf("no frame came: %v", err)
	}
	return body
}

// want expects these frames next, byte for byte.
func (c *conn) want(bodies ...string) {
	c.t.Helper()
	for _, want := range bodies {
		if got := c.recv(); got != want {
			c.t.Fatalf("got  %s\nwant %s", got, want)
		}
	}
}

// wantBad expects a bad statusReport with that id, which is JSON, and returns its reason.
func (c *conn) wantBad(id string) string {
	c.t.Helper()
	return wantBad(c.t, c.recv(), id)
}

func wantBad(t *testing.T, got, id string) string {
	t.Helper()
	var m struct {
		Header struct {
			MessageType, Status string
			Reason              *string
		}
		Payload struct{ ID json.RawMessage }
	}
	if err := json.Unmarshal([]byte(got), &m); err != nil {
		t.Fatalf("%v in %s", err, got)
	}
	if m.Header.MessageType != "statusReport" || m.Header.Status != "bad" || string(m.Payload.ID) != id {
		t.Fatalf("got %s\nwant a bad statusReport with id %s", got, id)
	}
	if m.Header.Reason == nil || *m.Header.Reason == "" {
		t.Fatalf("no reason in %s", got)
	}
	return *m.Header.Reason
}

// wantClosed expects the end of the connection, without another frame.
func (c *conn) wantClosed() {
	c.t.Helper()
	got, err := c.next()
	switch {
	case err == nil:
		c.t.Fatalf("got %s\nwant the connection closed", got)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
	default:
		c.t.Fatalf("want the connection closed: %v", err)
	}
}

// halfClose says that nothing more will be sent.
func (c *conn) halfClose() {
	c.t.Helper()
	if err := c.Conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		c.t.Fatal(err)
	}
}

// wantAlive expects the next thing that comes to be the answer to a dummy sent now.
func (c *conn) wantAlive() {
	c.t.Helper()
	c.send(message("dummy", "still there?", "null"))
	c.want(`{"header":{"status":"0"},"payload":{"data":null,"id":"still there?","type":"dummy"}}`)
}

// login is the first frame of a client.
func login(user, password string) string {
	return fmt.Sprintf(`{"header":{"scope":"client","authentication":{"username":%s,"password":%s}}}`, quote(user), quote(password))
}

// message is a client's message; data is JSON.
func message(kind, id, data string) string {
	return fmt.Sprintf(`{"header":{"scope":"client"},"payload":{"type":%s,"id":%s,"data":%s}}`, quote(kind), quote(id), data)
}

// serverMessage is what the original sends to another server: without an id.
func serverMessage(kind, data string) string {
	return fmt.Sprintf(`{"header":{"scope":"server"},"payload":{"data":%s,"type":%s}}`, data, quote(kind))
}

const loggedIn = `{"header":{"messageType":"statusReport","status":"good"},"payload":{"id":"auth_special"}}`

// good is a good statusReport.
func good(id string) string {
	return fmt.Sprintf(`{"header":{"messageType":"statusReport","status":"good"},"payload":{"id":%s}}`, quote(id))
}

// received is what a user gets; data is JSON.
func received(data, kind string) string {
	return fmt.Sprintf(`{"header":{"messageType":"receivedMessage"},"payload":{"data":%s,"type":%s}}`, data, quote(kind))
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}
