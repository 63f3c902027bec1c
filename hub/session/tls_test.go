package session

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// An alertingClient is a connection of a TLS client that, after its hello, sends these
// bytes in place of what crypto/tls would: the alert of another library.
type alertingClient struct {
	net.Conn
	hello  bool // sent
	alerts []byte
}

func (c *alertingClient) Write(b []byte) (int, error) {
	if !c.hello {
		c.hello = true
		return c.Conn.Write(b)
	}
	if len(c.alerts) > 0 {
		if _, err := c.Conn.Write(c.alerts); err != nil {
			return 0, err
		}
		c.alerts = nil
	}
	return len(b), nil
}

// The log says in plain words why TLS with a client failed, whatever library it uses.
func TestFailuresOfTLSAreExplained(t *testing.T) {
	refuses := func(config *tls.Config) func(t *testing.T, address string) {
		return func(t *testing.T, address string) {
			if conn, err := tls.Dial("tcp", address, config); err == nil {
				conn.Close()
				t.Error("the client took the hub for good")
			}
		}
	}
	alerts := func(bytes string) func(t *testing.T, address string) { // as OpenSSL, Python, curl and Mbed TLS do
		return func(t *testing.T, address string) {
			conn := dialTCP(t, address)
			if tls.Client(&alertingClient{Conn: conn, alerts: []byte(bytes)}, &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "127.0.0.1"}).Handshake() == nil {
				t.Error("a certificate that nobody has signed was taken")
			}
			io.Copy(io.Discard, conn) // until the hub has read it
		}
	}
	hello := func(name string) func(t *testing.T, address string) {
		return func(t *testing.T, address string) {
			conn := dialTCP(t, address)
			conn.Write(recordedHello(t, name))
			io.Copy(io.Discard, conn)
		}
	}
	const untrusted = "the client does not trust this hub's certificate: give it the one that signed it, with --ca FILE"
	for name, c := range map[string]struct {
		client func(t *testing.T, address string)
		want   string
	}{
		"Go: unknown CA":    {refuses(&tls.Config{RootCAs: x509.NewCertPool()}), untrusted},
		"Go: other name":    {refuses(&tls.Config{ServerName: "other"}), "see that the certificate has the name by which it connects"},
		"Go: TLS 1.2":       {refuses(&tls.Config{MaxVersion: tls.VersionTLS12}), "too old, or limited to old versions: it must speak TLS 1.3"},
		"clear: unknown CA": {alerts("\x15\x03\x03\x00\x02\x02\x30"), "by which it connects (tls: unknown certificate authority)"},
		"clear: other name": {alerts("\x15\x03\x03\x00\x02\x02\x2a"), "see that the certificate has the name by which it connects"},
		"clear: unknown":    {alerts("\x15\x03\x03\x00\x02\x02\x2e"), untrusted},
		"clear: expired":    {alerts("\x15\x03\x03\x00\x02\x02\x2d"), "takes this hub's certificate for expired: renew it, or set the client's clock"},
		"clear: kind":       {alerts("\x15\x03\x03\x00\x02\x02\x2b"), "cannot use this hub's kind of certificate"},
		"clear: closes":     {alerts("\x15\x03\x03\x00\x02\x01\x00"), "the client ended the TLS handshake"},
		"clear: other":      {alerts("\x15\x03\x03\x00\x02\x02\x2f"), "ended the TLS handshake, for it found wrong: illegal parameter"},
		"clear: after CCS":  {alerts("\x14\x03\x03\x00\x01\x01\x15\x03\x03\x00\x02\x02\x30"), untrusted},
		"damaged":           {alerts("\x17\x03\x03\x00\x18" + strings.Repeat("x", 24)), "cannot be read; most often it does not trust this hub's certificate"},
		"OpenSSL: TLS 1.2":  {hello("tls1_2"), "it must speak TLS 1.3 (OpenSSL 1.1.1 or later)"},
		"OpenSSL: TLS 1.0":  {hello("tls1"), "it must speak TLS 1.3 (OpenSSL 1.1.1 or later)"},
		"SSL 2": {func(t *testing.T, address string) {
			dialTCP(t, address).Write([]byte("\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10"))
		}, "it must speak TLS 1.3"},
		"cipher":         {hello("cipher"), "no cipher of TLS 1.3 in common: let it use TLS_AES_128_GCM_SHA256"},
		"key exchange":   {hello("key_exchange"), "no key exchange in common: let it use X25519 or P-256"},
		"signature":      {hello("signature"), "cannot use this hub's kind of certificate"},
		"half a message": {brokenOff, "the client ended the TLS handshake in the middle of a message"},
	} {
		t.Run(name, func(t *testing.T) {
			h := run(t, Options{})
			c.client(t, h.tls)
			h.log.want(t, "connection closed", c.want)
			if got := h.Stats().Malformed; got != 1 {
				t.Errorf("%d connections counted as malformed, want 1", got)
			}
		})
	}
}

// brokenOff closes the connection in the hello.
func brokenOff(t *testing.T, address string) {
	conn := dialTCP(t, address)
	conn.Write(recordedHello(t, "signature")[:40])
	conn.CloseWrite()
	io.Copy(io.Discard, conn)
}

// A client that has seen the certificate and then closes without an alert is noticed, and
// one that sends nothing, as a port scan does, is not.
func TestClientOfTLSThatClosesSilently(t *testing.T) {
	const want = "TLS client closed the connection before its first frame"
	for name, leave := range map[string]func(t *testing.T, address string){
		"in the handshake": func(t *testing.T, address string) {
			conn := dialTCP(t, address)
			conn.Write(helloOfGo(t))
			if _, err := io.ReadFull(conn, make([]byte, 5)); err != nil {
				t.Fatal(err)
			}
			conn.CloseWrite()
			io.Copy(io.Discard, conn)
		},
		"reset": func(t *testing.T, address string) {
			conn := dialTCP(t, address)
			conn.Write(helloOfGo(t))
			if _, err := io.ReadFull(conn, make([]byte, 5)); err != nil {
				t.Fatal(err)
			}
			conn.SetLinger(0)
			conn.Close()
		},
		"after the handshake": func(t *testing.T, address string) { // curl looks at the name then
			conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				t.Fatal(err)
			}
			conn.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := run(t, Options{})
			for range 3 { // nothing is said of these, and nothing was before the line
				conn := dialTCP(t, h.tls)
				conn.CloseWrite()
				io.Copy(io.Discard, conn)
			}
			leave(t, h.tls)
			var line string
			for line = range h.log {
				if strings.Contains(line, "connection") {
					break
				}
			}
			if !strings.Contains(line, want) || !strings.Contains(line, "see that it trusts this hub's certificate") {
				t.Errorf("got %s", line)
			}
		})
	}
}

func dialTCP(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

// recordedHello returns a client's first record as OpenSSL has sent it.
func recordedHello(t *testing.T, name string) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "tls", name+".hex"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b []byte
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		line, err := hex.DecodeString(lines.Text())
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, line...)
	}
	return b
}

// helloOfGo returns the first record of crypto/tls.
func helloOfGo(t *testing.T) []byte {
	t.Helper()
	var sent bytes.Buffer
	if tls.Client(onlyWriter{sent: &sent}, &tls.Config{InsecureSkipVerify: true}).Handshake() == nil {
		t.Fatal("a handshake with nobody")
	}
	return sent.Bytes()[:5+int(sent.Bytes()[3])<<8+int(sent.Bytes()[4])]
}

// An onlyWriter is a connection whose peer never answers.
type onlyWriter struct {
	net.Conn
	sent *bytes.Buffer
}

func (w onlyWriter) Write(b []byte) (int, error) { return w.sent.Write(b) }
func (onlyWriter) Read([]byte) (int, error)      { return 0, io.EOF }
func (onlyWriter) Close() error                  { return nil }
