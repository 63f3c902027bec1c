package main

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/besterhub/bester/hub/wire"
)

// Text from others must not control the terminal that shows it. Control characters,
// bidirectional marks and the like are written as escapes.

// escapeName quotes a name that is not all printable.
func escapeName(s string) string {
	if q := strconv.Quote(s); len(q) != len(s)+2 {
		return q
	}
	return s
}

// escapeText escapes what cannot be printed in a text of one or more lines.
func escapeText(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == '\n' || r != utf8.RuneError && strconv.IsPrint(r):
			b.WriteRune(r)
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		default:
			q := strconv.QuoteRune(r)
			b.WriteString(q[1 : len(q)-1])
		}
	}
	return b.String()
}

// appendEscapedJSON writes JSON on one line. It leaves out the white space between
// tokens, and escapes what cannot be printed in strings. The value stays the same.
func appendEscapedJSON(dst, json []byte) []byte {
	inString := false
	for i := 0; i < len(json); {
		c := json[i]
		switch {
		case !inString && (c == ' ' || c == '\t' || c == '\n' || c == '\r'):
			i++
			continue
		case inString && c == '\\' && i+1 < len(json):
			dst = append(dst, c, json[i+1])
			i += 2
			continue
		case c == '"':
			inString = !inString
		}
		if c >= ' ' && c <= '~' {
			dst = append(dst, c)
			i++
			continue
		}
		r, n := utf8.DecodeRune(json[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			dst = append(dst, `\ufffd`...)
		case strconv.IsPrint(r):
			dst = append(dst, json[i:i+n]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			dst = fmt.Appendf(dst, `\u%04x\u%04x`, high, low)
		default:
			dst = fmt.Appendf(dst, `\u%04x`, r)
		}
		i += n
	}
	return dst
}

// appendJSONString writes a string as JSON that can be printed.
func appendJSONString(dst []byte, s string) []byte {
	return appendEscapedJSON(dst, wire.AppendJSONString(nil, s))
}
