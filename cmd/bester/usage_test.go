package main

import (
	"bytes"
	"strings"
	"testing"
)

// Errors in how a command is called are in own words, say what is wrong, and what to do.
func TestUsageErrors(t *testing.T) {
	t.Setenv("BESTER_TIMEOUT", "")
	for args, want := range map[string]string{
		"listen reading/#/x":          `pattern "reading/#/x": # must be the last level`,
		"listen reading#":             `pattern "reading#": "reading#" must be + or # alone`,
		"pub chat 1":                  `unknown command "pub": to send a message: bester send TYPE [DATA]`,
		"Publish chat 1":              "bester send TYPE [DATA]",
		"sub chat":                    `unknown command "sub": to see what flows: bester listen PATTERN`,
		"subscribe chat":              "such as bester listen 'reading/#'",
		"check":                       "bester: FILE is missing: want bester check FILE\nThe config of the hub on this machine",
		"check a b":                   `bester: check takes only FILE, got also "b"`,
		"send":                        "bester: TYPE is missing: want bester send TYPE [DATA]",
		"send chat two words":         `got also "words"` + "\nDATA with spaces in it stands in quotes",
		"spool peek":                  "bester: DIR is missing: want bester spool peek DIR",
		"help spol":                   `unknown command "spol": did you mean spool?`,
		"help spool verfy":            `unknown command "verfy": did you mean verify?`,
		"help pub":                    "to send a message",
		"completion tcsh":             `no completion for "tcsh": there is one for bash, fish, powershell and zsh`,
		"listen --count many":         `--count "many": want a whole number`,
		"listen --for 5":              `--for "5": want a time such as 500ms, 10s or 2m`,
		"listen --json=maybe":         `--json "maybe": want true or false`,
		"listen --hub":                "--hub: its value is missing: want --hub ADDRESS",
		"listen --hub ::1:2223":       "--hub ::1:2223: an IPv6 address stands in brackets: [::1]:2223",
		"send --hub h:p chat 1":       `--hub h:p: "p" is no port`,
		"status --timeout 0":          "bester: --timeout 0s: want a time such as 500ms, 10s or 2m; it is more than 0\n",
		"send --timeout -1s chat 1":   "bester: --timeout -1s: want a time",
		"send --strict chat 1":        "--strict and --quiet are for --lines",
		"send -q chat 1":              "--strict and --quiet are for --lines",
		"send --to  chat 1":           `--to: address "": want user, user@server or @server`,
		"send --to a@ chat 1":         `--to: address "a@": want user`,
		"send --lines --to  chat":     `--to: address ""`,
		"request --to  chat 1":        `--to: address ""`,
		"send a/+ 1":                  `type "a/+"`,
		"send --lines a/+":            `type "a/+"`,
		"request --count 0 chat":      "--count 0: want at least 1",
		"help handle nonsense":        `no handler of kind "nonsense": there are alarm, deadband, throttle`,
		"handle help nonsense":        `no handler of kind "nonsense"`,
		"account nonsense":            `unknown command "nonsense": want add, allow, list, passwd or remove`,
		"spool nonsense":              `unknown command "nonsense": want export, peek or verify`,
		"spool help nonsense":         `unknown command "nonsense"`,
		"listen --hub a:1 --ca x.pem": "--ca is for a TLS port",
	} {
		var out, stderr bytes.Buffer
		code := run(t.Context(), strings.Split(args, " "), strings.NewReader(""), &out, &stderr)
		if code != exitUsage || !strings.Contains(stderr.String(), want) {
			t.Errorf("%s: exit code %d, %q; want %q", args, code, &stderr, want)
		}
		for _, foreign := range []string{"arg(s)", "strconv", "invalid argument", "time: "} {
			if strings.Contains(stderr.String(), foreign) {
				t.Errorf("%s: %q has %q in it", args, &stderr, foreign)
			}
		}
	}
	// What is told is what was given.
	for _, c := range []struct{ env, args, want, not string }{
		{"soon", "status", `bester: BESTER_TIMEOUT="soon": want a time such as`, "--timeout "},
		{"-3s", "send chat 1", `bester: BESTER_TIMEOUT="-3s": want a time such as`, "--timeout "},
		{"soon", "status --timeout 0", "bester: --timeout 0s: want a time such as", "BESTER_TIMEOUT"},
	} {
		t.Setenv("BESTER_TIMEOUT", c.env)
		var out, stderr bytes.Buffer
		code := run(t.Context(), strings.Fields(c.args), nil, &out, &stderr)
		if code != exitUsage || !strings.Contains(stderr.String(), c.want) || strings.Contains(stderr.String(), c.not) {
			t.Errorf("%+v: exit code %d, %q", c, code, &stderr)
		}
	}
}

// Help of whatever there is, however deep, is asked for in several ways.
func TestHelpOfAnything(t *testing.T) {
	for args, want := range map[string]string{
		"help spool verify":    "Read every record",
		"spool help verify":    "Read every record",
		"spool help":           "Look into a spool",
		"help account add":     "Add an account",
		"account help add":     "Add an account",
		"help completion bash": "It needs the package bash-completion",
		"help handle":          "The kinds are:",
		"handle help":          "The kinds are:",
		"help handle alarm":    "above=NUMBER",
		"handle help alarm":    "above=NUMBER",
		"handle alarm --help":  "above=NUMBER",
		"help help":            "bester help handle alarm",
	} {
		var out, stderr bytes.Buffer
		if code := run(t.Context(), strings.Fields(args), nil, &out, &stderr); code != 0 || stderr.Len() > 0 || !strings.Contains(out.String(), want) {
			t.Errorf("%s: exit code %d, %q, %q; want %q", args, code, &stderr, &out, want)
		}
	}
	// The scripts are for the shells that the help names, and it says how each is installed.
	var help, out bytes.Buffer
	run(t.Context(), []string{"help", "completion"}, nil, &help, &help)
	for _, shell := range completionShells {
		if !strings.Contains(help.String(), "  "+shell.install+"\n") || !strings.Contains(shell.install, "bester completion "+shell.name) {
			t.Errorf("the help does not say how the script for %s is installed: %s", shell.name, &help)
		}
		out.Reset()
		if code := run(t.Context(), []string{"completion", shell.name}, nil, &out, &out); code != 0 || !strings.Contains(out.String(), "__bester") {
			t.Errorf("completion %s: exit code %d, %.100q", shell.name, code, &out)
		}
	}
}
