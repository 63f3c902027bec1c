package bformat

import (
	"errors"
	"testing"
)

func TestWriter(t *testing.T) {
	var writes []string
	w := NewWriter(writerFunc(func(b []byte) (int, error) {
		writes = append(writes, string(b))
		return len(b), nil
	}), 12)
	for _, p := range []string{"a", "b", "c", "12345678", "123456789", "d"} {
		if err := w.WriteFrame([]byte(p[:1]), []byte(p[1:])); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Flush(), w.Flush()); err != nil {
		t.Fatal(err)
	}
	want := []string{"\x01\x00\x00\x00a\x01\x00\x00\x00b", "\x01\x00\x00\x00c", "\x08\x00\x00\x0012345678",
		"\x09\x00\x00\x00123456789", "\x01\x00\x00\x00d"}
	if !equal(writes, want) {
		t.Errorf("got %q, want %q", writes, want)
	}
	broken := errors.New("broken")
	w = NewWriter(writerFunc(func([]byte) (int, error) { return 0, broken }), 0)
	if err := w.WriteFrame(nil); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != broken || w.WriteFrame(nil) != broken || w.Flush() != broken {
		t.Errorf("got %v, want %v ever after", err, broken)
	}
}
