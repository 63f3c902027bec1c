package wire

import (
	"testing"

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
	b.Logf("body of %d bytes", len(body))
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
