package wire

import (
	"testing"
	"time"

	"github.com/besterhub/bester/hub"
)

// small is a message whose body takes 64 bytes.
func small() *hub.Message {
	m := &hub.Message{Type: "reading/greenhouse", From: hub.Address{User: "alice"}}
	m.Data.Encoding = hub.MessagePack
	m.Data.Bytes = []byte("\x93\xa7bme280/\xcb\x40\x35\x66\x66\x66\x66\x66\x66\xadtemperature C")
	return m
}

func BenchmarkDecodeMessage(b *testing.B) {
	p, err := AppendMessage(nil, 1, KindSend, small())
	if err != nil {
		b.Fatal(err)
	}
	body := p[9:]
	if len(body) != 64 {
		b.Fatalf("body of %d bytes, want 64", len(body))
	}
	var d Decoder
	var m hub.Message
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Message(body, &m); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeMessage(b *testing.B) {
	m := small()
	dst, _ := AppendMessage(nil, 1, KindSend, m)
	b.ReportAllocs()
	for b.Loop() {
		dst, _ = AppendMessage(dst[:0], 1, KindSend, m)
	}
}

// A delivery, as the hub hands it to a session.
func BenchmarkEncodeDelivery(b *testing.B) {
	m := small()
	m.ID, m.Time = hub.ID{Origin: "house", Number: 1 << 60}, time.Unix(1_700_000_000, 5)
	dst, _ := AppendMessage(nil, 0, KindDeliver, m)
	b.ReportAllocs()
	for b.Loop() {
		dst, _ = AppendMessage(dst[:0], 0, KindDeliver, m)
	}
}

// The pack of one reading, which is checked on its way.
func BenchmarkSkipValues(b *testing.B) {
	pack, err := ToMessagePack(nil, senml)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := skipValues(pack, 0, 1, 0); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeAnswer(b *testing.B) {
	var e AnswerEncoder
	e.Begin(nil, 1)
	if err := e.Command(&hub.Command{Verb: hub.Pass, Data: small().Data}); err != nil {
		b.Fatal(err)
	}
	body := e.End(nil)[9:]
	var d Decoder
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Answer(body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeAnswer(b *testing.B) {
	var e AnswerEncoder
	c := &hub.Command{Verb: hub.Pass, Data: small().Data}
	dst := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		e.Begin(dst, 1)
		if err := e.Command(c); err != nil {
			b.Fatal(err)
		}
		e.End(nil)
	}
}

func BenchmarkStatus(b *testing.B) {
	dst := make([]byte, 0, 64)
	for b.Loop() {
		dst = AppendStatus(dst[:0], 1, nil)
	}
}

var classicFrame = []byte(`{"header":{},"payload":{"type":"reading","id":"17","data":{"n":"temperature","u":"Cel","v":21.4}}}`)

func BenchmarkParseClassicMessage(b *testing.B) {
	var d Decoder
	var m ClassicMessage
	b.ReportAllocs()
	for b.Loop() {
		if err := ParseClassicMessage(classicFrame, &d, &m); err != nil {
			b.Fatal(err)
		}
	}
}

var senml = []byte(`[{"bn":"greenhouse/bme280/","bt":1763820000.5,"n":"temperature","u":"Cel","v":21.4}]`)

func BenchmarkToMessagePack(b *testing.B) {
	dst := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ToMessagePack(dst, senml); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkToJSON(b *testing.B) {
	packed, err := ToMessagePack(nil, senml)
	if err != nil {
		b.Fatal(err)
	}
	dst := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ToJSON(dst, packed); err != nil {
			b.Fatal(err)
		}
	}
}
