package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"

	"github.com/besterhub/bester/hub"
)

// FuzzNative checks that a parsed frame encodes to bytes with the same meaning, and that
// encoding is stable from then on. A frame that does not parse is malformed.
func FuzzNative(f *testing.F) {
	vectors(f, "native", func(_ string, v nativeVector) { f.Add(unhex(f, v.Hex)) })
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(payload) < 8 {
			return // it has no tag, and does not come this far
		}
		var d Decoder
		k, means, again, err := decode(&d, payload)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("%v is not ErrMalformed", err)
			}
			return
		}
		if again == nil {
			return // a kind that is skipped
		}
		k2, means2, again2, err := decode(&d, again)
		if err != nil || k2 != k || !reflect.DeepEqual(means, means2) {
			t.Fatalf("%x\nmeans %+v; encoded, %x\nmeans %+v, %v", payload, means, again, means2, err)
		}
		if !bytes.Equal(again, again2) {
			t.Fatalf("%x\nencodes to\n%x", again, again2)
		}
	})
}

// FuzzClassic checks that every parser refuses what is not JSON in UTF-8, that data passed
// through is JSON, and that a server's message survives writing and reading again.
func FuzzClassic(f *testing.F) {
	vectors(f, "classic", func(_ string, v classicVector) { f.Add(v.frame(f)) })
	f.Fuzz(func(t *testing.T, frame []byte) {
		var d Decoder
		for _, reader := range []string{"first", "message", "answer", "builtin", "informer", "status"} {
			got, id, err := readClassic(&d, reader, frame)
			if id != "" && !json.Valid([]byte(id)) {
				t.Fatalf("%s: id %q is no JSON", reader, id)
			}
			if err != nil {
				continue
			}
			if !json.Valid(frame) || !utf8.Valid(frame) {
				t.Fatalf("%s takes what is no JSON: %q", reader, frame)
			}
			if got.Data != "" && !json.Valid([]byte(got.Data)) {
				t.Fatalf("%s: data %q is no JSON", reader, got.Data)
			}
			if got.Scope != "server" || got.Type == "" {
				continue
			}
			m := hub.Message{Type: got.Type, Hops: got.Hops, Data: hub.Data{Bytes: []byte(got.Data)}}
			for _, to := range got.To {
				m.To = append(m.To, hub.Address{User: hub.UserName(to)})
			}
			out, err := AppendClassicServer(nil, &m)
			if err != nil {
				t.Fatal(err)
			}
			again, _, err := readClassic(&d, reader, out)
			got.ID = ""
			if err != nil || !reflect.DeepEqual(got, again) {
				t.Fatalf("%q means %+v; written again, %q means %+v, %v", frame, got, out, again, err)
			}
		}
	})
}

// FuzzToMessagePack checks that the scanner accepts what encoding/json accepts, within its
// limits, and that JSON → MessagePack → JSON keeps the values and, from then on, the bytes.
func FuzzToMessagePack(f *testing.F) {
	vectors(f, "data", func(_ string, v dataVector) {
		if v.JSON != nil {
			f.Add([]byte(*v.JSON))
		}
	})
	f.Fuzz(func(t *testing.T, in []byte) {
		var s scanner
		s.init(in, 0)
		s.skipValue()
		passes := s.end() == nil
		if want := json.Valid(in) && utf8.Valid(in) && nesting(in) <= maxDepth; passes != want {
			t.Fatalf("%q: passes %v, want %v", in, passes, want)
		}
		packed, err := ToMessagePack(nil, in)
		if err != nil {
			if !errors.Is(err, hub.ErrEncoding) || passes && !strings.Contains(err.Error(), "surrogate") {
				t.Fatalf("%q: %v", in, err)
			}
			return
		}
		if !passes {
			t.Fatalf("%q is converted, though it is malformed", in)
		}
		out, err := ToJSON(nil, packed)
		if err != nil || !sameJSON(t, in, out) {
			t.Fatalf("%q comes back as %q, %v", in, out, err)
		}
		checkFixed(t, out)
	})
}

// FuzzToJSON checks that skipValues accepts what msgp skips, within its limit, and that
// MessagePack → JSON → MessagePack keeps the values and, from then on, the bytes.
func FuzzToJSON(f *testing.F) {
	vectors(f, "data", func(_ string, v dataVector) { f.Add(unhex(f, v.MessagePack)) })
	f.Fuzz(func(t *testing.T, in []byte) {
		end, err := skipValues(in, 0, 1, 0)
		rest, skipErr := msgp.Skip(in)
		if err == nil && (skipErr != nil || len(in)-len(rest) != end) {
			t.Fatalf("%x: walk ends at %d, msgp at %d, %v", in, end, len(in)-len(rest), skipErr)
		}
		if err != nil && skipErr == nil && !strings.Contains(err.Error(), "nested deeper") {
			t.Fatalf("%x: msgp skips it, walk says %v", in, err)
		}
		out, err := ToJSON(nil, in)
		if err != nil {
			if !errors.Is(err, hub.ErrEncoding) {
				t.Fatalf("%x: %v", in, err)
			}
			return
		}
		if !json.Valid(out) {
			t.Fatalf("%x becomes %q", in, out)
		}
		packed, err := ToMessagePack(nil, out)
		if err != nil {
			t.Fatalf("%x becomes %q, and then %v", in, out, err)
		}
		back, err := ToJSON(nil, packed)
		if err != nil || !sameJSON(t, out, back) {
			t.Fatalf("%q comes back as %q, %v", out, back, err)
		}
		checkFixed(t, back)
	})
}

// checkFixed checks that JSON as ToJSON writes it comes back with the same bytes.
func checkFixed(t *testing.T, in []byte) {
	t.Helper()
	packed, err := ToMessagePack(nil, in)
	if err != nil {
		t.Fatalf("%q: %v", in, err)
	}
	out, err := ToJSON(nil, packed)
	if err != nil || !bytes.Equal(in, out) {
		t.Fatalf("%q comes back as %q, %v", in, out, err)
	}
}

// nesting returns how deep JSON's arrays and objects nest.
func nesting(in []byte) (most int) {
	depth, quoted := 0, false
	for i := 0; i < len(in); i++ {
		switch c := in[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			depth++
			most = max(most, depth)
		case c == ']' || c == '}':
			depth--
		}
	}
	return most
}

// sameJSON reports whether two texts have the same values in the same order. Numbers
// are compared as numbers, without rounding.
func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	as, bs := json.NewDecoder(bytes.NewReader(a)), json.NewDecoder(bytes.NewReader(b))
	as.UseNumber()
	bs.UseNumber()
	for {
		x, xerr := as.Token()
		y, yerr := bs.Token()
		if xerr != nil || yerr != nil {
			return xerr == io.EOF && yerr == io.EOF
		}
		n, ok := x.(json.Number)
		m, ok2 := y.(json.Number)
		if ok && ok2 && sameNumber(n.String(), m.String()) {
			continue
		}
		if x != y {
			return false
		}
	}
}

func sameNumber(a, b string) bool {
	if a == b {
		return true
	}
	for _, s := range []string{a, b} {
		if _, e, found := strings.Cut(strings.ToLower(s), "e"); found && len(strings.TrimLeft(e, "+-0")) > 3 {
			// As a fraction it would fill the memory. Only zero may have such an
			// exponent and be written otherwise.
			a, b = zero(a), zero(b)
		}
	}
	x, ok := new(big.Rat).SetString(a)
	y, ok2 := new(big.Rat).SetString(b)
	return ok && ok2 && x.Cmp(y) == 0 && strings.HasPrefix(a, "-") == strings.HasPrefix(b, "-")
}

// zero returns "0" or "-0" for a number whose digits are all 0, else "1".
func zero(s string) string {
	mantissa, _, _ := strings.Cut(strings.ToLower(s), "e")
	if strings.Trim(mantissa, "-.0") != "" {
		return "1"
	}
	if s[0] == '-' {
		return "-0"
	}
	return "0"
}
