package config

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

func seed(f *testing.F, pattern string) {
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
}

// See checkRoundTrip for what is checked.
func FuzzParse(f *testing.F) {
	seed(f, "testdata/wrong/*.toml")
	seed(f, "testdata/*.toml")
	f.Add([]byte(Example))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("fuzz.toml", data)
		checkRoundTrip(t, data, c, err)
	})
}

func FuzzParseClassic(f *testing.F) {
	seed(f, "testdata/wrong/*.conf")
	seed(f, "testdata/*.conf")
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseClassic("fuzz.conf", data)
		checkRoundTrip(t, data, c, err)
	})
}

// checkRoundTrip checks that each error has a position inside the file and a reason, and that
// a config that parses is written as TOML that parses to an equal config.
func checkRoundTrip(t *testing.T, data []byte, c *Config, err error) {
	t.Helper()
	if err != nil {
		var e *Error
		if !errors.As(err, &e) || len(e.Problems) == 0 || c != nil {
			t.Fatalf("got %v, %v, want no config and an *Error", c, err)
		}
		lines := strings.Split(string(data), "\n")
		for _, p := range e.Problems {
			if p.Line < 1 || p.Line > len(lines) || p.Column < 1 || p.Column > len(lines[p.Line-1])+1 || p.Text == "" {
				t.Errorf("%+v: outside of the file, or without a reason", p)
			}
			if strings.ContainsAny(p.Error(), "\n\x00\x1b") {
				t.Errorf("%q: not one line to print", p.Error())
			}
		}
		return
	}
	text := c.AppendTOML(nil)
	again, err := Parse("again.toml", text)
	if err != nil {
		t.Fatalf("%v\nwritten as\n%s", err, text)
	}
	same(t, again, c)
}

// go-toml's own decoder is the oracle for our rules of duplicate keys and tables.
func FuzzTOMLAgreesWithGoTOML(f *testing.F) {
	seed(f, "testdata/wrong/*.toml")
	for _, s := range tomlRules {
		f.Add([]byte(s))
	}
	f.Fuzz(checkAgainstGoTOML)
}

func TestTOMLAgreesWithGoTOML(t *testing.T) {
	for _, s := range tomlRules {
		t.Run(s, func(t *testing.T) { checkAgainstGoTOML(t, []byte(s)) })
	}
}

func checkAgainstGoTOML(t *testing.T, data []byte) {
	var m map[string]any
	theirs := toml.Unmarshal(data, &m)
	root, ours := parseTOML(data)
	switch {
	case ours == nil && theirs != nil:
		if !hasDate(&node{value: root}) { // our parser accepts invalid dates, since no key takes a date
			t.Errorf("%q: read, but go-toml says: %v", data, theirs)
		}
	case ours != nil && theirs == nil:
		if !strings.Contains(ours.Error(), "deep") {
			t.Errorf("%q: go-toml reads it, but got: %v", data, ours)
		}
	}
}

func hasDate(n *node) bool {
	switch v := n.value.(type) {
	case unsupported:
		return v == "a date"
	case []*node:
		for _, e := range v {
			if hasDate(e) {
				return true
			}
		}
	case *table:
		for _, e := range v.entries {
			if hasDate(e.node) {
				return true
			}
		}
	}
	return false
}

var tomlRules = []string{
	"a = 1\na = 2", "a.b = 1\na.b = 2", "a.b = 1\na.c = 2", "a.b = 1\na = 2", "a = 1\na.b = 2",
	"[a]\n[a]", "[a.b]\n[a]", "[a]\n[a.b]", "[a.b]\n[a]\n[a]", "[a.b]\n[a.b.c]\n[a]\nx = 1",
	"[a]\nb.c = 1\n[a.b]", "[a]\nb.c = 1\n[a.b.d]", "[a]\nb.c.d = 1\n[a.b.c]", "[a]\nb.c.d = 1\n[a.b.c.e]",
	"[a.b.c]\nz = 9\n[a]\nb.c.t = 1", "[a.b.c]\nz = 9\n[a]\nb.d = 1", "[a.b]\nz = 9\n[a]\nb = 1", "a.b.c = 1\n[a]", "a.b = 1\n[a.c]",
	"[[a]]\n[[a]]", "[[a]]\n[a]", "[a]\n[[a]]", "a = []\n[[a]]", "a = [{}]\n[[a]]", "[[a]]\nb = 1\n[[a]]\nb = 2",
	"[[a]]\n[a.b]\n[[a]]\n[a.b]", "[[a]]\n[a.b]\n[a.b]", "[[a.b]]\n[a]", "[[a.b]]\n[a]\nb = 1", "[a]\n[[a.b]]\n[a.b.c]", "[[a]]\n[[a.b]]\n[[a.b]]",
	"a = {b = 1}\na.c = 2", "a = {b = 1}\n[a]", "a = {b = 1}\n[a.c]", "a = {b = 1, b = 2}", "a = {b.c = 1, b.d = 2}", "a = {b.c = 1, b = 2}",
	"a = {b = {}, b.c = 1}", "a = {b.c = 1}\na.b.d = 2", "a = [{b = 1}, {b = 2}]\na.b = 1", "[[a]]\n[a]\nb = 1", "a = {}\n[[a]]", "[[a]]\n[[a.b.c]]\n[a.b]",
	"a = 0x1F", "a = 0o17", "a = 0b11", "a = 1_000", "a = 01", "a = +1", "a = -0", "a = +0x1", "a = 9223372036854775807", "a = 9223372036854775808", "a = 1__0", "a = _1",
	"a = 1.5", "a = 1e400", "a = 1_0.5e-1_0", "a = inf", "a = -nan", "a = 1.", "a = .5", "a = 1e_5",
	"a = true", "a = True", "a = 1979-05-27", "a = 07:32:00", "\"\" = 1", "\"a b\".c = 1", "a.\"b\" = 1\n'a'.b = 2",
	"\xef\xbb\xbfa = 1", "a = \"\xff\"", "# \xff", "a = '\x01'", "a = \"\\u00e9\"", "a = \"\\ud800\"", "a = \"\"\"\nx\\\n  y\"\"\"", "a = 'x'\r\nb = 1", "a = 1 b = 2", "a = [1,,2]", "a = [1, 2,\n]",
	"[a]]", "[[a]", "[]", "a", "a =", "= 1", "[ a . b ]\nc=1", "a = {b = 1,}", "a = {b = 1\n}",
}

// A short file allocates at most 64 KiB, whatever its content, including the memory of
// go-toml, the defaults and the error.
func TestShortFilesAllocateLittle(t *testing.T) {
	inputs := append([]string{
		strings.Repeat("[", 64), strings.Repeat("a.", 31) + "a=", strings.Repeat("[[a]]\n", 10), "a=" + strings.Repeat("[", 31) + strings.Repeat("]", 31),
		"a=" + strings.Repeat("{a=", 20), strings.Repeat("a=1\n", 16), "a=[" + strings.Repeat("1,", 30) + "]", "a=\"" + strings.Repeat(`\u00e9`, 10) + "\"",
		strings.Repeat("\n", 64), "[[route]]\n[[route]]\n[[route]]\n[[route]]\n[[route]]\n[[route]]\n[[", "[handlers.a]\n[handlers.b]\n[handlers.c]\n[handlers.d]\n[handlers.e]",
		`{"a":` + strings.Repeat("[", 59), strings.Repeat(`{"":`, 16), `{"a":[` + strings.Repeat("1,", 28) + `1]}`, `{"handlers":{"availableTypes":["a","b","c","d","e","f","g","h"]}}`,
	}, tomlRules...)
	for _, in := range inputs {
		in = in[:min(len(in), 64)]
		for name, parse := range map[string]func(string, []byte, ...Check) (*Config, error){"toml": Parse, "classic": ParseClassic} {
			least := uint64(1 << 62)
			for range 3 { // other goroutines allocate, too
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				if _, err := parse("x", []byte(in)); err != nil {
					_ = err.Error()
				}
				runtime.ReadMemStats(&after)
				least = min(least, after.TotalAlloc-before.TotalAlloc)
			}
			if least > 64<<10 {
				t.Errorf("%s: %q allocates %d bytes, want at most 64 KiB", name, in, least)
			}
			maxAlloc = max(maxAlloc, least)
		}
	}
	t.Logf("at most %d bytes", maxAlloc)
}

var maxAlloc uint64

// A file of the largest size is read without trouble, whatever its content.
func TestLargeHostileFiles(t *testing.T) {
	size := MaxFile
	if testing.Short() {
		size /= 16
	}
	fill := func(head, body, tail string) []byte {
		return []byte(head + strings.Repeat(body, (size-len(head)-len(tail))/len(body)) + tail)
	}
	for name, data := range map[string][]byte{
		"brackets": fill("a = ", "[", ""), "closed": fill("", "[a]\n", ""), "dotted": fill("a", ".a", " = 1"), "lines": fill("", "\n", ""),
		"routes": fill("", "[[route]]\n", ""), "list": fill("a = [", "1,", "]"), "string": fill(`a = "`, `\t`, `"`), "objects": fill("", `{"a":`, ""),
		"handlers": fill("[handlers]\n", "a", " = 1"), "names": fill("[handlers.", "a", "]"),
	} {
		if _, err := Parse(name, data); err == nil && name != "lines" {
			t.Errorf("%s: want an error", name)
		} else if err != nil && len(err.Error()) > 64<<10 {
			t.Errorf("%s: the error has %d bytes", name, len(err.Error()))
		}
		if _, err := ParseClassic(name, data); err == nil {
			t.Errorf("%s: want an error", name)
		}
	}
}
