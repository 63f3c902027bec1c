package tristanable

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/besterhub/bester/hub/bformat"
)

// raceEnabled tells tests that count allocations that sync.Pool forgets at random.
var raceEnabled bool

// vectors returns the byte streams under testdata by file name.
func vectors(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.hex")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no vectors under testdata: %v", err)
	}
	vs := make(map[string][]byte)
	for _, p := range paths {
		text, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		var digits strings.Builder
		for line := range strings.Lines(string(text)) {
			line, _, _ = strings.Cut(line, "#")
			digits.WriteString(strings.Join(strings.Fields(line), ""))
		}
		b, err := hex.DecodeString(digits.String())
		if err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		vs[filepath.Base(p)] = b
	}
	return vs
}

type message struct {
	tag  uint64
	text string
}

func TestVectors(t *testing.T) {
	vs := vectors(t)
	for name, want := range map[string][]message{
		"request.hex":     {{1, "hi"}},
		"push-empty.hex":  {{0, ""}},
		"tag-65535.hex":   {{65535, "!"}},
		"tag-64-bits.hex": {{0x0807060504030201, ""}},
		"two.hex":         {{2, "b"}, {1, "a"}},
		"short.hex":       nil,
		"empty.hex":       nil,
	} {
		stream, ok := vs[name]
		if !ok {
			t.Errorf("%s is missing", name)
			continue
		}
		r := bformat.NewReader(bytes.NewReader(stream), 0)
		var again []byte
		for _, w := range want {
			p, err := r.Next()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			tag, text, err := Cut(p)
			if err != nil || (message{tag, string(text)}) != w {
				t.Errorf("%s: got %d %q, %v; want %v", name, tag, text, err, w)
			}
			again = bformat.Append(again, Append(nil, tag), text)
		}
		if want != nil && !bytes.Equal(again, stream) {
			t.Errorf("%s: encodes to %x, want %x", name, again, stream)
		}
		if want == nil {
			p, err := r.Next()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if _, _, err := Cut(p); !errors.Is(err, ErrShort) {
				t.Errorf("%s: got %v, want ErrShort", name, err)
			}
		}
	}
}

// Append is the inverse of Cut, and Cut refuses only short payloads.
func FuzzCut(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v[bformat.HeaderSize:])
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		tag, text, err := Cut(payload)
		if (err != nil) != (len(payload) < TagSize) {
			t.Fatalf("Cut of %d bytes: %v", len(payload), err)
		}
		if err == nil && !bytes.Equal(append(Append(nil, tag), text...), payload) {
			t.Fatalf("%x became %d and %x", payload, tag, text)
		}
	})
}
