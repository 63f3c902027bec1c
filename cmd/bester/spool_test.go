package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/besterhub/bester/hub/spool"
)

// fillSpool makes a spool with a reader "up" and these records.
func fillSpool(t *testing.T, records ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "spool")
	s, err := spool.Open(dir, spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(context.Background())
	if _, err := s.Reader("up"); err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if _, err := s.Append(t.Context(), []byte(r)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Every kind of data is one line that a terminal can show.
func TestSpoolPeekLine(t *testing.T) {
	p := &peekOptions{}
	for data, want := range map[string]string{
		"":                             "",
		"plain words":                  "plain words",
		" { \"a\" : [1,\n2] }":         `{"a":[1,2]}`,
		`"\u001b[2J` + "\u202e" + `"`:  `"\u001b[2J\u202e"`,
		"two\nlines":                   `"two\nlines"`,
		"\x93\xa4temp\x00":             `"\x93\xa4temp\x00"`,
		strings.Repeat("x", 100):       strings.Repeat("x", 100),
		strings.Repeat("x", 101):       strings.Repeat("x", 97) + "...",
		strings.Repeat("ü", 999):       strings.Repeat("ü", 97) + "...",
		"x" + strings.Repeat("€", 999): "x" + strings.Repeat("€", 96) + "...",
		strings.Repeat("\xff", 999):    `"` + strings.Repeat(`\xff`, 24) + "...",
	} {
		line := string(p.appendLine(nil, spool.Record{Seq: 7, Data: []byte(data)}, false))
		_, got, _ := strings.Cut(line, "B  ")
		if got != want+"\n" {
			t.Errorf("%.20q: got %q, want %q", data, got, want)
		}
	}
	gap := string(p.appendLine(nil, spool.Record{Seq: 7, Time: 1 << 62, Gap: spool.Gap{From: 5, To: 6}}, false))
	if !strings.Contains(gap, "missing: 5 to 6\n") {
		t.Errorf("gap: %q", gap)
	}
}

// writerFunc is a function as a Writer.
type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestSpoolOutputFails(t *testing.T) {
	dir := fillSpool(t, "one", "two")
	for _, args := range [][]string{{"export", dir}, {"export", "--format", "frames", dir}, {"peek", dir}, {"peek", "--json", dir}} {
		for failure, want := range map[syscall.Errno]int{syscall.EPIPE: 0, syscall.ENOSPC: exitFailed} {
			var stderr bytes.Buffer
			out := writerFunc(func([]byte) (int, error) { return 0, failure })
			code := run(t.Context(), append([]string{"spool"}, args...), nil, out, &stderr)
			if code != want || (want == 0) != (stderr.Len() == 0) {
				t.Errorf("%s, %v: exit code %d, want %d; it said: %s", args[0], failure, code, want, &stderr)
			}
		}
	}
}

// An export that is interrupted or fails leaves no file. A file that someone else made
// stays.
func TestSpoolExportAtomic(t *testing.T) {
	dir, folder := fillSpool(t, "one", "two"), t.TempDir()
	name := filepath.Join(folder, "out")
	export := func(ctx context.Context, want int, args ...string) {
		t.Helper()
		var out bytes.Buffer
		code := run(ctx, append([]string{"spool", "export", dir, "--output", name}, args...), nil, &out, &out)
		if code != want {
			t.Errorf("%v: exit code %d, want %d; it said: %s", args, code, want, &out)
		}
	}
	has := func(want ...string) {
		t.Helper()
		var got []string
		entries, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			b, _ := os.ReadFile(filepath.Join(folder, e.Name()))
			got = append(got, e.Name()+"="+string(b))
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	interrupted, cancel := context.WithCancel(t.Context())
	cancel()
	export(interrupted, exitInterrupted)
	has()
	export(t.Context(), exitUsage, "--reader", "nobody")
	has()
	f, err := createAtomicFile(name, dir, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.commit(); err == nil {
		t.Error("a file that was made meanwhile was replaced")
	}
	f.discard()
	has("out=mine")
	export(interrupted, exitInterrupted, "--force")
	has("out=mine")
	export(t.Context(), exitUsage)
	has("out=mine")
	export(t.Context(), 0, "--force", "--format", "frames")
	has("out=\x03\x00\x00\x00one\x03\x00\x00\x00two")
}

// verify reports the wear of the card.
func TestSpoolWear(t *testing.T) {
	const hour, since = 3_600_000, 1_793_527_200_000 // 2026-11-01T10:00:00Z
	week := spool.Wear{Since: since, Until: since + 7*24*hour, Payload: 7_100_000, Written: 12_400_000, Day: 1_200_001}
	young := spool.Wear{Since: since, Until: since + hour, Payload: 100, Written: 278_500, Day: 278_500}
	idle := spool.Wear{Since: since, Until: since, Written: 8192, Day: 8192}
	for _, test := range []struct {
		w      spool.Wear
		next   uint64
		budget size
		want   string
		over   bool
	}{
		{spool.Wear{}, 1, 5e6, "nothing was written yet", false},
		{spool.Wear{}, 7, 0, "not known: no file that tells is left", false},
		{week, 9, 0, "11.8 MiB written for 6.8 MiB of data (1.75 times as much) since 2026-11-01T10:00:00Z; 1.7 MiB a day, 1.1 MiB in the last 24 hours", false},
		{week, 9, 5 << 20, "11.8 MiB written for 6.8 MiB of data (1.75 times as much) since 2026-11-01T10:00:00Z; 1.7 MiB a day, 1.1 MiB in the last 24 hours, 23 % of the budget of 5 MiB a day", false},
		{week, 9, 1 << 20, "11.8 MiB written for 6.8 MiB of data (1.75 times as much) since 2026-11-01T10:00:00Z; 1.7 MiB a day, 1.1 MiB in the last 24 hours, 115 % of the budget of 1 MiB a day", true},
		{young, 9, 278_500, "272 KiB written for 100 B of data (2785 times as much) since 2026-11-01T10:00:00Z; 272 KiB a day, 100 % of the budget of 272 KiB a day", false},
		{idle, 1, 0, "8 KiB written for 0 B of data since 2026-11-01T10:00:00Z; 8 KiB a day", false},
	} {
		if got := wearText(spool.Report{Wear: test.w, Next: test.next}, test.budget); got != test.want {
			t.Errorf("%+v: got %q, want %q", test.w, got, test.want)
		}
		var b strings.Builder
		if showBudget(&b, test.w, test.budget); test.over != strings.HasPrefix(b.String(), "Over the budget: 1.1 MiB were written") {
			t.Errorf("%+v: over the budget: %q", test.w, &b)
		}
	}
	for text, want := range map[string]uint64{
		"4096": 4096, "256 KiB": 256 << 10, "1MiB": 1 << 20, "2 GiB": 2 << 30, "5MB": 5e6, "1.2 MB": 1.2e6, "7 B": 7, "3kB": 3000, "1 TB": 1e12, "5 mb": 5e6, "100KB": 1e5, "16 kib": 16 << 10,
		"": 0, "0": 0, "-5": 0, "inf": 0, "nan": 0, "1e3": 0, "0x10": 0, "5 MX": 0, "5  MB": 0, "MB": 0, "1.2.3": 0, "99999 TB": 0,
	} {
		var s size
		if err := s.Set(text); uint64(s) != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %d, %v, want %d", text, s, err, want)
		}
	}
	dir := filepath.Join(t.TempDir(), "spool")
	s, err := spool.Open(dir, spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ flag, want string }{{"--budget=5MiB", "nothing was written yet\n"}, {"--json", `"card":null`}} {
		var out bytes.Buffer
		if code := run(t.Context(), []string{"spool", "verify", dir, test.flag}, nil, &out, &out); code != 0 || !strings.Contains(out.String(), test.want) {
			t.Errorf("%s: %d, %s", test.flag, code, &out)
		}
	}
}

func TestSpoolCompletion(t *testing.T) {
	dir := fillSpool(t)
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"spool", "verify", ""}, ":16\n"},
		{[]string{"spool", "peek", dir, ""}, ":4\n"},
		{[]string{"spool", "peek", dir, "--reader", ""}, "up\n:4\n"},
		{[]string{"spool", "export", dir, "--format", ""}, "jsonl\nframes\n:4\n"},
	} {
		var out, stderr bytes.Buffer
		if run(t.Context(), append([]string{"__complete"}, test.args...), nil, &out, &stderr); out.String() != test.want {
			t.Errorf("%v: got %q, want %q", test.args, &out, test.want)
		}
	}
}
