package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/client"
)

// Whatever cannot be opened, reached or started: the error says what and where, once, in no
// words of a library.
func TestErrorsInPlainWords(t *testing.T) {
	folder := t.TempDir()
	missing, file := filepath.Join(folder, "missing"), filepath.Join(folder, "file")
	if err := os.WriteFile(file, []byte("text\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("BESTER_TIMEOUT", "2m")
	t.Setenv("BESTER_HANDLER", "alarm") // so that a handler ends where there is no hub
	t.Setenv("BESTER_PASSWORD", "")
	handle := "handle alarm --set name=t --set above=1 "
	for args, want := range map[string]string{
		"status --hub tls://localhost --ca " + missing:                 "bester: --ca: " + missing + ": there is no such file or folder",
		"status --hub tls://localhost --ca " + folder:                  "bester: --ca: " + folder + ": it is a folder: want a file",
		"status --hub tls://localhost --ca " + file:                    "bester: --ca: " + file + ": there is no certificate in PEM form in it",
		"status --password-file " + missing:                            "bester: --password-file: " + missing + ": there is no such file or folder",
		"status --password-file " + folder:                             "bester: --password-file: " + folder + ": it is a folder: want a file",
		"account list --file " + missing:                               "bester: account: " + missing + `: there is no such file or folder: make it with "bester account add"`,
		"account list --file " + folder:                                "bester: account: " + folder + " is not a regular file",
		"account list --file " + file + "/x":                           "bester: account: " + file + "/x: a part of the path is no folder",
		"check " + missing:                                             "bester: config: " + missing + ": there is no such file or folder",
		"account list --config " + missing:                             "config: " + missing + ": there is no such file or folder",
		"man " + file:                                                  "bester: " + file + ": a part of the path is no folder",
		"spool export --output " + missing + "/x " + folder:            "bester: " + missing + ": there is no such file or folder",
		"demo --besterd " + missing:                                    "bester: the hub cannot be started: " + missing + ": there is no such program\nThe demo runs the besterd beside this program",
		"demo --besterd " + file:                                       "bester: the hub cannot be started: " + file + ": this user may not run it",
		handle + "--socket " + missing:                                 missing + ": there is no such socket",
		handle + "--socket " + file:                                    file + ": nobody listens there",
		handle + "--user ann --password-file " + missing:               "--password-file: " + missing + ": there is no such file or folder",
		"send --hub " + file + "/s.sock quiet 1":                       "cannot reach the hub: there is no socket at " + file + "/s.sock",
		"request --hub " + missing + ".sock --password-file x quiet 1": "bester: --password-file: x: there is no such file or folder",
	} {
		if strings.HasPrefix(args, "demo") && emulated(t) {
			continue
		}
		var out, stderr bytes.Buffer
		code := run(t.Context(), strings.Fields(args), strings.NewReader(""), &out, &stderr)
		if code == 0 || !strings.Contains(stderr.String(), want) {
			t.Errorf("%s: exit code %d, %q; want %q", args, code, &stderr, want)
		}
		for _, raw := range []string{"open ", "stat ", "read ", "mkdir ", "dial ", "listen ", "connect:", "fork/exec", "no such file or directory", "not a directory"} {
			if strings.Contains(stderr.String(), raw) {
				t.Errorf("%s: %q has %q in it", args, &stderr, raw)
			}
		}
	}
}

// A session that the hub has ended is told once, with the hub's reason if it gave one.
func TestClosedError(t *testing.T) {
	for _, c := range []struct {
		reason error
		want   string
	}{
		{client.ErrNoReason, "the hub closed the connection: it gave no reason, but its log may"},
		{hub.Reason(hub.ErrClosed, "closed: the hub ends"), "the hub closed the connection: the hub ends"},
		{hub.Reason(hub.ErrClosed, "closed: "), "the hub closed the connection: it gave no reason, but its log may"},
		{hub.ErrDenied, "the hub closed the connection: not allowed"},
	} {
		err := endedError(c.reason)
		if err.Error() != c.want {
			t.Errorf("%v: got %q, want %q", c.reason, err, c.want)
		}
	}
	if exitCode(endedError(hub.ErrDenied)) != exitDenied || exitCode(endedError(client.ErrNoReason)) != exitUnreachable {
		t.Error("the exit code is not that of the reason")
	}
}

// Where there is no data, that is said, and not that it is no JSON.
func TestNoData(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"send", "chat"}, "bester: there is no data: standard input is empty; "},
		{[]string{"send", "chat", "-"}, "bester: there is no data: standard input is empty; "},
		{[]string{"request", "chat", ""}, "bester: there is no data: DATA is empty; "},
		{[]string{"send", "--text", "chat"}, "there is no socket at "}, // an empty text is one
		{[]string{"send", "chat", "null"}, "there is no socket at "},
	} {
		for _, stdin := range []string{"", "\n"} {
			var out, stderr bytes.Buffer
			args := append([]string{c.args[0], "--hub", filepath.Join(t.TempDir(), "none.sock")}, c.args[1:]...)
			code := run(t.Context(), args, strings.NewReader(stdin), &out, &stderr)
			if code == 0 || !strings.Contains(stderr.String(), c.want) || strings.Contains(stderr.String(), "JSON:") {
				t.Errorf("%q, %q: exit code %d, %q; want %q", c.args, stdin, code, &stderr, c.want)
			}
		}
	}
}
