package dial

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// How long the link is asked, and how often (RFC 6762, 5.2: at first after a second,
// then after twice as long each time).
const (
	queryTime  = 4 * time.Second
	firstPause = time.Second
	// settleTime is how long after the first answer another is waited for: a machine
	// may say its IPv4 and IPv6 addresses in two.
	settleTime = 50 * time.Millisecond
	// maxAnswers is how many addresses of one name are kept.
	maxAnswers = 16
)

// mdnsPort is the port of multicast DNS: answers come from it (RFC 6762, 6).
const mdnsPort = 5353

// groups are where questions go (RFC 6762, 3).
var groups = map[string]net.IP{"udp4": net.IPv4(224, 0, 0, 251), "udp6": net.ParseIP("ff02::fb")}

// Lookup asks the machines on this link for the addresses of a name that ends in
// ".local", by one-shot multicast DNS queries (RFC 6762, 5.1). It ends with ctx, and
// after 4 s without an answer. The error is a *net.DNSError; it wraps ErrNoAnswer if the
// question was sent and nobody answered.
func Lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	q, err := newQuestion(name)
	if err != nil {
		return nil, notFound(name, err)
	}
	found := make(chan []netip.Addr, len(groups)) // so that no sender blocks
	var asked int
	for network := range groups {
		s, err := openQuerier(network)
		if err != nil {
			continue // this machine does not have that kind of address
		}
		asked++
		go s.ask(ctx, q, found)
	}
	if asked == 0 {
		return nil, notFound(name, errors.New("this machine has no network that multicast DNS could ask"))
	}
	var all []netip.Addr
	for range asked {
		select {
		case addrs := <-found:
			all = append(all, addrs...)
			if len(addrs) > 0 { // the other kind of address has little time left
				var settled context.CancelFunc
				ctx, settled = context.WithTimeout(ctx, settleTime)
				defer settled()
			}
		case <-ctx.Done():
		}
	}
	cancel()
	if len(all) == 0 {
		return nil, notFound(name, ErrNoAnswer)
	}
	return all, nil
}

func notFound(name string, err error) error {
	e := &net.DNSError{Err: err.Error(), UnwrapErr: err, Name: name, Server: "multicast DNS", IsNotFound: true}
	return e
}

// A question is one name that is asked for.
type question struct {
	id    uint16
	name  string // with a dot at its end
	bytes []byte // the query
}

func newQuestion(host string) (*question, error) {
	q := &question{id: uint16(rand.Uint32()), name: strings.TrimSuffix(host, ".") + "."}
	name, err := dnsmessage.NewName(q.name)
	if err != nil {
		return nil, fmt.Errorf("%.80q is no host name", host)
	}
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: q.id})
	err = b.StartQuestions()
	for _, t := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA} {
		err = errors.Join(err, b.Question(dnsmessage.Question{Name: name, Type: t, Class: dnsmessage.ClassINET}))
	}
	if err == nil {
		q.bytes, err = b.Finish()
	}
	if err != nil {
		return nil, fmt.Errorf("%.80q is no host name", host)
	}
	return q, nil
}

// addresses returns the addresses that an answer has for the name; none if it is no
// answer to the question. zone is where the answer came from, for addresses that only
// that link knows.
func (q *question) addresses(answer []byte, zone string) (addrs []netip.Addr) {
	var p dnsmessage.Parser
	h, err := p.Start(answer)
	// An answer to a one-shot query repeats its ID (RFC 6762, 6.7).
	if err != nil || !h.Response || h.ID != q.id || h.RCode != dnsmessage.RCodeSuccess || p.SkipAllQuestions() != nil {
		return nil
	}
	for len(addrs) < maxAnswers {
		r, err := p.AnswerHeader()
		if err != nil {
			return addrs
		}
		// The highest bit of an answer's class has another use (RFC 6762, 10.2).
		ours := r.Class&0x7fff == dnsmessage.ClassINET && strings.EqualFold(r.Name.String(), q.name)
		var a netip.Addr
		switch {
		case ours && r.Type == dnsmessage.TypeA:
			body, err := p.AResource()
			if err != nil {
				return addrs
			}
			a = netip.AddrFrom4(body.A)
		case ours && r.Type == dnsmessage.TypeAAAA:
			body, err := p.AAAAResource()
			if err != nil {
				return addrs
			}
			a = netip.AddrFrom16(body.AAAA).Unmap()
			if a.IsLinkLocalUnicast() && a.Is6() {
				a = a.WithZone(zone)
			}
		default:
			if p.SkipAnswer() != nil {
				return addrs
			}
			continue
		}
		if a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && !slices.Contains(addrs, a) {
			addrs = append(addrs, a)
		}
	}
	return addrs
}

// A querier is a socket that asks all interfaces of this machine.
type querier struct {
	conn         *net.UDPConn
	destinations []destination
	port         uint16 // where answers come from
	pause        time.Duration
}

// A destination is where one copy of a question goes: through one interface to the group.
type destination struct {
	to      *net.UDPAddr
	prepare func() error // has the next packet leave through the interface; nil: the zone of to says so
}

// openQuerier opens a socket for one kind of addresses, "udp4" or "udp6".
func openQuerier(network string) (*querier, error) {
	// A port of its own makes it a one-shot query, which is answered to that port alone.
	conn, err := net.ListenUDP(network, nil)
	if err != nil {
		return nil, err
	}
	l := &querier{conn: conn, port: mdnsPort, pause: firstPause}
	const usable = net.FlagUp | net.FlagMulticast
	all, err := net.Interfaces()
	if err != nil { // as in a sandbox without netlink: the system chooses the interface
		l.destinations = []destination{{to: &net.UDPAddr{IP: groups[network], Port: mdnsPort}}}
	}
	for _, i := range all {
		if i.Flags&usable != usable || i.Flags&net.FlagPointToPoint != 0 {
			continue
		}
		w := destination{to: &net.UDPAddr{IP: groups[network], Port: mdnsPort}}
		if network == "udp4" {
			w.prepare = func() error { return setMulticastInterface(conn, i.Index) }
		} else {
			w.to.Zone = i.Name
		}
		l.destinations = append(l.destinations, w)
	}
	if len(l.destinations) == 0 {
		conn.Close()
		return nil, errors.New("no interface")
	}
	return l, nil
}

// ask sends the question, again and again, until an answer comes or ctx ends. It gives
// the addresses to found, perhaps none, and closes the querier.
func (l *querier) ask(ctx context.Context, q *question, found chan<- []netip.Addr) {
	defer l.conn.Close()
	stop := context.AfterFunc(ctx, func() { l.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	found <- l.exchange(ctx, q)
}

func (l *querier) exchange(ctx context.Context, q *question) (addrs []netip.Addr) {
	buf := make([]byte, 9000) // the longest message there is (RFC 6762, 17)
	for pause := l.pause; ctx.Err() == nil; pause *= 2 {
		l.send(q)
		until := time.Now().Add(pause)
		for {
			l.conn.SetReadDeadline(until)
			if ctx.Err() != nil { // it may have ended before the deadline was set
				return addrs
			}
			n, from, err := l.conn.ReadFromUDPAddrPort(buf)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return addrs
			}
			if from.Port() != l.port {
				continue // RFC 6762, 6: it must be ignored
			}
			for _, a := range q.addresses(buf[:n], from.Addr().Zone()) {
				if len(addrs) < maxAnswers && !slices.Contains(addrs, a) {
					addrs = append(addrs, a)
				}
			}
			if len(addrs) > 0 {
				until = earlier(until, time.Now().Add(settleTime))
			}
		}
		if len(addrs) > 0 {
			return addrs
		}
	}
	return addrs
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// send sends the question to each destination. One that fails is as one where nobody
// answers.
func (l *querier) send(q *question) {
	for _, w := range l.destinations {
		if w.prepare == nil || w.prepare() == nil {
			l.conn.WriteToUDP(q.bytes, w.to)
		}
	}
}
