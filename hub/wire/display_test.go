package wire

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/besterhub/bester/hub"
)

func TestAppendDisplay(t *testing.T) {
	for b, want := range map[string]string{
		"\x81\xa1t\xcb\x7f\xf8\x00\x00\x00\x00\x00\x01": `{"t":NaN}`,
		"\x92\xca\x7f\x80\x00\x00\xca\xff\x80\x00\x00":  `[Infinity,-Infinity]`,
		"\x81\x01\x02":                         `{1:2}`,
		"\x81\xa1u\xa2\xb0C":                   `{"u":"\xb0C"}`,
		"\xa3a\"\xff":                          `"a\"\xff"`,
		"\xc4\x02\x00\xff":                     `h'00ff'`,
		"\xd6\xff\x67\x40\x00\x00":             `2024-11-22T03:52:32Z`,
		"\xd4\x05\x01":                         `ext(5, h'01')`,
		"\xc7\x03N0.1":                         `0.1`,
		"\x93\xc0\xc3\xff":                     `[null,true,-1]`,
		"\xcb\x40\x35\x99\x99\x99\x99\x99\x9a": `21.6`,
		"\xca\x41\xac\xcc\xcd":                 `21.6`,
		"\xc1":                                 `h'c1' (`,
		"\x92\x01":                             `h'9201' (`,
		"\x01\x02":                             `h'0102' (`,
		"":                                     `h'' (`,
	} {
		got := string(AppendDisplay(nil, hub.Data{Encoding: hub.MessagePack, Bytes: []byte(b)}))
		if strings.HasSuffix(want, "(") && strings.HasPrefix(got, want) {
			continue
		}
		if got != want {
			t.Errorf("%q: got %s, want %s", b, got, want)
		}
	}
	if got := string(AppendDisplay([]byte("x "), hub.Data{Bytes: []byte(`{"a":1}`)})); got != `x {"a":1}` {
		t.Errorf("JSON: got %s", got)
	}
}

// Whatever the bytes are, they are shown; and what is shown as JSON is what AppendJSON makes.
func FuzzAppendDisplay(f *testing.F) {
	f.Add([]byte("\x81\xa1t\xcb\x7f\xf8\x00\x00\x00\x00\x00\x01"))
	f.Add([]byte("\x82\x01\xd6\xff\x67\x40\x00\x00\xa2\xb0C\xc4\x01\x00"))
	f.Add([]byte("\xc7\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := hub.Data{Encoding: hub.MessagePack, Bytes: b}
		shown := AppendDisplay(nil, d)
		if len(shown) == 0 {
			t.Fatalf("%q is shown as nothing", b)
		}
		if js, err := AppendJSON(nil, d); err == nil && json.Valid(shown) && string(js) != string(shown) {
			t.Errorf("%q: shown as %s, is %s", b, shown, js)
		}
	})
}
