package wire

import "unicode/utf8"

// A scanner reads JSON strictly according to RFC 8259, nested at most maxDepth deep, and
// allocates nothing. The first error sticks: from then on the scanner finds nothing more,
// so that loops over it end.
type scanner struct {
	b      []byte
	i      int
	depth  int
	err    error
	keyBuf [16]byte // holds the last key, if it had escapes
}

// init starts reading b, which must hold exactly one value; end checks that. The limit
// maxDepth is for the data inside it: the number of levels around the data is added.
func (s *scanner) init(b []byte, around int) {
	s.b, s.i, s.depth, s.err = b, 0, -around, nil
	s.skipSpace()
}

func (s *scanner) end() error {
	if s.skipSpace(); s.err == nil && s.i < len(s.b) {
		s.fail("more bytes after the value")
	}
	return s.err
}

func (s *scanner) fail(what string) {
	if s.err == nil {
		switch {
		case len(s.b) == 0:
			s.err = malformed("JSON: empty")
		case s.i >= len(s.b):
			s.err = malformed("JSON: ends too early, at byte %d", len(s.b))
		default:
			s.err = malformed("JSON: byte %d, %q: %s", s.i, s.b[s.i:s.i+1], what)
		}
	}
	s.i = len(s.b)
}

// skipSpace skips white space.
func (s *scanner) skipSpace() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

// at reports whether the next byte is c.
func (s *scanner) at(c byte) bool { return s.i < len(s.b) && s.b[s.i] == c }

// open enters an array or object, which begins with the first of the brackets, and reports
// whether it has an element. Use it like this:
//
//	for more := s.open("{}"); more; more = s.next("{}") {
func (s *scanner) open(brackets string) bool {
	if !s.at(brackets[0]) {
		s.fail("want " + brackets[:1])
		return false
	}
	if s.depth == maxDepth {
		s.fail("data is nested deeper than 64 levels")
		return false
	}
	s.depth++
	s.i++
	s.skipSpace()
	if s.at(brackets[1]) {
		s.depth--
		s.i++
		return false
	}
	return s.err == nil
}

// next moves to the next element, or leaves the array or object and returns false.
func (s *scanner) next(brackets string) bool {
	s.skipSpace()
	switch {
	case s.at(brackets[1]):
		s.depth--
		s.i++
		return false
	case s.at(','):
		s.i++
		s.skipSpace()
		if s.at(brackets[1]) {
			s.fail("follows a comma")
		}
		return s.err == nil
	}
	s.fail("want , or " + brackets[1:])
	return false
}

// key reads an object's key and the colon, and returns the key without escapes. It returns
// something else for a key with escapes that is longer than all keys known here.
func (s *scanner) key() []byte {
	raw := s.rawKey()
	if len(raw) < 2 {
		return nil
	}
	key := raw[1 : len(raw)-1]
	for _, c := range key {
		if c == '\\' {
			if len(key) > 6*len(s.keyBuf) {
				return nil
			}
			key, _ = unescape(s.keyBuf[:0], key)
			return key
		}
	}
	return key
}

// rawKey reads a key and the colon, and returns the raw key.
func (s *scanner) rawKey() []byte {
	raw := s.str()
	s.skipSpace()
	if !s.at(':') {
		s.fail("want : after the key")
		return nil
	}
	s.i++
	s.skipSpace()
	return raw
}

// skipValue skips one value and returns it as raw JSON.
func (s *scanner) skipValue() []byte {
	start := s.i
	if s.i >= len(s.b) {
		s.fail("")
		return nil
	}
	switch c := s.b[s.i]; c {
	case '{':
		for more := s.open("{}"); more; more = s.next("{}") {
			s.rawKey()
			s.skipValue()
		}
	case '[':
		for more := s.open("[]"); more; more = s.next("[]") {
			s.skipValue()
		}
	case '"':
		s.str()
	case 't':
		s.word("true")
	case 'f':
		s.word("false")
	case 'n':
		s.word("null")
	default:
		s.number()
	}
	if s.err != nil {
		return nil
	}
	return s.b[start:s.i:s.i]
}

func (s *scanner) word(w string) {
	for j := range len(w) {
		if !s.at(w[j]) {
			s.fail("want " + w)
			return
		}
		s.i++
	}
}

// number reads a number and returns it as raw JSON.
func (s *scanner) number() []byte {
	start := s.i
	if s.at('-') {
		s.i++
	}
	if s.at('0') {
		s.i++
	} else if !s.digits() {
		s.fail("no value begins so")
		return nil
	}
	if s.at('.') {
		s.i++
		if !s.digits() {
			s.fail("want a digit after the point")
			return nil
		}
	}
	if s.at('e') || s.at('E') {
		s.i++
		if s.at('+') || s.at('-') {
			s.i++
		}
		if !s.digits() {
			s.fail("want a digit in the exponent")
			return nil
		}
	}
	return s.b[start:s.i]
}

func (s *scanner) digits() bool {
	start := s.i
	for s.i < len(s.b) && s.b[s.i]-'0' <= 9 {
		s.i++
	}
	return s.i > start
}

// str reads a string and returns it as raw JSON, with its quotes. It accepts escapes of
// lone surrogates, which only unescape refuses.
func (s *scanner) str() []byte {
	start := s.i
	if !s.at('"') {
		s.fail("want a string")
		return nil
	}
	s.i++
	for s.i < len(s.b) {
		switch c := s.b[s.i]; {
		case c == '"':
			s.i++
			return s.b[start:s.i:s.i]
		case c == '\\':
			s.escape()
		case c < ' ':
			s.fail("a control character must be escaped")
		case c < utf8.RuneSelf:
			s.i++
		default:
			_, n := utf8.DecodeRune(s.b[s.i:])
			if n == 1 {
				s.fail("not UTF-8")
			}
			s.i += n
		}
	}
	s.fail("")
	return nil
}

func (s *scanner) escape() {
	s.i++
	if s.i >= len(s.b) {
		return
	}
	switch s.b[s.i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.i++
	case 'u':
		s.i++
		for range 4 {
			if s.i >= len(s.b) {
				return
			}
			if hexDigit(s.b[s.i]) < 0 {
				s.fail("want four hex digits after \\u")
				return
			}
			s.i++
		}
	default:
		s.fail("no such escape")
	}
}

func hexDigit(c byte) rune {
	switch {
	case '0' <= c && c <= '9':
		return rune(c - '0')
	case 'a' <= c && c <= 'f':
		return rune(c - 'a' + 10)
	case 'A' <= c && c <= 'F':
		return rune(c - 'A' + 10)
	}
	return -1
}
