package wire

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/tristanable"
)

var one = hub.Data{Encoding: hub.MessagePack, Bytes: []byte{1}}

// A payload is split without copying; one that is too short for tag and kind, or whose kind
// is none, is refused.
func TestCut(t *testing.T) {
	payload := append([]byte{1, 2, 0, 0, 0, 0, 0, 0}, byte(KindPing), 0x80)
	tag, kind, body, err := Cut(payload)
	if tag != 0x201 || kind != KindPing || err != nil || len(body) != 1 || &body[0] != &payload[9] {
		t.Errorf("got tag %#x, kind %d, body %x, %v", tag, kind, body, err)
	}
	for n := range 9 {
		_, _, _, err := Cut(payload[:n])
		want := tristanable.ErrShort
		if n == 8 {
			want = ErrMalformed
		}
		if !errors.Is(err, want) {
			t.Errorf("%d bytes: got %v, want %v", n, err, want)
		}
	}
	if _, _, _, err := Cut(append(payload[:8:8], 0x80)); !errors.Is(err, ErrMalformed) {
		t.Errorf("kind 0x80: got %v, want %v", err, ErrMalformed)
	}
	if n := testing.AllocsPerRun(100, func() { Cut(payload) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A good status may carry a note; a peer that does not know notes reads it as good.
func TestGoodStatusWithANote(t *testing.T) {
	for _, note := range []string{"", "nobody is there", strings.Repeat("x", MaxReason)} {
		_, _, body, err := Cut(AppendGood(nil, 7, note))
		if err != nil || ParseStatus(body) != nil || Note(body) != note {
			t.Errorf("%.20q: got %.20q, status %v, %v", note, Note(body), ParseStatus(body), err)
		}
	}
	_, _, body, _ := Cut(AppendStatus(nil, 7, hub.ErrFull))
	if got := Note(body); got != "" {
		t.Errorf("a bad status has the note %q", got)
	}
}

func TestStatusSaysWhatTheErrorIs(t *testing.T) {
	for _, c := range codes {
		_, _, body, err := Cut(AppendStatus(nil, 7, fmt.Errorf("because: %w", c.err)))
		if err != nil {
			t.Fatal(err)
		}
		got := ParseStatus(body)
		for _, other := range codes {
			if errors.Is(got, other.err) != (other.err == c.err) {
				t.Errorf("%v arrives as %v; is that %v: %v", c.err, got, other.err, errors.Is(got, other.err))
			}
		}
		if want := "because: " + c.err.Error(); got.Error() != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	_, _, body, _ := Cut(AppendStatus(nil, 7, context.Canceled))
	if got := ParseStatus(body); !errors.Is(got, hub.ErrHandler) || got.Error() != "context canceled" {
		t.Errorf("an error that is none of the hub's arrives as %v", got)
	}
}

func TestReasonsAreTruncatedAndSanitized(t *testing.T) {
	for in, want := range map[string]string{
		"":                                   "",
		"two\nlines\x1b[31m":                 "two lines [31m",
		"not \xff UTF-8":                     "not \uFFFD UTF-8",
		strings.Repeat("a", MaxReason):       strings.Repeat("a", MaxReason),
		strings.Repeat("a", MaxReason+1):     strings.Repeat("a", MaxReason),
		"a" + strings.Repeat("ü", 600):       "a" + strings.Repeat("ü", (MaxReason-1)/2),
		strings.Repeat("\xff\x00", 600):      strings.Repeat("\uFFFD ", MaxReason/4),
		strings.Repeat("\x80", 10*MaxReason): "\uFFFD",
	} {
		payload := AppendGoodbye(nil, in)
		got, err := ParseGoodbye(payload[9:])
		if err != nil || got != want || len(got) > MaxReason || !utf8.ValidString(got) {
			t.Errorf("%.20q (%d bytes): got %.20q (%d bytes), %v, want %.20q", in, len(in), got, len(got), err, want)
		}
	}
}

func TestTooManyRecipientsAndCommands(t *testing.T) {
	to := make([]hub.Address, MaxRecipients+1)
	for i := range to {
		to[i].User = "u"
	}
	if b, err := AppendMessage([]byte("x"), 1, KindSend, &hub.Message{Type: "t", To: to, Data: one}); !errors.Is(err, hub.ErrEncoding) || string(b) != "x" {
		t.Errorf("AppendMessage: got %d bytes, %v", len(b), err)
	}
	var e AnswerEncoder
	e.Begin([]byte("x"), 1)
	if err := e.Command(&hub.Command{Verb: hub.SendClients, To: to, Data: one}); !errors.Is(err, hub.ErrHandler) {
		t.Errorf("Command with too many recipients: %v", err)
	}
	if err := e.Command(&hub.Command{Verb: hub.SendClients, To: to[1:], Data: one}); err != nil {
		t.Error(err)
	}
	if err := e.Command(&hub.Command{Verb: hub.SendClients, To: to[:1], Data: one}); !errors.Is(err, hub.ErrHandler) {
		t.Errorf("Command with one recipient too many: %v", err)
	}
	if err := e.Command(&hub.Command{Verb: 99}); !errors.Is(err, hub.ErrHandler) {
		t.Errorf("an unknown Command: %v", err)
	}
	if err := e.Command(&hub.Command{Verb: hub.Reply, Data: hub.Data{Bytes: []byte("{")}}); !errors.Is(err, hub.ErrEncoding) {
		t.Errorf("Command with data that is no JSON: %v", err)
	}
	for range MaxCommands - 1 {
		if err := e.Command(&hub.Command{Verb: hub.Drop}); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Command(&hub.Command{Verb: hub.Drop}); !errors.Is(err, hub.ErrHandler) {
		t.Errorf("Command one too many: %v", err)
	}
	payload := e.End(nil)
	if payload[0] != 'x' {
		t.Fatal("End lost what was there before")
	}
	var d Decoder
	a, err := d.Answer(payload[10:])
	if err != nil || len(a.Commands) != MaxCommands || len(a.Commands[0].To) != MaxRecipients {
		t.Fatalf("got %v, %v", a, err)
	}
}

func TestTimes(t *testing.T) {
	var d Decoder
	for _, c := range []struct {
		in   time.Time
		kept bool
	}{
		{time.Time{}, false},
		{time.Unix(0, 0), true},
		{time.Unix(0, -1), true},
		{time.Unix(0, math.MaxInt64), true},
		{time.Unix(0, math.MinInt64), true},
		{time.Unix(0, math.MaxInt64).Add(1), false},
		{time.Unix(0, math.MinInt64).Add(-1), false},
		{time.Unix(1<<62, 0), false},
		{time.Date(2026, 11, 22, 15, 0, 0, 1, time.FixedZone("", 3600)), true},
	} {
		b, err := AppendMessage(nil, 1, KindSend, &hub.Message{Type: "t", Time: c.in, Data: one})
		if err != nil {
			t.Fatal(err)
		}
		m := hub.Message{Time: time.Unix(5, 5)}
		if err := d.Message(b[9:], &m); err != nil {
			t.Fatal(err)
		}
		if kept := m.Time.Equal(c.in) && !m.Time.IsZero(); kept != c.kept || !kept && !m.Time.IsZero() {
			t.Errorf("%v comes back as %v", c.in, m.Time)
		}
	}
}

// Decoding a message keeps nothing of the one before and leaves the other fields unchanged.
func TestMessageKeepsOtherFields(t *testing.T) {
	var d Decoder
	m := hub.Message{From: hub.Address{User: "x"}, To: []hub.Address{{User: "x"}}, ID: hub.ID{Origin: "x", Number: 1}, Time: time.Unix(1, 0), Hops: 7, Tag: 9, Batch: new(hub.Batch)}
	b, err := AppendMessage(nil, 1, KindSend, &hub.Message{Type: "t", Data: one})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Message(b[9:], &m); err != nil {
		t.Fatal(err)
	}
	if m.From != (hub.Address{}) || m.To != nil || m.ID != (hub.ID{}) || !m.Time.IsZero() || m.Hops != 0 {
		t.Errorf("leftovers: %+v", m)
	}
	if m.Tag != 9 || m.Batch == nil {
		t.Errorf("touched: %+v", m)
	}
}

func TestLongNamesWithServers(t *testing.T) {
	var d Decoder
	for _, n := range []int{1, 13, 29, 30, 31, 32, 100, 253, 254, 255, 256, 400} {
		a := hub.Address{User: hub.UserName(strings.Repeat("u", n)), Server: "b"}
		b, err := AppendMessage(nil, 1, KindSend, &hub.Message{Type: "t", From: a, To: []hub.Address{a}, Data: one})
		if err != nil {
			t.Fatal(err)
		}
		var m hub.Message
		if err := d.Message(b[9:], &m); err != nil || m.From != a || m.To[0] != a {
			t.Errorf("a name of %d bytes: got %+v, %v", n, m, err)
		}
	}
}
