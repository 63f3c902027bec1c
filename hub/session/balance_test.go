package session

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/account"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/wire"
)

// A reader is a receiver of the test below, who reads as its kind says.
type reader struct {
	*peer
	name    hub.UserName
	classic bool
	kind    string // fast, slow, stops: until the end, dies: somewhere
	got     atomic.Int64
	missed  atomic.Int64
	done    chan struct{}
}

// read reads until the connection ends.
func (r *reader) read(dies int64, resume <-chan struct{}) {
	defer close(r.done)
	if r.kind == "stops" {
		<-resume
	}
	for {
		f, err := r.in.Next()
		if err != nil {
			return
		}
		if strings.HasPrefix(string(f), "{") {
			if strings.HasPrefix(string(f), `{"header":{"messageType":"receivedMessage"`) {
				r.got.Add(1)
			}
		} else if _, kind, body, err := wire.Cut(f); err == nil && kind == wire.KindDeliver {
			r.got.Add(1)
		} else if kind == wire.KindGap {
			if n, _, err := wire.ParseGap(body); err == nil {
				r.missed.Add(int64(n))
			}
		}
		switch {
		case r.kind == "slow" && r.got.Load()%20 == 0:
			time.Sleep(time.Millisecond)
		case r.kind == "dies" && r.got.Load() >= dies:
			r.Close()
			return
		}
	}
}

// asyncHandler does with each message what its data says, on other goroutines.
type asyncHandler struct {
	work chan asyncJob
	wg   sync.WaitGroup
}

type asyncJob struct {
	a    *hub.Answer
	data []byte
}

func (h *asyncHandler) Handle(m *hub.Message, a *hub.Answer) {
	d := append([]byte(nil), m.Data.Bytes...)
	a.Detach()
	h.work <- asyncJob{a, d}
}

func (h *asyncHandler) run(to []hub.Address) {
	defer h.wg.Done()
	rng := rand.New(rand.NewPCG(1, 2))
	for j := range h.work {
		j.a.Resume(nil)
		d := hub.Data{Encoding: hub.MessagePack, Bytes: j.data}
		switch rng.IntN(6) {
		case 0:
			j.a.Reply(d)
		case 1:
			j.a.SendClients(d, to...)
		case 2:
			j.a.Drop()
		case 3:
			j.a.SendServers(d, hub.Address{Server: "far"}, hub.Address{Server: "nowhere"})
		case 4:
			j.a.SendHandler(d, "split/again")
			j.a.SendHandler(d, "nobody")
		}
		var err error
		if rng.IntN(10) == 0 {
			err = errors.New("failed")
		}
		j.a.Done(err)
	}
}

// A farServer is a server that confirms, refuses or fails what it gets, sooner or later.
type farServer struct {
	n         atomic.Uint64
	wg        sync.WaitGroup
	confirmed atomic.Uint64
}

func (s *farServer) Put(m *hub.Message) error {
	n, receipt := s.n.Add(1), m.Receipt
	if n%7 == 0 {
		return hub.ErrFull
	}
	var err error
	if n%5 == 0 {
		err = hub.ErrTimeout
	} else {
		s.confirmed.Add(1)
	}
	out := hub.Message{Type: m.Type, Tag: m.Tag}
	if n%2 == 0 {
		receipt.Done(&out, err)
		return nil
	}
	s.wg.Go(func() { receipt.Done(&out, err) })
	return nil
}

// Whatever senders, receivers, routes, handlers and servers do: when all is quiet, each
// message has ended in one counter and each delivery in one, and the receivers have got
// what is counted as delivered to them.
func TestBooksBalance(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { balance(t, seed) })
	}
}

func balance(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 77))
	full := []bformat.OverflowPolicy{bformat.DropOldest, bformat.DropNewest, bformat.DropOldest, bformat.Close}[seed%4]
	h := run(t, Options{Limits: Limits{
		QueueBytes: 32 << 10 << rng.IntN(4), Overflow: full, WriteTimeout: time.Minute, Memory: []int{32 << 20, 1 << 20}[seed%2],
	}})
	longest := []int{50_000, 3_000}[seed%2] // what Limits.Memory has room for, however it arrives
	var far farServer
	h.router.Directory().SetServers(map[hub.ServerName]hub.Sink{"far": &far}, nil)

	resume := make(chan struct{})
	var readers []*reader
	var users []hub.Address
	for i, kind := range []string{"fast", "slow", "stops", "dies", "fast", "slow", "stops", "dies"} {
		r := &reader{name: hub.UserName(fmt.Sprintf("%s%d", kind, i)), kind: kind, classic: i >= 4, done: make(chan struct{})}
		if r.classic {
			h.account(t, r.name, func(p *account.Permissions) { p.Receive = []hub.Pattern{"a/#", "split/#", "late"} })
			r.peer = h.classic(t, string(r.name))
		} else {
			r.peer = h.native(t, string(r.name))
		}
		readers = append(readers, r)
		users = append(users, hub.Address{User: r.name})
		go r.read(int64(rng.IntN(300)), resume)
	}
	users = append(users, hub.Address{User: "absent"})
	async := &asyncHandler{work: make(chan asyncJob, 1000)}
	for range 2 {
		async.wg.Add(1)
		go async.run(users[:3])
	}
	again := hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error {
		a.Pass(m.Data)
		a.Pass(hub.Data{Encoding: hub.JSON, Bytes: []byte(`"more"`)})
		return nil
	})
	if err := h.router.SetRoutes([]hub.Route{
		{Match: "a/#", To: users},
		{Match: "b/#", To: users[2:5]}, // which classic users may not receive
		{Match: "split/#", Through: []hub.Handler{again, again}, To: append(users[:2:2], hub.Address{Server: "far"})},
		{Match: "drop", Through: []hub.Handler{hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error { a.Drop(); return nil })}, To: users},
		{Match: "gone", To: users[len(users)-1:]},
	}); err != nil {
		t.Fatal(err)
	}
	h.serve(t, "late", async)
	h.serve(t, "fail", hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error { return errors.New("failed") }))
	h.serve(t, "keep", hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error { return nil }))
	h.serve(t, "loop", hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error { a.SendHandler(m.Data, "loop"); return nil }))

	types := []hub.Type{"a/x", "a/y", "a/z", "b/x", "split/x", "drop", "gone", "late", "late", "fail", "keep", "loop", "none", "straight"}
	const senders, each = 4, 1500
	var wg sync.WaitGroup
	for i := range senders {
		name := fmt.Sprintf("sender%d", i)
		var p *peer
		if i == 3 {
			h.account(t, hub.UserName(name), nil)
			p = h.classic(t, name)
		} else {
			p = h.as(t, &wire.Hello{Role: wire.RoleClient, User: name, SendOnly: i == 0})
		}
		seed := rng.Uint64()
		wg.Go(func() { io.Copy(io.Discard, p.Conn) })
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, 1))
			for n := range each {
				size := rng.IntN(300)
				if rng.IntN(50) == 0 {
					size = rng.IntN(longest)
				}
				typ := types[rng.IntN(len(types))]
				text := fmt.Sprintf("%q", strings.Repeat("x", size))
				frame := []byte(classicMessage(string(typ), fmt.Sprint(n), text))
				if i != 3 {
					var to []hub.UserName
					if typ == "straight" {
						to = []hub.UserName{readers[rng.IntN(len(readers))].name, "absent"}[:1+rng.IntN(2)]
					}
					frame = sent(uint64(rng.IntN(3)), typ, text, to...)
				}
				if _, err := p.Write(bformat.Append(nil, frame)); err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
			}
			p.halfClose()
		})
	}
	wg.Wait() // all are answered: the hub has closed
	close(async.work)
	async.wg.Wait()
	far.wg.Wait()
	close(resume)

	var st hub.RouterStats
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		st = h.router.Stats()
		st.AddSink(h.Deliveries())
		if st.InFlight == 0 && st.Queued == 0 || time.Now().After(end) {
			break
		}
	}
	if st.Taken+st.Refused != senders*each || st.InFlight != 0 || st.Taken != st.Succeeded+st.Failed+st.Dropped+st.Absent {
		t.Errorf("messages: %+v", st)
	}
	if st.Handed != st.Delivered+st.Lost || st.Queued != 0 || st.Lost != st.Losses.Total() {
		t.Errorf("deliveries: %+v", st)
	}
	for what, n := range map[string]uint64{"succeeded": st.Succeeded, "failed": st.Failed, "dropped": st.Dropped, "absent": st.Absent, "refused": st.Refused,
		"lost": st.Lost, "of it denied": st.Losses[hub.LossDenied], "by servers": st.Losses[hub.LossServer]} {
		if n == 0 {
			t.Errorf("nothing was %s: %+v", what, st)
		}
	}
	byUser, byReason := uint64(0), hub.Losses{}
	for _, u := range h.Users() {
		byUser += u.Delivered
		byReason.Add(u.Losses)
		if u.Queued != 0 || u.Lost != u.Losses.Total() {
			t.Errorf("%s: %+v", u.User, u)
		}
		for _, r := range readers {
			if r.name == u.User {
				r.check(t, u, full)
			}
		}
	}
	for _, l := range []hub.Loss{hub.LossServer, hub.LossServerFull} {
		byReason[l] = st.Losses[l]
	}
	if byUser+far.confirmed.Load() != st.Delivered || byReason != st.Losses {
		t.Errorf("to users %d, to the server %d, in all %d; lost %v, in all %v", byUser, far.confirmed.Load(), st.Delivered, byReason, st.Losses)
	}
}

// check compares what a reader got with what the hub has counted for it.
func (r *reader) check(t *testing.T, u UserStats, full bformat.OverflowPolicy) {
	dead := r.kind == "dies" || full == bformat.Close
	for end := time.Now().Add(patience); !dead; time.Sleep(5 * time.Millisecond) {
		missed := u.Lost - u.Losses[hub.LossDenied]
		if r.classic {
			missed = 0
		}
		if r.got.Load() == int64(u.Delivered) && r.missed.Load() == int64(missed) {
			return
		}
		if time.Now().After(end) {
			t.Errorf("%s: got %d and was told of %d lost; counted %+v", r.name, r.got.Load(), r.missed.Load(), u)
			return
		}
	}
	if r.got.Load() > int64(u.Delivered) { // what is missing was in the socket's buffers
		t.Errorf("%s: got %d, counted %+v", r.name, r.got.Load(), u)
	}
}
