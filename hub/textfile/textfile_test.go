package textfile

import (
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf16"
)

// utf16Of returns s in UTF-16.
func utf16Of(s string, big bool) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		if big {
			b = append(b, byte(u>>8), byte(u))
		} else {
			b = append(b, byte(u), byte(u>>8))
		}
	}
	return string(b)
}

func TestDecode(t *testing.T) {
	const text = "[hub]\r\nname = \"Küche\"\r\n"
	for _, data := range []string{"", "a", text, "\ufeff" + text, strings.Repeat("日本語", 1000)} {
		got, err := Decode([]byte(data))
		if want := strings.TrimPrefix(data, "\ufeff"); err != nil || string(got) != want {
			t.Errorf("%.20q: got %.20q, %v", data, got, err)
		}
	}
	for _, c := range []struct {
		data    string
		offset  int
		problem string
	}{
		{utf16Of("\ufeff"+text, false), 0, "UTF-16,"},
		{utf16Of("\ufeff"+text, true), 0, "UTF-16,"},
		{utf16Of(text, false), 0, "iconv -f UTF-16LE -t UTF-8"},
		{utf16Of(text, true), 0, "iconv -f UTF-16BE -t UTF-8"},
		{"\xff\xfe\x00\x00[\x00\x00\x00", 0, "UTF-32,"},
		{"\x00\x00\xfe\xff\x00\x00\x00[", 0, "UTF-32,"},
		{"# K\xfcche", 3, "byte 0xfc is not UTF-8"},
		{"\ufeff# K\xfcche", 3, "byte 0xfc is not UTF-8"},
		{"a = 1\x00", 5, "NUL byte"},
		{strings.Repeat("\x00", 4096), 0, "nothing but NUL bytes"},
		{"\xef\xbb", 0, "byte 0xef"},
	} {
		_, err := Decode([]byte(c.data))
		bad, ok := errors.AsType[*EncodingError](err)
		if !ok || bad.Offset != c.offset || !strings.Contains(bad.Problem, c.problem) {
			t.Errorf("%.20q: got %+v, want %q at %d", c.data, err, c.problem, c.offset)
		}
	}
}

func TestFirstLine(t *testing.T) {
	for data, want := range map[string]string{
		"secret": "secret", "secret\n": "secret", "secret\r\nmore": "secret", "\ufeffsecret\r\n": "secret",
		"\n": "", "\r\n": "", " a \r\n": " a ", "a\rb\n": "a\rb", "seven77\r\n": "seven77",
		"\ufeffseven77\r\n": "seven77", "secret\n\x00\xff": "secret",
	} {
		if got, err := FirstLine(strings.NewReader(data), 7); err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", data, got, err, want)
		}
	}
	if _, err := FirstLine(strings.NewReader(""), 7); err != ErrNoLine {
		t.Errorf("got %v, want ErrNoLine", err)
	}
	for data, want := range map[string]string{
		utf16Of("\ufeffsecret\r\n", false): "UTF-16", utf16Of("secret\r\n", false): "UTF-16LE",
		utf16Of("secret\r\n", true): "UTF-16BE", "k\xfcche\n": "byte 0xfc", "a\x00b\n": "NUL byte",
	} {
		if got, err := FirstLine(strings.NewReader(data), 70); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %q, %v, want %s", data, got, err, want)
		}
	}
}

// A line without an end takes no more memory than its limit.
func TestFirstLineOfAnEndlessFile(t *testing.T) {
	read := &counter{}
	got, err := FirstLine(read, 100)
	if err != nil || len(got) <= 100 {
		t.Errorf("got %d bytes, %v, want over 100", len(got), err)
	}
	if read.n > 8192 {
		t.Errorf("%d bytes were read", read.n)
	}
}

type counter struct{ n int }

func (c *counter) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'a'
	}
	c.n += len(p)
	if c.n > 1<<20 {
		return 0, io.ErrUnexpectedEOF
	}
	return len(p), nil
}
