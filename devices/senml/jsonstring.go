package senml

import (
	"errors"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonString reads the string at the present position. The result is a slice of the pack,
// or of r.text if the string has escapes.
func (r *Reader) jsonString() ([]byte, error) {
	if r.pos >= len(r.b) {
		return nil, errTruncated
	}
	if r.b[r.pos] != '"' {
		return nil, errString
	}
	start := r.pos + 1
	var seen uint8
	for i := start; i < len(r.b); i++ {
		class := stringBytes[r.b[i]]
		if class == 0 {
			continue
		}
		seen |= class
		switch class {
		case isQuote:
			r.pos = i + 1
			s := r.b[start:i]
			if seen&isWide != 0 && !utf8.Valid(s) {
				return nil, errors.New("string is not UTF-8")
			}
			if seen&isEscape != 0 {
				return r.unescape(s)
			}
			return s, nil
		case isEscape:
			i++ // the escaped byte does not end the string; unescape checks it
		case isControl:
			return nil, errors.New("string has a control character")
		}
	}
	return nil, errTruncated
}

const (
	isQuote = 1 << iota
	isEscape
	isControl
	isWide // part of a character beyond ASCII
)

// stringBytes classifies the bytes that are special in a string.
var stringBytes = func() (t [256]uint8) {
	for c := range t {
		switch {
		case c == '"':
			t[c] = isQuote
		case c == '\\':
			t[c] = isEscape
		case c < ' ':
			t[c] = isControl
		case c >= utf8.RuneSelf:
			t[c] = isWide
		}
	}
	return t
}()

// unescape appends s to r.text without its escapes.
func (r *Reader) unescape(s []byte) ([]byte, error) {
	start := len(r.text)
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			r.text = append(r.text, s[i])
			continue
		}
		i++
		switch s[i] {
		case '"', '\\', '/':
			r.text = append(r.text, s[i])
		case 'b':
			r.text = append(r.text, '\b')
		case 'f':
			r.text = append(r.text, '\f')
		case 'n':
			r.text = append(r.text, '\n')
		case 'r':
			r.text = append(r.text, '\r')
		case 't':
			r.text = append(r.text, '\t')
		case 'u':
			c, ok := hex4(s[i+1:])
			if !ok {
				return nil, errors.New(`string has \u without four hexadecimal digits`)
			}
			i += 4
			if utf16.IsSurrogate(c) {
				low := rune(-1)
				if len(s) > i+6 && s[i+1] == '\\' && s[i+2] == 'u' {
					low, _ = hex4(s[i+3:])
				}
				if c = utf16.DecodeRune(c, low); c != utf8.RuneError {
					i += 6
				}
			}
			r.text = utf8.AppendRune(r.text, c)
		default:
			return nil, fmt.Errorf("string has the unknown escape \\%c", s[i])
		}
	}
	return r.text[start:len(r.text):len(r.text)], nil
}

func hex4(s []byte) (c rune, ok bool) {
	if len(s) < 4 {
		return -1, false
	}
	for _, d := range s[:4] {
		switch {
		case d >= '0' && d <= '9':
			d -= '0'
		case d >= 'a' && d <= 'f':
			d -= 'a' - 10
		case d >= 'A' && d <= 'F':
			d -= 'A' - 10
		default:
			return -1, false
		}
		c = c<<4 | rune(d)
	}
	return c, true
}
