// Package senml writes and reads SenML packs (RFC 8428), the form that readings
// have as message data, in JSON and, with the same labels, in MessagePack.
//
//	[{"bn":"greenhouse/bme280/","bt":1732288000.5,"n":"temperature","u":"Cel","v":21.4},
//	 {"n":"humidity","u":"%RH","v":55}]
//
// A Pack makes one, a Reader walks through one and resolves its base fields, and
// Reader.Keep makes a smaller pack of some of its records without writing their
// bytes anew. All three keep their memory and allocate nothing in steady state.
//
// What is read is hostile until it has been read: a pack that breaks RFC 8428
// gives an error that says where and what, and never costs more than its own
// length in time or memory.
package senml

import (
	"math"
	"time"
)

// MaxName is the longest resolved name (base name and name) that is read or
// written, in bytes.
const MaxName = 255

// maxDepth is how deep the values of unknown fields may nest, the pack included.
const maxDepth = 64

// A Kind says what a record's value is.
type Kind uint8

// The kinds of value. None is a record with a sum alone, or with base fields alone.
const (
	Number Kind = iota // v
	Bool               // vb
	Text               // vs
	Blob               // vd
	None
)

// String returns the label of the field that holds such a value, or "" for None.
func (k Kind) String() string {
	switch k {
	case Number:
		return "v"
	case Bool:
		return "vb"
	case Text:
		return "vs"
	case Blob:
		return "vd"
	}
	return ""
}

// A Record is one resolved record of a pack: what its base fields say is worked
// in. Its slices are the Reader's or the pack's, valid until the Reader's next
// Next or Reset.
type Record struct {
	Name []byte // base name and name
	Unit []byte // empty if the pack names none
	Kind Kind

	Number float64 // of a Number, base value added; 1 for a Bool that is true
	Text   []byte  // of a Text; of a Blob its base64url text, or its bytes if it came as bin
	Sum    float64 // the integrated value, base sum added
	HasSum bool

	micros int64 // base time and time together: see At
}

// absoluteFrom is where a time stops being relative to now and counts from 1970,
// in seconds (RFC 8428, 4.5.3).
const absoluteFrom = 1 << 28

// maxTime bounds absolute times: the year 5138.
const maxTime = 1e11

// At returns when the record was measured, to the microsecond. Relative times
// count from now, which is the time of the message that carried the pack; a pack
// without any time was measured at that time.
func (r *Record) At(now time.Time) time.Time {
	if r.micros >= absoluteFrom*1e6 {
		return time.UnixMicro(r.micros)
	}
	return now.Add(time.Duration(r.micros) * time.Microsecond)
}

// toMicros converts seconds, at most maxTime of them. Base time and time are
// converted apart, since their sum as a float64 would miss the microsecond.
func toMicros(seconds float64) int64 {
	if seconds == 0 {
		return 0
	}
	return int64(math.Round(seconds * 1e6))
}

// clockSet is the earliest time that a clock which has been set can show. A
// board without a clock of its own starts in 1970, or when it was built.
var clockSet = time.Date(2020, time.January, 1, 0, 0, 0, 0, time.UTC)

// nameBytes has 1 for each byte that a name may have and 2 for each that it may
// begin with (RFC 8428, 4.5.1).
var nameBytes = func() (t [256]uint8) {
	for c := range t {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
			t[c] = 2
		case c == '-', c == ':', c == '.', c == '/', c == '_':
			t[c] = 1
		}
	}
	return t
}()

// ValidName reports whether s may be the resolved name of a record: 1 to MaxName
// letters, digits and the signs - : . / _ of which the first is a letter or digit.
func ValidName(s string) bool {
	return s != "" && len(s) <= MaxName && nameBytes[s[0]] == 2 && checkName(s)
}

// checkName reports whether name holds only what RFC 8428, 4.5.1 allows.
func checkName[T string | []byte](name T) bool {
	for i := range len(name) {
		if nameBytes[name[i]] == 0 {
			return false
		}
	}
	return true
}

// finite is false for infinities and NaN, whose difference from themselves is NaN.
func finite(f float64) bool { return f-f == 0 }
