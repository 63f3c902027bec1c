package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = time.Minute

// answer is what a machine of that name and addresses answers to a question.
func answer(t *testing.T, query []byte, name string, addrs ...string) []byte {
	t.Helper()
	var q dnsmessage.Message
	if err := q.Unpack(query); err != nil {
		t.Fatal(err)
	}
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: q.ID, Response: true, Authoritative: true}, Questions: q.Questions}
	for _, s := range addrs {
		h := dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name), Class: dnsmessage.ClassINET | 0x8000, TTL: 10}
		a := netip.MustParseAddr(s)
		if a.Is4() {
			h.Type = dnsmessage.TypeA
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: a.As4()}})
		} else {
			h.Type = dnsmessage.TypeAAAA
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
		}
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// responder answers what comes to its socket on loopback as it is told.
func responder(t *testing.T, respond func(query []byte) [][]byte) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan bool)
	go func() {
		defer close(done)
		buf := make([]byte, 9000)
		for {
			n, from, err := c.ReadFromUDP(buf)
			if err != nil {
				return
			}
			for _, b := range respond(buf[:n]) {
				c.WriteToUDP(b, from)
			}
		}
	}()
	t.Cleanup(func() { c.Close(); <-done })
	return c
}

// querierTo is a querier of only that responder.
func querierTo(t *testing.T, c *net.UDPConn) *querier {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	to := c.LocalAddr().(*net.UDPAddr)
	return &querier{conn: conn, destinations: []destination{{to: to}}, port: uint16(to.Port), pause: patience}
}

func mustAsk(t *testing.T, name string) *question {
	t.Helper()
	q, err := newQuestion(name)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func TestAnswersOfTheLink(t *testing.T) {
	c := responder(t, func(query []byte) [][]byte {
		wrong := answer(t, query, "pi.local.", "10.0.0.9")
		wrong[0]++ // another question's ID
		return [][]byte{
			nil, {0}, []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), query, wrong,
			answer(t, query, "other.local.", "10.0.0.8"),
			answer(t, query, "Pi.Local.", "224.0.0.1", "0.0.0.0", "10.0.0.1", "10.0.0.1", "fe80::1", "2001:db8::1"),
		}
	})
	got := querierTo(t, c).exchange(t.Context(), mustAsk(t, "PI.local"))
	want := []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fe80::1"), netip.MustParseAddr("2001:db8::1")}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// What comes from another port than that of multicast DNS is no answer.
func TestAnswerFromAnotherPort(t *testing.T) {
	c := responder(t, func(query []byte) [][]byte { return [][]byte{answer(t, query, "pi.local.", "10.0.0.1")} })
	l := querierTo(t, c)
	l.port++
	l.pause = 20 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	found := make(chan []netip.Addr, 1)
	l.ask(ctx, mustAsk(t, "pi.local"), found)
	if got := <-found; len(got) > 0 {
		t.Errorf("got %v", got)
	}
}

// A question that was lost is sent again.
func TestQuestionIsRepeated(t *testing.T) {
	n := 0
	c := responder(t, func(query []byte) [][]byte {
		if n++; n < 3 {
			return nil
		}
		return [][]byte{answer(t, query, "pi.local.", "10.0.0.1")}
	})
	l := querierTo(t, c)
	l.pause = 10 * time.Millisecond
	if got := l.exchange(t.Context(), mustAsk(t, "pi.local")); len(got) != 1 {
		t.Errorf("got %v", got)
	}
}

// The wait for an answer ends with its context.
func TestLookupEndsWithItsContext(t *testing.T) {
	c := responder(t, func([]byte) [][]byte { return nil })
	ctx, cancel := context.WithCancel(t.Context())
	found := make(chan []netip.Addr, 1)
	time.AfterFunc(10*time.Millisecond, cancel)
	l := querierTo(t, c)
	l.ask(ctx, mustAsk(t, "pi.local"), found)
	cancel()
	if _, err := Lookup(ctx, "nobody.local"); err == nil {
		t.Error("got no error")
	}
}

func TestNameThatIsNone(t *testing.T) {
	for _, name := range []string{strings.Repeat("x", 64) + ".local", strings.Repeat("x.", 200) + "local", "..local"} {
		var e *net.DNSError
		if _, err := Lookup(t.Context(), name); !errors.As(err, &e) || !e.IsNotFound {
			t.Errorf("%.20s: got %v", name, err)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	q, err := newQuestion("pi.local")
	if err != nil {
		f.Fatal(err)
	}
	q.id = 7
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: 7, Response: true}}
	m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName("pi.local."), Class: dnsmessage.ClassINET, Type: dnsmessage.TypeA}, Body: &dnsmessage.AResource{A: [4]byte{10, 0, 0, 1}}}}
	good, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	if got := q.addresses(good, ""); len(got) != 1 {
		f.Fatalf("got %v", got)
	}
	f.Add(good)
	f.Add(q.bytes)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		got := q.addresses(b, "eth0")
		if len(got) > maxAnswers {
			t.Errorf("got %d addresses", len(got))
		}
		for _, a := range got {
			if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() {
				t.Errorf("got %v", a)
			}
		}
	})
}

// listener accepts connections on loopback and closes them.
func listener(t *testing.T) (port string) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan bool)
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port
}

// A name of the link leads to its first address that works.
func TestDialLocalName(t *testing.T) {
	port := listener(t)
	var asked []string
	var checked []string
	d := Dialer{
		resolve: nobody,
		Local: func(_ context.Context, name string) ([]netip.Addr, error) {
			asked = append(asked, name)
			return []netip.Addr{netip.MustParseAddr("::1"), netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.1")}, nil
		},
		Check: func(a netip.AddrPort) error { checked = append(checked, a.String()); return nil },
	}
	c, err := d.DialContext(t.Context(), "tcp", "Pi.local:"+port)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if want := []string{"127.0.0.2:" + port, "127.0.0.1:" + port}; !slices.Equal(checked, want) || !slices.Equal(asked, []string{"Pi.local"}) {
		t.Errorf("asked for %v, connected to %v, want %v", asked, checked, want)
	}
	if _, err := d.DialContext(t.Context(), "tcp6", "pi.local:1"); err == nil {
		t.Error("tcp6: got no error")
	}
}

// The address that is connected to is checked, however the name led there.
func TestDialIsChecked(t *testing.T) {
	port := listener(t)
	no := errors.New("not there")
	d := Dialer{
		resolve: nobody,
		Local: func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		},
		Check: func(a netip.AddrPort) error {
			if a.Addr().IsLoopback() {
				return no
			}
			return nil
		},
	}
	for _, host := range []string{"pi.local", "localhost", "127.0.0.1"} {
		if c, err := d.DialContext(t.Context(), "tcp", net.JoinHostPort(host, port)); !errors.Is(err, no) {
			t.Errorf("%s: got %v, %v", host, c, err)
		}
	}
}

// nobody is a resolver that knows no name.
func nobody(_ context.Context, _, host string) ([]netip.Addr, error) {
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func TestDialNameThatNobodyHas(t *testing.T) {
	d := Dialer{resolve: nobody, Local: func(_ context.Context, name string) ([]netip.Addr, error) {
		return nil, notFound(name, ErrNoAnswer)
	}}
	_, err := d.DialContext(t.Context(), "tcp", "no-such-board.local:1")
	var e *net.DNSError
	if !errors.As(err, &e) || !errors.Is(err, ErrNoAnswer) {
		t.Errorf("got %v", err)
	}
}

// A name in /etc/hosts or of a name server is found while the link is still asked.
func TestDialNameThatTheResolverKnows(t *testing.T) {
	port := listener(t)
	d := Dialer{
		Local: func(ctx context.Context, _ string) ([]netip.Addr, error) { <-ctx.Done(); return nil, ctx.Err() },
		resolve: func(context.Context, string, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("::ffff:127.0.0.1")}, nil
		},
	}
	c, err := d.DialContext(t.Context(), "tcp", "printer.LOCAL.:"+port)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func ExampleDialer() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	var d Dialer
	c, err := d.DialContext(context.Background(), "tcp", l.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	fmt.Println(c.RemoteAddr().Network())
	// Output: tcp
}
