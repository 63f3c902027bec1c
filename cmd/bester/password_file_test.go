package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The line's end is not of the password, whatever editor made it.
func TestPasswordFile(t *testing.T) {
	for content, want := range map[string]string{
		"secret": "secret", "secret\r\n": "secret", "\ufeffsecret\r\nnote": "secret", " two words \n": " two words ",
	} {
		got, err := readPasswordFile(t.Context(), passwordFile(t, content), time.Minute)
		if err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", content, got, err, want)
		}
	}
	for path, want := range map[string]string{
		passwordFile(t, ""):                           "no password in its first line",
		passwordFile(t, "\xff\xfes\x00e\x00c\x00"):    "is UTF-16",
		passwordFile(t, "k\xfcche\n"):                 "byte 0xfc is not UTF-8",
		passwordFile(t, strings.Repeat("long", 1000)): "more than a password may have",
		"/dev/zero": "", // endless
		t.TempDir(): "is a directory",
	} {
		if got, err := readPasswordFile(t.Context(), path, time.Minute); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %q, %v, want %q", path, got, err, want)
		}
	}
}

// A pipe is waited for, but not for ever.
func TestPasswordFromAPipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readPasswordFile(t.Context(), pipe, time.Millisecond); err == nil || !strings.Contains(err.Error(), "no line came") {
		t.Errorf("nobody writes: got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := readPasswordFile(ctx, pipe, time.Minute); err != context.Canceled {
		t.Errorf("interrupted: got %v", err)
	}

	written := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(written, 0o600); err != nil {
		t.Fatal(err)
	}
	go os.WriteFile(written, []byte("secret\n"), 0) // waits for the reader
	if got, err := readPasswordFile(t.Context(), written, time.Minute); err != nil || got != "secret" {
		t.Errorf("got %q, %v", got, err)
	}
}

func passwordFile(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
