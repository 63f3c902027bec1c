// Package senml writes and reads SenML packs (RFC 8428), the form that readings
// have as message data, in JSON and, with the same labels, in MessagePack.
//
//	[{"bn":"greenhouse/bme280/","bt":1732288000.5,"n":"temperature","u":"Cel","v":21.4},
//	 {"n":"humidity","u":"%RH","v":55}]
//
// A Pack writes a pack. A Reader reads one and resolves its base fields. Reader.Keep
// selects records for a smaller pack, whose bytes are copied and not encoded again. All
// of them reuse their memory and allocate nothing in steady state.
//
// Numbers may come in any form: integers, floats, and in MessagePack the text extension of
// hub/wire for what no float holds exactly; the nearest float64 is taken. A float 32 means
// the shortest decimal that reads back as it, 21.6 and not 21.600000381, as in JSON.
//
// The input is untrusted. A pack that violates RFC 8428 gives an error that says where
// and what, and the cost in time and memory is never more than linear in its length.
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

// The kinds of value. None is a record with a sum alone.
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

// A Record is one resolved record of a pack: the base fields are applied. Its slices
// belong to the Reader or the pack and are valid until the Reader's next Next or Reset.
type Record struct {
	Err  error  // why the record is invalid: see Reader.NextOrInvalid; nil after Next
	Name []byte // base name and name
	Unit []byte // empty if the pack names none
	Kind Kind   // which of the following values it has

	Number float64 // of a Number, base value added; 1 for a Bool that is true
	Text   []byte  // of a Text; of a Blob its base64url text, or its bytes if it came as bin
	Sum    float64 // the integrated value, base sum added
	HasSum bool    // it has a Sum, with or without a value

	micros int64 // base time and time together: see At
}

// absoluteFrom is the least absolute time, in seconds since 1970. A smaller time is
// relative to now (RFC 8428, 4.5.3).
const absoluteFrom = 1 << 28

// maxTime bounds absolute times: the year 5138.
const maxTime = 1e11

// At returns when the record was measured, to the microsecond. Relative times count
// from now, which is the time of the message that carried the pack. A record without
// any time was measured at that time.
func (r *Record) At(now time.Time) time.Time {
	if r.micros >= absoluteFrom*1e6 {
		return time.UnixMicro(r.micros)
	}
	return now.Add(time.Duration(r.micros) * time.Microsecond)
}

// toMicros converts seconds, at most maxTime of them, to microseconds. Base time and time
// are converted separately, since their sum as a float64 would not be exact to the
// microsecond.
func toMicros(seconds float64) int64 {
	if seconds == 0 {
		return 0
	}
	return int64(math.Round(seconds * 1e6))
}

// minPlausible is the earliest plausible time. A clock that shows an earlier one has not
// been set: a board without a battery-backed clock starts in 1970, or at its build date.
var minPlausible = time.Date(2020, time.January, 1, 0, 0, 0, 0, time.UTC)

// nameBytes has 1 for each byte that is allowed in a name, and 2 for each that is also
// allowed as its first (RFC 8428, 4.5.1).
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

// ValidName reports whether s is valid as the resolved name of a record: 1 to MaxName
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

// finite is false for infinities and NaN: for these f-f is NaN.
func finite(f float64) bool { return f-f == 0 }
