package socket

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// unixPair returns both ends of a UNIX connection.
func unixPair(t *testing.T) (*net.UnixConn, *net.UnixConn) {
	t.Helper()
	a, b := pair(t, "unix", filepath.Join(t.TempDir(), "s"))
	return a.(*net.UnixConn), b.(*net.UnixConn)
}

// wantPeer waits until the peer is in that state.
func wantPeer(t *testing.T, conn net.Conn, want PeerState) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		got := Peer(conn)
		if got == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("got state %d, want %d", got, want)
		}
	}
}

func TestPeer(t *testing.T) {
	type closer interface {
		net.Conn
		CloseWrite() error
	}
	pairs := map[string]func() (peer, conn closer){
		"tcp":  func() (closer, closer) { a, b := tcpPair(t); return a, b },
		"unix": func() (closer, closer) { a, b := unixPair(t); return a, b },
	}
	for name, pair := range pairs {
		t.Run(name, func(t *testing.T) {
			peer, conn := pair()
			wantPeer(t, conn, PeerOpen)
			peer.Write([]byte("text"))
			wantPeer(t, conn, PeerOpen)
			peer.CloseWrite()
			wantPeer(t, conn, PeerClosing)
			b := make([]byte, 10)
			if n, err := conn.Read(b); n != 4 || err != nil {
				t.Fatal(n, err)
			}
			wantPeer(t, conn, PeerClosed)

			peer, conn = pair()
			conn.Write([]byte("never read")) // so the close is a reset
			peer.Write([]byte("text"))
			if c, ok := peer.(*net.TCPConn); ok {
				c.SetLinger(0)
			}
			peer.Close()
			wantPeer(t, conn, PeerGone) // with bytes that are not read

			_, conn = pair()
			conn.Close()
			wantPeer(t, conn, PeerGone)
		})
	}
	a, b := net.Pipe()
	defer a.Close()
	b.Close()
	wantPeer(t, a, PeerOpen)
}

func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
}

// The alert with which TLS closes is nothing to read.
func TestPeerOfTLS(t *testing.T) {
	a, b := tcpPair(t)
	peer, conn := tls.Client(a, &tls.Config{InsecureSkipVerify: true}), tls.Server(b, &tls.Config{Certificates: []tls.Certificate{certificate(t)}})
	done := make(chan error, 1)
	go func() { done <- peer.Handshake() }()
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	wantPeer(t, conn, PeerOpen)
	peer.Close()
	wantPeer(t, conn, PeerClosed)
}
