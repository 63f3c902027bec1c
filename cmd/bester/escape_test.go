package main

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode"
)

// The output has the value of the input, and is one line that can be printed.
func TestAppendEscapedJSON(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"{ \"a\" :\n\t[1, 2.50 ] }", `{"a":[1,2.50]}`},
		{`"two words  stay"`, `"two words  stay"`},
		{`"\u001b[2J\n\"\\"`, `"\u001b[2J\n\"\\"`},
		{"\"\u009b2J\u007f\"", `"\u009b2J\u007f"`},
		{"\"\u202egnp.exe\"", `"\u202egnp.exe"`},
		{"\"ü𝄞\U000e0001\"", `"ü𝄞\udb40\udc01"`},
		{`"\\" `, `"\\"`},
	} {
		got := string(appendEscapedJSON(nil, []byte(test.in)))
		if got != test.want {
			t.Errorf("%q: got %s, want %s", test.in, got, test.want)
		}
		checkEscapedJSON(t, test.in)
	}
}

func FuzzAppendEscapedJSON(f *testing.F) {
	f.Add("{ \"a\" :\n\t[1, 2.50, \"\u202e\\\\\" ] }")
	f.Fuzz(func(t *testing.T, in string) { checkEscapedJSON(t, in) })
}

func checkEscapedJSON(t *testing.T, in string) {
	var before, after any
	if json.Unmarshal([]byte(in), &before) != nil {
		return
	}
	got := string(appendEscapedJSON(nil, []byte(in)))
	if err := json.Unmarshal([]byte(got), &after); err != nil || !reflect.DeepEqual(before, after) {
		t.Errorf("%q became %s: %v", in, got, err)
	}
	if i := strings.IndexFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
		t.Errorf("%q became %q, which cannot be printed", in, got)
	}
}

func TestEscapeText(t *testing.T) {
	for in, want := range map[string]string{
		"two\nlines":        "two\nlines",
		"\x1b[31mred\u202e": `\x1b[31mred\u202e`,
		"\xff\ufffd'\"":     `\xff` + "\ufffd'\"",
	} {
		if got := escapeText(in); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
	if got, want := escapeName("a\x1b"), `"a\x1b"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
