package wire

import (
	"errors"
	"strings"
	"testing"

	"encoding/json"

	"github.com/besterhub/bester/hub"
)

// A classicVector is a file in testdata/classic; the README there says what is in it.
type classicVector struct {
	About, Reader, Frame, Hex, Error, Kind, ID string
	Want                                       json.RawMessage
}

func (v *classicVector) frame(t testing.TB) []byte {
	if v.Hex != "" {
		return unhex(t, v.Hex)
	}
	return []byte(v.Frame)
}

// wantClassic is what any of the readers may find.
type wantClassic struct {
	Scope       string   `json:"scope,omitempty"`
	Command     string   `json:"command,omitempty"`
	Verb        string   `json:"verb,omitempty"`
	User        string   `json:"user,omitempty"`
	Password    *string  `json:"password,omitempty"`
	NewPassword string   `json:"newPassword,omitempty"`
	Named       *bool    `json:"named,omitempty"`
	Type        hub.Type `json:"type,omitempty"`
	ID          string   `json:"id,omitempty"`
	To          []string `json:"to,omitempty"`
	Hops        int      `json:"hops,omitempty"`
	Data        string   `json:"data,omitempty"`
	Good        *bool    `json:"good,omitempty"`
	Reason      string   `json:"reason,omitempty"`
	Code        string   `json:"code,omitempty"`
}

func describeClassic(m *ClassicMessage) wantClassic {
	return wantClassic{Type: m.Type, ID: string(m.ID), To: addresses(m.To), Hops: m.Hops, Data: string(m.Data.Bytes)}
}

// readClassic reads a frame with one of the readers, and returns what it found and
// the id, which there may be with an error too.
func readClassic(d *Decoder, reader string, frame []byte) (w wantClassic, id string, err error) {
	switch reader {
	case "first":
		f, err := ParseClassicFirst(frame, d)
		w := describeClassic(&f.Message)
		w.Scope, w.User = f.Scope, f.User
		if f.Scope == "client" {
			w.ID, w.Password = "", &f.Password
		}
		return w, string(f.Message.ID), err
	case "message":
		m := ClassicMessage{Hops: 99} // a leftover of another frame
		err := ParseClassicMessage(frame, d, &m)
		return describeClassic(&m), string(m.ID), err
	case "answer":
		c, err := ParseClassicAnswer(frame, d)
		return wantClassic{Verb: c.Verb.String(), To: addresses(c.To), Type: c.Type, Data: string(c.Data.Bytes)}, "", err
	case "builtin":
		b, err := ParseClassicBuiltin(frame)
		w := wantClassic{Command: b.Command, User: b.User, NewPassword: b.NewPassword}
		if b.Password != "" {
			w.Password = &b.Password
		}
		return w, "", err
	case "informer":
		r, err := ParseInformerRequest(frame)
		return wantClassic{Command: r.Command, User: string(r.Name), Named: &r.Named}, "", err
	case "status":
		err := ParseClassicStatus(frame)
		if errors.Is(err, ErrMalformed) {
			return wantClassic{}, "", err
		}
		w := wantClassic{Good: new(bool)}
		if *w.Good = err == nil; err != nil {
			w.Reason = err.Error()
			if errors.Is(err, hub.ErrHops) {
				w.Code = codeHops
			}
		}
		return w, "", nil
	}
	panic("no reader " + reader)
}

func TestClassicVectors(t *testing.T) {
	kinds := map[string]error{"malformed": ErrMalformed, "noHandler": hub.ErrNoHandler, "handler": hub.ErrHandler, "noCommand": ErrNoCommand}
	var d Decoder
	vectors(t, "classic", func(name string, v classicVector) {
		t.Run(name, func(t *testing.T) {
			got, id, err := readClassic(&d, v.Reader, v.frame(t))
			if v.Error != "" {
				if err == nil || !strings.Contains(err.Error(), v.Error) || !errors.Is(err, kinds[v.Kind]) {
					t.Errorf("got %+v, %v, want %s: %s", got, err, v.Kind, v.Error)
				}
				if id != v.ID {
					t.Errorf("got id %s, want %s", id, v.ID)
				}
				for kind, k := range kinds {
					if kind != v.Kind && errors.Is(err, k) {
						t.Errorf("%v is %s, too", err, kind)
					}
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !same(t, got, v.Want) {
				t.Errorf("got %+v, want %s", got, v.Want)
			}
		})
	})
}

func TestClassicFramesAsTheOriginalWritesThem(t *testing.T) {
	m := &hub.Message{Type: "mail", Data: hub.Data{Bytes: []byte(`{"b": 0.10}`)}}
	packed := &hub.Message{Type: `a"b`, Data: hub.Data{Encoding: hub.MessagePack, Bytes: []byte{0x92, 1, 0xc0}}}
	at := &hub.Message{Type: "mail", Hops: 2, ID: hub.ID{Origin: `hub "a"`, Number: 7},
		To: []hub.Address{{User: "bob", Server: "b"}, {Server: "b"}, {User: "carol", Server: "b"}}, Data: m.Data}
	long := errors.New("x" + strings.Repeat("ü", MaxReason))
	must := func(b []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, c := range []struct {
		name, want string
		got        []byte
	}{
		{"login", `{"header":{"messageType":"statusReport","status":"good"},"payload":{"id":"auth_special"}}`, AppendClassicStatus(nil, ClassicAuthID, nil)},
		{"bad", `{"header":{"messageType":"statusReport","status":"bad","reason":"no \"x\""},"payload":{"id":"\u0041"}}`, AppendClassicStatus(nil, []byte(`"\u0041"`), errors.New(`no "x"`))},
		{"hops", `{"header":{"messageType":"statusReport","status":"bad","reason":"round","code":"hops"},"payload":{"id":""}}`, AppendClassicStatus(nil, nil, hub.Reason(hub.ErrHops, "round"))},
		{"no id", `{"header":{"messageType":"statusReport","status":"good"},"payload":{"id":""}}`, AppendClassicStatus(nil, nil, nil)},
		{"empty id", `{"header":{"messageType":"statusReport","status":"good"},"payload":{"id":""}}`, AppendClassicStatus(nil, []byte{}, nil)},
		{"long reason", `{"header":{"messageType":"statusReport","status":"bad","reason":"x` + strings.Repeat("ü", MaxReason/2-1) + `"},"payload":{"id":""}}`, AppendClassicStatus(nil, nil, long)},
		{"dummy", `{"header":{"status":"0"},"payload":{"data":null,"id":"5","type":"dummy"}}`, AppendClassicDummy(nil, []byte(`"5"`))},
		{"received", `{"header":{"messageType":"receivedMessage"},"payload":{"data":{"b": 0.10},"type":"mail"}}`, must(AppendClassicReceived(nil, m))},
		{"received native", `{"header":{"messageType":"receivedMessage"},"payload":{"data":[1,null],"type":"a\"b"}}`, must(AppendClassicReceived(nil, packed))},
		{"server", `{"header":{"scope":"server"},"payload":{"data":{"b": 0.10},"type":"mail"}}`, must(AppendClassicServer(nil, m))},
		{"server to users", `{"header":{"scope":"server","to":["bob","carol"],"hops":2},"payload":{"data":{"b": 0.10},"type":"mail","id":"hub \"a\"/7"}}`, must(AppendClassicServer(nil, at))},
		{"informer error", `{"status":"1"}`, AppendInformerError(nil)},
		{"informer quit", `{"data":null,"status":"0"}`, AppendInformerNone(nil, true)},
		{"informer unknown", `{"data":null,"status":"1"}`, AppendInformerNone(nil, false)},
		{"informer isClient", `{"data":true,"status":"0"}`, AppendInformerBool(nil, true)},
		{"informer listClients", `{"data":["alice","b\"b"],"status":"0"}`, AppendInformerUsers(nil, []hub.UserName{"alice", `b"b`})},
		{"informer nobody", `{"data":[],"status":"0"}`, AppendInformerUsers(nil, nil)},
		{"informer serverInfo", `{"data":{"adminInfo":null,"clientCount":"3","listeners":{"listener0":{"address":"tcp4://127.0.0.1:2223"},"listener1":{"address":"unix:///run/b"}}},"status":"0"}`,
			AppendInformerServer(nil, &ServerInfo{Clients: 3, Listeners: []string{"tcp4://127.0.0.1:2223", "unix:///run/b"}})},
		{"informer admin", `{"data":{"adminInfo":{"x":1},"clientCount":"0","listeners":{}},"status":"0"}`, AppendInformerServer(nil, &ServerInfo{Admin: []byte(`{"x":1}`)})},
	} {
		if string(c.got) != c.want {
			t.Errorf("%s: got\n%s, want\n%s", c.name, c.got, c.want)
		}
		if !json.Valid(c.got) {
			t.Errorf("%s: no JSON: %s", c.name, c.got)
		}
	}
}

func TestClassicFramesWithoutJSON(t *testing.T) {
	m := &hub.Message{Type: "x", Data: hub.Data{Encoding: hub.MessagePack, Bytes: []byte("\xd4\x05\x01")}}
	for name, f := range map[string]func([]byte, *hub.Message) ([]byte, error){"received": AppendClassicReceived, "server": AppendClassicServer} {
		if b, err := f([]byte("before"), m); !errors.Is(err, hub.ErrEncoding) || string(b) != "before" {
			t.Errorf("%s of an extension: got %q, %v, want hub.ErrEncoding and what was there before", name, b, err)
		}
	}
}

// A hub can read what another hub writes for it.
func TestClassicServerReadsItsOwn(t *testing.T) {
	m := &hub.Message{Type: `a"\b`, Hops: 3, ID: hub.ID{Origin: "ü", Number: 1}, To: []hub.Address{{User: "bob", Server: "b"}}, Data: hub.Data{Bytes: []byte(`[1.10]`)}}
	b, err := AppendClassicServer(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	var d Decoder
	f, err := ParseClassicFirst(b, &d)
	if err != nil {
		t.Fatal(err)
	}
	got := f.Message
	if got.Type != m.Type || got.Hops != 3 || string(got.ID) != `"ü/1"` || len(got.To) != 1 || got.To[0] != (hub.Address{User: "bob"}) || string(got.Data.Bytes) != "[1.10]" {
		t.Errorf("got %+v from %s", got, b)
	}
}
