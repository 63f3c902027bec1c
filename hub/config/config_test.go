package config

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/besterhub/bester/hub"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestDefaultsOfAnEmptyFile(t *testing.T) {
	got, err := Parse("empty.toml", nil)
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, Default())
}

func TestParse(t *testing.T) {
	got, err := Parse("bester.toml", []byte(`
hub = { name = "shed", max_hops = 3, frame = 8192, last_values = 0, dial = ["house.local:2223", "10.4.0.0/16", "127.0.0.1"] }
log.level = "warn"
[admin]
info = { contact = "root@example.org", floor = 2, at = [1.5, true] }
[[listen]]
network = "unix"
address = "hub.sock"
mode = "0600"
group = "bester"
[[listen]]
network = "tls"
address = ":2224"
certificate = "c.pem"
key = "k.pem"
[session]
login = "1m30s"
[peers]
classic = ["::ffff:10.0.0.1", "10.4.0.0/16", "::1"]
origins = { b = ["c", "d"] }
[servers]
b.address = "[2001:db8::1]:2223"
[handlers."a/b"]
types = ["a/b", "c/+"]
dialect = "classic"
socket = "a.sock"
command = ["./a", "-v"]
start = "needed"
[filters.coarse]
kind = "deadband"
within = 0.5
fields = { temperature = 1 }
[devices.board]
kind = "system"
every = "1s"
[[route]]
match = "reading/#"
through = ["coarse", "a/b"]
to = ["dashboard", "alice@b", "@10.0.0.9:2223"]
`))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Hub = Hub{"shed", 3, 8192, 10 * time.Second, 0, Dial{
		Hosts: []string{"house.local:2223"}, Ranges: []netip.Prefix{netip.MustParsePrefix("10.4.0.0/16"), netip.MustParsePrefix("127.0.0.1/32")}}}
	want.Log.Level = slog.LevelWarn
	want.Admin.Info = map[string]any{"contact": "root@example.org", "floor": int64(2), "at": []any{1.5, true}}
	want.Listen = []Listen{
		{Network: Unix, Address: "hub.sock", Mode: 0600, Group: "bester", Trust: true},
		{Network: TLS, Address: ":2224", Certificate: "c.pem", Key: "k.pem"},
	}
	want.Session.Login = 90 * time.Second
	want.Peers.Classic = []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32"), netip.MustParsePrefix("10.4.0.0/16"), netip.MustParsePrefix("::1/128")}
	want.Peers.Origins = []Origins{{"b", []string{"c", "d"}}}
	want.Servers = []Server{{"b", "[2001:db8::1]:2223"}}
	want.Handlers = []Handler{{"a/b", []hub.Pattern{"a/b", "c/+"}, Classic, "a.sock", []string{"./a", "-v"}, StartNeeded, 10 * time.Second, 1024, 16}}
	want.Filters = []Filter{{"coarse", "deadband", map[string]any{"within": 0.5, "fields": map[string]any{"temperature": int64(1)}}}}
	want.Devices = []Device{{"board", "system", time.Second, "reading/shed/board", nil}}
	want.Routes = []Route{{"reading/#", []string{"coarse", "a/b"}, []hub.Address{{User: "dashboard"}, {User: "alice", Server: "b"}, {Server: "10.0.0.9:2223"}}}}
	same(t, got, want)
}

// The golden files of testdata/wrong say what each wrong file is answered.
func TestWrongFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/wrong/*.*")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, ".want") {
			continue
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			_, err := Load(file)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v, want an *Error", err)
			}
			got := strings.ReplaceAll(err.Error(), filepath.Dir(file)+"/", "") + "\n"
			golden := strings.TrimSuffix(file, filepath.Ext(file)) + ".want"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestManyProblemsAreBounded(t *testing.T) {
	_, err := Parse("x.toml", []byte(strings.Repeat("[[route]]\n", 65)))
	var e *Error
	if !errors.As(err, &e) || len(e.Problems) != MaxProblems || e.More != 30 {
		t.Fatalf("got %v, want %d problems and 30 more: two for each of 65 routes", err, MaxProblems)
	}
	if !strings.HasSuffix(err.Error(), "\n… and 30 more") {
		t.Errorf("got %q, want it to say how many more", err)
	}
}

func TestChecksPointAtTheKey(t *testing.T) {
	file := "[filters.coarse]\nkind = \"dedband\"\n[[route]]\nmatch = \"a\"\nthrough = [\"coarse\"]\n"
	check := func(c *Config) []Problem {
		f := c.Filters[0]
		return []Problem{
			c.Problem(fmt.Sprintf("%q: there is no such kind", f.Kind), "filters", f.Name, "kind"),
			c.Problem("missing", "filters", f.Name, "within"),
		}
	}
	_, err := Parse("b.toml", []byte(file), check)
	want := "b.toml:1:10: filters.coarse.within: missing\n" +
		"b.toml:2:8: filters.coarse.kind: \"dedband\": there is no such kind"
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	if got, want := Default().Problem("wrong", "hub", "name").Error(), "hub.name: wrong"; got != want {
		t.Errorf("without a file: got %q, want %q", got, want)
	}
}

// Whatever an editor on Windows makes of UTF-8 is read, at the same lines and columns.
func TestLoadByteOrderMarkAndCRLF(t *testing.T) {
	for name, content := range map[string]string{
		"mark.toml":      "\ufeff[hub]\nname = \"shed\"\n",
		"crlf.toml":      "# ü\r\n[hub]\r\nname = \"shed\"\r\n",
		"mark-crlf.toml": "\ufeff[hub]\r\nname = \"shed\"\r\n",
	} {
		c, err := Load(write(t, name, content))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if c.Hub.Name != "shed" {
			t.Errorf("%s: got name %q", name, c.Hub.Name)
		}
	}
	const classic = "\ufeff{\r\n\"handlers\": {\"availableTypes\": []}}\r\n"
	for _, name := range []string{"server.conf", "server.toml"} {
		if _, err := Load(write(t, name, classic)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Load(write(t, "empty.toml", "\ufeff\r\n")); err == nil || !strings.Contains(err.Error(), "is empty") {
		t.Errorf("got %v, want that it is empty", err)
	}
	_, err := Load(write(t, "place.toml", "\ufeffhubb = 1\r\n"))
	if err == nil || !strings.Contains(err.Error(), "place.toml:1:1: hubb: ") {
		t.Errorf("got %v, want the column as an editor shows it", err)
	}
}

func write(t *testing.T, name, content string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// What is no file, or has no end, is refused and not waited for.
func TestLoadWhatIsNoFile(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe.toml")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		t.TempDir():   "is a folder: want a file",
		pipe:          "is a pipe: want a file",
		"/dev/zero":   "is a device: want a file",
		"/proc/kmsg/": "config: ",
	} {
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
}

func TestLoadChoosesTheFormat(t *testing.T) {
	const toml, json = "[hub]\nmax_hops = 3\n", ` { "handlers": {"availableTypes": []} }`
	for _, c := range []struct{ name, content, informer string }{
		{"bester.toml", toml, ""},
		{"bester", toml, ""},
		{"server.conf", json, "bInformer"},
		{"other.json", json, "bInformer"},
	} {
		file := filepath.Join(t.TempDir(), c.name)
		if err := os.WriteFile(file, []byte(c.content), 0600); err != nil {
			t.Fatal(err)
		}
		got, err := Load(file)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if got.Informer.Socket != c.informer {
			t.Errorf("%s: got informer %q, want %q", c.name, got.Informer.Socket, c.informer)
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "absent.toml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want os.ErrNotExist", err)
	}
	big := filepath.Join(t.TempDir(), "big.toml")
	if err := os.WriteFile(big, make([]byte, MaxFile+1), 0600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(big); err == nil || !strings.Contains(err.Error(), "1 MiB") {
		t.Errorf("got %v, want the limit", err)
	}
}

func TestPeersAllow(t *testing.T) {
	p := Peers{Classic: []netip.Prefix{netip.MustParsePrefix("10.4.0.0/16"), netip.MustParsePrefix("fe80::/10")}}
	for addr, want := range map[string]bool{"10.4.9.9": true, "::ffff:10.4.9.9": true, "10.5.0.1": false, "fe80::1%eth0": true, "::1": false} {
		if got := p.Allow(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: got %v, want %v", addr, got, want)
		}
	}
	if !(&Peers{Open: true}).Allow(netip.MustParseAddr("192.0.2.1")) {
		t.Error("open: refused")
	}
}

func TestBytes(t *testing.T) {
	for text, want := range map[string]Bytes{"0": 0, "4096": 4096, "256 KiB": 256 << 10, "1MiB": 1 << 20, "1 GiB": 1 << 30, "7 B": 7} {
		var got Bytes
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%q: got %d, %v, want %d", text, got, err, want)
		}
		var again Bytes
		if err := again.UnmarshalText([]byte(got.String())); err != nil || again != got {
			t.Errorf("%q: written %q, read back %d, %v", text, got, again, err)
		}
	}
	for _, text := range []string{"", "-1", "1.5 MiB", "1 KB", "2 GiB", "KiB", "1  KiB", "99999999999999999999", "+1", "4194304 KiB"} {
		var b Bytes
		if err := b.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q: got %d, want an error", text, b)
		}
	}
}

// same compares all but where the configs come from.
func same(t *testing.T, got, want *Config) {
	t.Helper()
	g, w := reflect.ValueOf(*got), reflect.ValueOf(*want)
	for i := range g.NumField() {
		f := g.Type().Field(i)
		if f.IsExported() && !reflect.DeepEqual(g.Field(i).Interface(), w.Field(i).Interface()) {
			t.Errorf("%s: got %+v\nwant %+v", f.Name, g.Field(i), w.Field(i))
		}
	}
}
