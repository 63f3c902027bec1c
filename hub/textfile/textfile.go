// Package textfile reads the small files that people write: configs, accounts and
// passwords. Editors save them in more ways than one. A byte order mark is taken off;
// UTF-16 and other encodings are named, with what to do.
package textfile

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// bom is the byte order mark of UTF-8, which Windows' editors put in front.
const bom = "\xef\xbb\xbf"

// An EncodingError says why a file is no text in UTF-8, and how to mend it.
type EncodingError struct {
	Offset  int    // of the first byte that is wrong, in the text as Decode returns it
	Problem string // one sentence
}

// Error says what is wrong and how to mend it.
func (e *EncodingError) Error() string { return e.Problem }

// Decode returns data without a byte order mark, not copied. Lines may end in LF or CRLF:
// both stay as they are. If data is not UTF-8, or has a NUL byte, the error is an
// *EncodingError, and the text is returned all the same, so that the offset can be
// converted to a line.
func Decode(data []byte) ([]byte, error) {
	if name := wideEncoding(data); name != "" {
		return data, &EncodingError{0, fmt.Sprintf("the file is %s, not UTF-8: save it as UTF-8, or convert it: iconv -f %[1]s -t UTF-8", name)}
	}
	data = bytes.TrimPrefix(data, []byte(bom))
	for i := 0; i < len(data); {
		if data[i] == 0 {
			return data, &EncodingError{i, nulProblem(data)}
		}
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 {
			return data, &EncodingError{i, fmt.Sprintf("byte 0x%02x is not UTF-8; the file may be Latin-1: save it as UTF-8, or convert it: iconv -f WINDOWS-1252 -t UTF-8", data[i])}
		}
		i += size
	}
	return data, nil
}

func nulProblem(data []byte) string {
	if len(bytes.Trim(data, "\x00")) == 0 {
		return "the file has nothing but NUL bytes in it, as a power cut can leave it: write it anew"
	}
	return "NUL byte: the file is damaged, or no text"
}

// wideEncoding returns the name of UTF-16 or UTF-32, as iconv knows it, if data begins
// with its byte order mark, or has the NULs that Latin letters have in it.
func wideEncoding(data []byte) string {
	for _, e := range []struct{ mark, name string }{ // UTF-32's begins with that of UTF-16
		{"\xff\xfe\x00\x00", "UTF-32"}, {"\x00\x00\xfe\xff", "UTF-32"},
		{"\xff\xfe", "UTF-16"}, {"\xfe\xff", "UTF-16"},
	} {
		if bytes.HasPrefix(data, []byte(e.mark)) {
			return e.name
		}
	}
	// Without a mark: most of the letters are Latin, so every other byte is NUL.
	var nul [2]int
	begin := data[:min(len(data), 1<<10)&^1]
	for i, c := range begin {
		if c == 0 {
			nul[i%2]++
		}
	}
	half := len(begin) / 2
	switch {
	case half > 2 && nul[1] > half*3/4 && nul[0] < half/4+1:
		return "UTF-16LE"
	case half > 2 && nul[0] > half*3/4 && nul[1] < half/4+1:
		return "UTF-16BE"
	}
	return ""
}

// ErrNoLine means that there was no line to read.
var ErrNoLine = errors.New("no line")

// FirstLine returns the first line of r without its end and without a byte order mark. The
// line's end is LF, CRLF or the end of r. A line of over limit bytes is cut somewhere
// beyond limit, so that the caller can tell. The error is ErrNoLine if r is empty, an
// *EncodingError, or that of r.
func FirstLine(r io.Reader, limit int) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, int64(len(bom)+limit+len("x\r\n")))).ReadBytes('\n')
	if err != nil && err != io.EOF {
		return "", err
	}
	if len(line) == 0 {
		return "", ErrNoLine
	}
	line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
	text, err := Decode(line)
	if err != nil && len(text) <= limit {
		return "", err
	}
	return string(text), nil
}
