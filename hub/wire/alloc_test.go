package wire

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/besterhub/bester/hub"
)

func TestSteadyStateAllocatesNothing(t *testing.T) {
	var d Decoder
	var m hub.Message
	var c ClassicMessage
	var e AnswerEncoder
	var body, answer []byte
	vectors(t, "native", func(name string, v nativeVector) {
		switch name {
		case "send-server":
			body = unhex(t, v.Hex)[9:]
		case "answer-all":
			answer = unhex(t, v.Hex)[9:]
			answer[0]-- // without its reason
		}
	})
	answer = answer[:len(answer)-len("\xa1e\xb1sensor is too hot")]
	full := &hub.Message{}
	if err := d.Message(body, full); err != nil {
		t.Fatal(err)
	}
	full.To = []hub.Address{{User: "bob", Server: "b"}}
	var (
		dst       = make([]byte, 0, 4096)
		classic   = []byte(`{"h\u0065ader":{},"payload":{"id":"\u0041","type":"m\u0061il","data":{"x":[1.10,"\n"]}}}`)
		handler   = []byte(`{"header":{"status":"0","command":{"type":"sendServers","data":["h\u006fst:1","[::1]:2"]}},"data":{"x":[1.10,"\n"]}}`)
		senml     = []byte(`[{"bn":"greenhouse/bme280/","bt":1763820000.5,"n":"temp\u00e9rature","u":"Cel","v":21.400000000000002,"x":12345678901234567890123}]`)
		packed, _ = ToMessagePack(nil, senml)
		reason    = errors.New("because")
		refusal   = hub.Reason(hub.ErrDenied, "you may not")
		good      = AppendStatus(nil, 1, nil)[9:]
		must      = func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
	)
	for name, f := range map[string]func(){
		"Decoder.Message": func() { must(d.Message(body, &m)) },
		"Decoder.Answer":  func() { a, err := d.Answer(answer); must(err); _ = a },
		"AppendMessage":   func() { _, err := AppendMessage(dst, 1, KindSend, full); must(err) },
		"AnswerEncoder": func() {
			e.Begin(dst, 1)
			must(e.Command(&hub.Command{Verb: hub.SendClients, To: full.To, Data: full.Data}))
			e.End(reason)
		},
		"AppendStatus":          func() { AppendStatus(dst, 1, nil); AppendStatus(dst, 1, refusal) },
		"ParseStatus":           func() { must(ParseStatus(good)) },
		"AppendGood":            func() { AppendGood(dst, 1, "a note") },
		"Note":                  func() { Note(good) },
		"ParseClassicMessage":   func() { must(ParseClassicMessage(classic, &d, &c)) },
		"ParseClassicAnswer":    func() { _, err := ParseClassicAnswer(handler, &d); must(err) },
		"AppendClassicReceived": func() { _, err := AppendClassicReceived(dst, full); must(err) },
		"AppendClassicServer":   func() { _, err := AppendClassicServer(dst, full); must(err) },
		"AppendClassicStatus":   func() { AppendClassicStatus(dst, ClassicAuthID, reason) },
		"ToMessagePack":         func() { _, err := ToMessagePack(dst, senml); must(err) },
		"ToJSON":                func() { _, err := ToJSON(dst, packed); must(err) },
	} {
		f()
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

// Whatever lengths 64 bytes claim, no parser allocates more than 64 KiB for them.
func TestSmallInputsAllocateLittle(t *testing.T) {
	const most = 64 << 10
	var inputs [][]byte
	add := func(b []byte) {
		if len(b) > 64 {
			b = b[:64]
		}
		inputs = append(inputs, b)
	}
	vectors(t, "native", func(_ string, v nativeVector) {
		add(unhex(t, v.Hex))
		if b := unhex(t, v.Hex); len(b) > 9 {
			add(b[9:])
		}
	})
	vectors(t, "classic", func(_ string, v classicVector) { add(v.frame(t)) })
	vectors(t, "data", func(_ string, v dataVector) { add(unhex(t, v.MessagePack)) })
	heads := [][]byte{{0xdd, 0xff, 0xff, 0xff, 0xff}, {0xdc, 0x01, 0x00}, {0xdc, 4, 0}, {0xdf, 0xff, 0xff, 0xff, 0xff}, {0xdb, 0, 0xff, 0xff, 0xff}, {0xde, 1, 0}, {0xc9, 0xff, 0xff, 0xff, 0xff}}
	rng := rand.New(rand.NewPCG(1, 2))
	for _, b := range inputs[:len(inputs):len(inputs)] {
		for range 4 { // a header that claims a large length, somewhere in it
			if len(b) > 8 {
				mutant := append([]byte(nil), b...)
				copy(mutant[rng.IntN(len(b)):], heads[rng.IntN(len(heads))])
				add(mutant)
			}
		}
	}
	parsers := map[string]func(b []byte){
		"native": func(b []byte) {
			if len(b) > 8 {
				decode(new(Decoder), b)
			}
		},
		"hello":   func(b []byte) { ParseHello(b) },
		"message": func(b []byte) { new(Decoder).Message(b, new(hub.Message)) },
		"answer":  func(b []byte) { new(Decoder).Answer(b) },
		"status":  func(b []byte) { ParseStatus(b) },
		"goodbye": func(b []byte) { ParseGoodbye(b) },
		"gap":     func(b []byte) { ParseGap(b) },
		"classic": func(b []byte) {
			for _, r := range []string{"first", "message", "answer", "builtin", "informer", "status"} {
				readClassic(new(Decoder), r, b)
			}
		},
		"json":    func(b []byte) { ToMessagePack(nil, b) },
		"msgpack": func(b []byte) { ToJSON(nil, b) },
	}
	var before, after runtime.MemStats
	for name, parse := range parsers {
		for _, b := range inputs {
			runtime.ReadMemStats(&before)
			parse(b)
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > most {
				t.Errorf("%s: %x allocates %d bytes", name, b, n)
			}
		}
	}
}

// A peer that keeps sending new names does not make the decoder grow.
func TestInternedIsBounded(t *testing.T) {
	var d Decoder
	var m hub.Message
	for i := range 10_000 {
		name := fmt.Sprintf("user-%d-%0*d", i, i%200, i)
		b, err := AppendMessage(nil, 1, KindSend, &hub.Message{Type: hub.Type(name), From: hub.Address{User: hub.UserName(name)}, Data: hub.Data{Encoding: hub.MessagePack, Bytes: []byte{1}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Message(b[9:], &m); err != nil {
			t.Fatal(err)
		}
		if m.Type != hub.Type(name) || m.From.User != hub.UserName(name) {
			t.Fatalf("got %q from %q, want %q", m.Type, m.From, name)
		}
		if len(d.types.all) > maxInterned || d.types.bytes > maxInternedBytes || len(d.addresses.all) > maxInterned || d.addresses.bytes > maxInternedBytes {
			t.Fatalf("keeps %d types of %d bytes, %d addresses of %d bytes", len(d.types.all), d.types.bytes, len(d.addresses.all), d.addresses.bytes)
		}
	}
}

// Names outlive the frame that they came in.
func TestNamesDoNotAliasTheFrame(t *testing.T) {
	var d Decoder
	var m hub.Message
	for range 2 { // the second time they are interned
		b, _ := AppendMessage(nil, 1, KindSend, &hub.Message{Type: "x", From: hub.Address{User: "alice", Server: "b"}, ID: hub.ID{Origin: "o"}, To: []hub.Address{{User: "bob"}}, Data: hub.Data{Encoding: hub.MessagePack, Bytes: []byte{1}}})
		if err := d.Message(b[9:], &m); err != nil {
			t.Fatal(err)
		}
		clear(b)
		if m.Type != "x" || m.From.String() != "alice@b" || m.ID.Origin != "o" || m.To[0].User != "bob" {
			t.Fatalf("got %+v", m)
		}
	}
}
