package main

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseEndpoint(t *testing.T) {
	t.Chdir(t.TempDir())
	l, err := net.Listen("unix", "here")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for text, want := range map[string]string{
		"/run/bester/bester.sock":        "unix /run/bester/bester.sock",
		"unix:///run/bester.sock":        "unix /run/bester.sock",
		"./a b":                          "unix ./a b",
		"hub.sock":                       "unix hub.sock",
		"here":                           "unix here",
		"@bester":                        "unix @bester",
		"localhost":                      "tcp localhost:2223",
		"field-7.example.org":            "tcp field-7.example.org:2223",
		"tcp://field_7:1":                "tcp field_7:1",
		"müller.example.:65535":          "tcp müller.example.:65535",
		":2300":                          "tcp localhost:2300",
		"192.168.1.5":                    "tcp 192.168.1.5:2223",
		"192.168.1.5:9":                  "tcp 192.168.1.5:9",
		"[::1]":                          "tcp [::1]:2223",
		"[::1]:2223":                     "tcp [::1]:2223",
		"[fe80::1%eth0]:2223":            "tcp [fe80::1%eth0]:2223",
		"tls://hub.example.org":          "tcp tls hub.example.org:2224",
		"tls://[2001:db8::1]":            "tcp tls [2001:db8::1]:2224",
		"tls://hub.example.org:443":      "tcp tls hub.example.org:443",
		filepath.Join(t.TempDir(), "no"): "",
	} {
		p, err := parseEndpoint(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		got := p.network + " " + p.address
		if p.secure {
			got = p.network + " tls " + p.address
		}
		if want != "" && got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// What cannot be an address is refused with the right form.
func TestParseEndpointRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"::1:2223":                 "[::1]:2223",
		"::1":                      "[::1]:2223",
		"fe80::1%eth0:2223":        "[fe80::1%eth0]:2223",
		"2001:db8::5":              "[2001:db8::5]:2223",
		"a:b:c":                    "too many colons",
		"tls://::1:2224":           "[::1]:2224",
		"[::1":                     "brackets hold an IPv6 address",
		"[127.0.0.1]:2223":         "brackets hold an IPv6 address",
		"[::1]2223":                `want a port, such as [::1]:2223`,
		"[::1]:":                   "want a port",
		"host:":                    "want host:2223",
		"host:0":                   "from 1 to 65535",
		"host:65536":               "from 1 to 65535",
		"host:-1":                  "from 1 to 65535",
		"host:http":                `"http" is no port`,
		"host:22 23":               `no address has " " in it`,
		"my host:2223":             `no address has " " in it`,
		"host\n":                   `no address has "\n" in it`,
		"http://host:80":           `there is no scheme "http"`,
		"mqtt://host":              `there is no scheme "mqtt"`,
		"tls://":                   "no host",
		"tls://host/path":          "'/' cannot be in a name",
		"unix://":                  "no path",
		"ann@host:2223":            "--user",
		"a..b":                     "nothing between two dots",
		"300.1.1.1":                "no IP address",
		"192.168.1":                "no IP address",
		"/" + longPath:             "that of a socket has at most 107",
		longPath + longPath + ":1": "a name has at most 253",
	} {
		p, err := parseEndpoint(text)
		if err == nil {
			t.Errorf("%q: got %v, want an error", text, p)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %q, want %q in it", text, err, want)
		}
	}
}

var longPath = strings.Repeat("x", 200)
