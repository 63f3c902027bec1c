package wire

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/besterhub/bester/hub"
)

// A nativeVector is a file in testdata/native; the README there says what is in it.
type nativeVector struct {
	About, Hex, Kind, Error string
	Tag                     uint64
	Want                    json.RawMessage
	Canonical               *bool
}

func (v *nativeVector) canonical() bool { return v.Canonical == nil || *v.Canonical }

// vectors calls f with each file of a folder of testdata, decoded.
func vectors[V any](t testing.TB, folder string, f func(name string, v V)) {
	t.Helper()
	files, err := filepath.Glob("testdata/" + folder + "/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors in %s: %v", folder, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var v V
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		f(strings.TrimSuffix(filepath.Base(file), ".json"), v)
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The wanted form of each kind of frame.
type (
	wantHello struct {
		Version  int      `json:"version"`
		Role     string   `json:"role"`
		User     string   `json:"user,omitempty"`
		Password string   `json:"password,omitempty"`
		Token    string   `json:"token,omitempty"`
		Name     string   `json:"name,omitempty"`
		Types    []string `json:"types,omitempty"`
		Credits  int      `json:"credits,omitempty"`
		Frame    int      `json:"frame,omitempty"`
		SendOnly bool     `json:"send_only,omitempty"`
	}
	wantMessage struct {
		Type   hub.Type `json:"type,omitempty"`
		From   string   `json:"from,omitempty"`
		To     []string `json:"to,omitempty"`
		Origin string   `json:"origin,omitempty"`
		Number uint64   `json:"number,omitempty"`
		When   int64    `json:"when,omitempty"`
		Hops   int      `json:"hops,omitempty"`
		Last   bool     `json:"retained,omitempty"`
		Data   string   `json:"data,omitempty"`
	}
	wantCommand struct {
		Verb string   `json:"verb"`
		To   []string `json:"to,omitempty"`
		Type hub.Type `json:"type,omitempty"`
		Data string   `json:"data,omitempty"`
	}
	wantAnswer struct {
		Commands []wantCommand `json:"commands"`
		Reason   string        `json:"reason,omitempty"`
	}
)

func addresses(to []hub.Address) []string {
	var s []string
	for _, a := range to {
		s = append(s, a.String())
	}
	return s
}

func describeMessage(m *hub.Message) wantMessage {
	w := wantMessage{Type: m.Type, From: m.From.String(), To: addresses(m.To), Origin: m.ID.Origin,
		Number: m.ID.Number, Hops: m.Hops, Last: m.Retained, Data: hex.EncodeToString(m.Data.Bytes)}
	if !m.Time.IsZero() {
		w.When = m.Time.UnixNano()
	}
	return w
}

func describeAnswer(a *Answer) wantAnswer {
	w := wantAnswer{Commands: []wantCommand{}, Reason: a.Reason}
	for _, c := range a.Commands {
		to := addresses(c.To)
		if c.Verb == hub.SendServers {
			for i := range to {
				to[i] = strings.TrimPrefix(to[i], "@")
			}
		}
		w.Commands = append(w.Commands, wantCommand{c.Verb.String(), to, c.Type, hex.EncodeToString(c.Data.Bytes)})
	}
	return w
}

type wantSubscription struct {
	Pattern hub.Pattern `json:"pattern"`
	Last    bool        `json:"last,omitempty"`
}

type wantGap struct {
	Missed uint64 `json:"missed"`
	Reason string `json:"reason,omitempty"`
}

func describeStatus(err error) any {
	w := struct {
		Code   uint8  `json:"code"`
		Reason string `json:"reason,omitempty"`
	}{}
	if err != nil {
		for _, c := range codes {
			if errors.Is(err, c.err) {
				w.Code, w.Reason = c.code, err.Error()
			}
		}
	}
	return w
}

// decode reads a whole payload with the parser for its kind, and returns its meaning and
// the payload that this package encodes it to.
func decode(d *Decoder, payload []byte) (k Kind, means any, again []byte, err error) {
	tag, k, body, err := Cut(payload)
	if err != nil {
		return k, nil, nil, err
	}
	switch k {
	case KindHello:
		h, err := ParseHello(body)
		if err != nil {
			return k, nil, nil, err
		}
		return k, wantHello{h.Version, h.Role, h.User, h.Password, h.Token, h.Name, h.Types, h.Credits, h.MaxFrame, h.SendOnly}, AppendHello(nil, h), nil
	case KindSend, KindDeliver, KindHandle:
		var m hub.Message
		if err := d.Message(body, &m); err != nil {
			return k, nil, nil, err
		}
		again, err := AppendMessage(nil, tag, k, &m)
		return k, describeMessage(&m), again, err
	case KindStatus:
		err := ParseStatus(body)
		if errors.Is(err, ErrMalformed) && strings.HasPrefix(err.Error(), "status: ") {
			return k, nil, nil, err
		}
		return k, describeStatus(err), AppendStatus(nil, tag, err), nil
	case KindAnswer:
		a, err := d.Answer(body)
		if err != nil {
			return k, nil, nil, err
		}
		var e AnswerEncoder
		e.Begin(nil, tag)
		for _, c := range a.Commands {
			if err := e.Command(&c); err != nil {
				return k, nil, nil, err
			}
		}
		if a.Reason != "" {
			return k, describeAnswer(a), e.End(errors.New(a.Reason)), nil
		}
		return k, describeAnswer(a), e.End(nil), nil
	case KindPing:
		return k, struct{}{}, AppendPing(nil, tag), nil
	case KindGap:
		n, reason, err := ParseGap(body)
		if err != nil {
			return k, nil, nil, err
		}
		return k, wantGap{n, reason}, AppendGap(nil, n, reason), nil
	case KindSubscribe:
		s, err := ParseSubscription(body)
		if err != nil {
			return k, nil, nil, err
		}
		return k, wantSubscription(s), AppendSubscribe(nil, tag, s), nil
	case KindUnsubscribe:
		s, err := ParseSubscription(body)
		if err != nil {
			return k, nil, nil, err
		}
		return k, wantSubscription(s), AppendUnsubscribe(nil, tag, s.Pattern), nil
	case KindGoodbye:
		reason, err := ParseGoodbye(body)
		return k, map[string]string{"reason": reason}, AppendGoodbye(nil, reason), err
	}
	return k, nil, nil, nil
}

func TestNativeVectors(t *testing.T) {
	kinds := map[string]Kind{"hello": KindHello, "send": KindSend, "deliver": KindDeliver, "status": KindStatus,
		"handle": KindHandle, "answer": KindAnswer, "ping": KindPing, "goodbye": KindGoodbye, "gap": KindGap,
		"subscribe": KindSubscribe, "unsubscribe": KindUnsubscribe}
	var d Decoder // shared: nothing of an earlier frame may remain
	vectors(t, "native", func(name string, v nativeVector) {
		t.Run(name, func(t *testing.T) {
			payload := unhex(t, v.Hex)
			if tag := binary.LittleEndian.Uint64(payload); tag != v.Tag {
				t.Errorf("got tag %d, want %d", tag, v.Tag)
			}
			k, means, again, err := decode(&d, payload)
			if v.Error != "" {
				if err == nil || !strings.Contains(err.Error(), v.Error) || !errors.Is(err, ErrMalformed) {
					t.Fatalf("got %v, %v, want malformed: %s", means, err, v.Error)
				}
				if k == KindAnswer && !errors.Is(err, hub.ErrHandler) {
					t.Errorf("%v is not hub.ErrHandler", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if v.Kind != "" && k != kinds[v.Kind] {
				t.Fatalf("got kind %d, want %s", k, v.Kind)
			}
			if !same(t, means, v.Want) {
				t.Errorf("got %+v, want %s", means, v.Want)
			}
			if got := hex.EncodeToString(again); v.Kind != "" && v.canonical() && got != v.Hex {
				t.Errorf("encodes to\n%s, want\n%s", got, v.Hex)
			}
		})
	})
}

// same reports whether got is written as the same JSON as want, but for its layout.
func same(t testing.TB, got any, want json.RawMessage) bool {
	t.Helper()
	a, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	return normal(t, a) == normal(t, want)
}

func normal(t testing.TB, b []byte) string {
	t.Helper()
	if len(b) == 0 {
		return "null"
	}
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
