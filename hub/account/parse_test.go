package account

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const hashOfX = "$2a$04$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"

var update = flag.Bool("update", false, "write testdata/good/*.encoded anew")

func cases(t testing.TB, kind string) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/" + kind + "/*.accounts")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d files in testdata/%s, error %v", len(files), kind, err)
	}
	return files
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestParseGood(t *testing.T) {
	for _, path := range cases(t, "good") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			data := readFile(t, path)
			d, err := parse(data)
			if err != nil {
				t.Fatal(err)
			}
			got := d.encode()
			want := data
			if encoded := path + ".encoded"; !bytes.Equal(got, data) {
				if *update {
					if err := os.WriteFile(encoded, got, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want = readFile(t, encoded)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("encoded as\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// Each file begins with "# want " and the beginning of the error after the file's name.
func TestParseBad(t *testing.T) {
	for _, path := range cases(t, "bad") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			data := readFile(t, path)
			first, _, _ := strings.Cut(string(data), "\n")
			want := "account: F:" + strings.TrimPrefix(first, "# want ")
			_, err := parse(data)
			bad, ok := errors.AsType[*SyntaxError](err)
			if !ok {
				t.Fatalf("got error %v, want %s", err, want)
			}
			bad.Path = "F"
			if !strings.HasPrefix(err.Error(), want) {
				t.Errorf("got  %s\nwant %s", err, want)
			}
		})
	}
}

func TestParseLimits(t *testing.T) {
	block := func(n int) string { return fmt.Sprintf("account a%d\npassword %s\n", n, hashOfX) }
	var accounts, values strings.Builder
	values.WriteString(block(0))
	for i := range MaxAccounts {
		accounts.WriteString(block(i))
	}
	for i := range MaxValues {
		fmt.Fprintf(&values, "send x%d\n", i)
	}
	comment := "#" + strings.Repeat("x", MaxLine-1) + "\n"
	tests := []struct {
		name, most, more string
	}{
		{"accounts", accounts.String(), "account b\n"},
		{"values", values.String(), "send y\n"},
		{"line", "\t\t" + comment, "x" + comment},
		{"file", strings.Repeat(comment, MaxFile/len(comment)), comment},
	}
	for _, test := range tests {
		if _, err := parse([]byte(test.most)); err != nil {
			t.Errorf("%s: the most that is allowed: %v", test.name, err)
		}
		if _, err := parse([]byte(test.most + test.more)); err == nil {
			t.Errorf("%s: one more than the limit: no error", test.name)
		}
	}
}

func TestAddAndRemoveKeepWhatAnOperatorWrote(t *testing.T) {
	const a, b = "account a\n  password " + hashOfX + "\n", "account b\n  password " + hashOfX + "\n"
	addC := func(d *document) { d.add(&entry{name: "c", hash: hashOfX}) }
	c := strings.ReplaceAll(a, "account a", "account c")
	tests := []struct {
		name, in string
		do       func(*document)
		want     string
	}{
		{"add to nothing", "", addC, strings.Join(header, "\n") + "\n" + c},
		{"add", a, addC, a + "\n" + c},
		{"add below a comment", a + "# end\n", addC, a + "# end\n\n" + c},
		{"add below a blank line", "# top\n\n", addC, "# top\n\n" + c},
		{"remove the first", "# top\n\n# of a\n" + a + "\n# of b\n" + b, func(d *document) { d.remove("a") }, "# top\n\n# of b\n" + b},
		{"remove the last", a + "\n# of b\n" + b + "# end\n", func(d *document) { d.remove("b") }, a + "\n# end\n"},
		{"remove what was added", a + "\n# of b\n" + b, func(d *document) { addC(d); d.remove("c") }, a + "\n# of b\n" + b},
		{"remove the only", "# top\n\n# of a\n" + a, func(d *document) { d.remove("a") }, "# top\n\n" + noAccounts + "\n"},
		{"remove the only, and add", a, func(d *document) { d.remove("a"); addC(d) }, strings.Join(header, "\n") + "\n" + c},
	}
	for _, test := range tests {
		d, err := parse([]byte(test.in))
		if err != nil {
			t.Fatal(err)
		}
		test.do(d)
		if got := string(d.encode()); got != test.want {
			t.Errorf("%s: got\n%s\nwant\n%s", test.name, got, test.want)
		}
	}
}

// Property: a file that parses encodes to the same meaning, and an encoded file encodes
// to the same bytes.
func FuzzParse(f *testing.F) {
	for _, kind := range []string{"good", "bad"} {
		for _, path := range cases(f, kind) {
			f.Add(readFile(f, path))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := parse(data)
		if err != nil {
			if bad, ok := errors.AsType[*SyntaxError](err); !ok || bad.Line < 1 || bad.Column < 1 || bad.Problem == "" {
				t.Fatalf("error %#v", err)
			}
			return
		}
		for _, e := range d.entries {
			if err := e.permissions.check(); err != nil {
				t.Fatalf("accepted, but could not be written: %v", err)
			}
		}
		text := d.encode()
		again, err := parse(text)
		if err != nil {
			t.Fatalf("encoded as %q, which is refused: %v", text, err)
		}
		if got, want := meaning(again), meaning(d); !reflect.DeepEqual(got, want) {
			t.Fatalf("encoded as %q: got %v, want %v", text, got, want)
		}
		if second := again.encode(); !bytes.Equal(second, text) {
			t.Fatalf("encoded as %q, and then as %q", text, second)
		}
	})
}

func meaning(d *document) (m []entry) {
	for _, e := range d.entries {
		m = append(m, entry{name: e.name, hash: e.hash, permissions: e.permissions})
	}
	return m
}
