package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/besterhub/bester/hub"
)

// A dataVector is a file in testdata/data; the README there says what is in it.
type dataVector struct {
	About, MessagePack, Error string
	JSON, Back                *string
	OneWay                    bool
}

func TestDataVectors(t *testing.T) {
	vectors(t, "data", func(name string, v dataVector) {
		t.Run(name, func(t *testing.T) {
			msgpack := unhex(t, v.MessagePack)
			if v.Error != "" {
				convert, in := ToJSON, msgpack
				if v.JSON != nil {
					convert, in = ToMessagePack, []byte(*v.JSON)
				}
				if b, err := convert([]byte("before"), in); !errors.Is(err, hub.ErrEncoding) || !strings.Contains(err.Error(), v.Error) || string(b) != "before" {
					t.Errorf("got %q, %v, want hub.ErrEncoding: %s", b, err, v.Error)
				}
				return
			}
			if !v.OneWay {
				got, err := ToMessagePack([]byte("before"), []byte(*v.JSON))
				if err != nil || hex.EncodeToString(got[6:]) != v.MessagePack {
					t.Errorf("ToMessagePack: got %x, %v, want %s", got[6:], err, v.MessagePack)
				}
			}
			want := *v.JSON
			if v.Back != nil {
				want = *v.Back
			}
			got, err := ToJSON([]byte("before"), msgpack)
			if err != nil || string(got[6:]) != want {
				t.Errorf("ToJSON: got %s, %v, want %s", got[6:], err, want)
			}
		})
	})
}

func TestLongListsAndObjects(t *testing.T) {
	for _, n := range []int{15, 16, 65535, 65536} {
		for _, c := range []struct{ open, item, shut string }{{"[", "[0]", "]"}, {"{", `"a":1`, "}"}} {
			in := c.open + strings.TrimSuffix(strings.Repeat(c.item+",", n), ",") + c.shut
			packed, err := ToMessagePack(nil, []byte(in))
			if err != nil {
				t.Fatal(err)
			}
			out, err := ToJSON(nil, packed)
			if err != nil || string(out) != in {
				t.Errorf("%d times %s: does not come back: %.40s…, %v", n, c.item, out, err)
			}
		}
	}
}

func TestLongNumbers(t *testing.T) {
	for n := 21; n < 200_000; n = n*3 + 1 {
		for _, in := range []string{strings.Repeat("1", n), "0." + strings.Repeat("0", n) + "1", "-1" + strings.Repeat("0", n) + "1e-5"} {
			packed, err := ToMessagePack(nil, []byte(in))
			if err != nil {
				t.Fatal(err)
			}
			if out, err := ToJSON(nil, packed); err != nil || !sameNumber(in, string(out)) {
				t.Fatalf("%.30s… of %d bytes comes back as %.30s…, %v", in, len(in), out, err)
			}
		}
	}
}

func TestAppendDataAsItIs(t *testing.T) {
	for _, c := range []struct {
		data          hub.Data
		json, msgpack string
	}{
		{hub.Data{Encoding: hub.JSON, Bytes: []byte(" 1.10")}, " 1.10", "cb3ff199999999999a"},
		{hub.Data{Encoding: hub.MessagePack, Bytes: []byte{0xcc, 5}}, "5", "cc05"},
	} {
		j, err := AppendJSON(nil, c.data)
		if err != nil || string(j) != c.json {
			t.Errorf("AppendJSON: got %s, %v, want %s", j, err, c.json)
		}
		m, err := AppendMessagePack(nil, c.data)
		if err != nil || hex.EncodeToString(m) != c.msgpack {
			t.Errorf("AppendMessagePack: got %x, %v, want %s", m, err, c.msgpack)
		}
	}
	for _, e := range []hub.Encoding{hub.JSON, hub.MessagePack} {
		if _, err := AppendJSON(nil, hub.Data{Encoding: e}); !errors.Is(err, hub.ErrEncoding) {
			t.Errorf("AppendJSON of no %v: %v, want hub.ErrEncoding", e, err)
		}
		if _, err := AppendMessagePack(nil, hub.Data{Encoding: e}); !errors.Is(err, hub.ErrEncoding) {
			t.Errorf("AppendMessagePack of no %v: %v, want hub.ErrEncoding", e, err)
		}
	}
}

func TestJSONString(t *testing.T) {
	got := AppendJSONString(nil, "a\xffb\"\\\n\x01ü\u2028")
	if want := "\"a\uFFFDb\\\"\\\\\\n\\u0001ü\u2028\""; string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if !bytes.Equal(got, AppendJSONString(nil, "a\uFFFDb\"\\\n\x01ü\u2028")) {
		t.Error("what is not UTF-8 does not become U+FFFD")
	}
}
