package hub

import (
	"fmt"
	"slices"
	"sync"
	"testing"
)

// A mailbox is a sink that records its messages as "type<from> data".
type mailbox struct {
	mu   sync.Mutex
	got  []string
	err  error
	tags []uint64
}

func (b *mailbox) Put(m *Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return b.err
	}
	b.got = append(b.got, fmt.Sprintf("%s<%s> %s", m.Type, m.From, m.Data.Bytes))
	b.tags = append(b.tags, m.Tag)
	return nil
}

// A sender is the Receipt of the messages it sends, and takes the replies.
type sender struct {
	mailbox
	results []error
}

func (s *sender) Done(_ *Message, err error) { s.results = append(s.results, err) }

func (s *sender) send(t *testing.T, r *Router, typ Type, data string, to ...Address) error {
	t.Helper()
	n := len(s.results)
	err := r.Put(&Message{Type: typ, From: Address{User: "sam"}, To: to, Data: text(data), Receipt: s, Tag: 7})
	if err != nil {
		if len(s.results) != n {
			t.Fatal("a message that was not taken got a receipt")
		}
		return err
	}
	if len(s.results) != n+1 {
		t.Fatalf("got %d receipts, want 1", len(s.results)-n)
	}
	return s.results[n]
}

func text(s string) Data { return Data{JSON, []byte(s)} }

func add(suffix string) Handler {
	return HandlerFunc(func(m *Message, a *Answer) error {
		a.Pass(text(string(m.Data.Bytes) + suffix))
		return nil
	})
}

func do(c ...Command) Handler {
	return HandlerFunc(func(m *Message, a *Answer) error {
		for _, c := range c {
			if c.Data.Bytes == nil {
				c.Data = m.Data
			}
			a.Do(c)
		}
		return nil
	})
}

func serve(t *testing.T, r *Router, p Pattern, h Handler) {
	t.Helper()
	if _, err := r.Serve(p, h); err != nil {
		t.Fatal(err)
	}
}

func users(names ...string) (a []Address) {
	for _, n := range names {
		at, err := ParseAddress(n)
		if err != nil {
			panic(err)
		}
		a = append(a, at)
	}
	return a
}

func (b *mailbox) want(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(b.got, want) {
		t.Errorf("got %q, want %q", b.got, want)
	}
}
