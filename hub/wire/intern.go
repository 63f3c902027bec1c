package wire

import "github.com/besterhub/bester/hub"

// A Decoder decodes the frames of one peer into the hub's own types. It interns types
// and names, so that in steady state it allocates nothing. The intern tables are bounded:
// when one is full, it starts anew. The zero value is ready. A Decoder is used by one
// goroutine at a time.
type Decoder struct {
	types     interned[hub.Type]
	addresses interned[hub.Address] // of the native dialect
	users     interned[hub.Address] // in the answers of classic handlers
	servers   interned[hub.Address]
	origin    string // the last one seen

	out      Answer
	to       []hub.Address // recipients of the message or answer last decoded
	unquoted []byte        // the JSON string last decoded, if it had escapes
}

// interned is a bounded table of strings that have been parsed, each with its value.
type interned[T any] struct {
	last  *internEntry[T] // the last one found
	all   map[string]*internEntry[T]
	bytes int // of the strings in all
}

type internEntry[T any] struct {
	text  string
	value T
}

const (
	maxInterned      = 256     // strings in one table
	maxInternedBytes = 8 << 10 // of all strings in one table
)

// find returns the value of b: that in the table, or else the result of parse.
func (t *interned[T]) find(b []byte, parse func(string) (T, error)) (T, error) {
	if t.last != nil && string(b) == t.last.text {
		return t.last.value, nil
	}
	if k := t.all[string(b)]; k != nil {
		t.last = k
		return k.value, nil
	}
	s := string(b)
	meaning, err := parse(s)
	if err != nil || len(s) > maxInternedBytes/8 {
		return meaning, err
	}
	if t.all == nil || len(t.all) >= maxInterned || t.bytes+len(s) > maxInternedBytes {
		t.all, t.bytes = make(map[string]*internEntry[T]), 0
	}
	t.last = &internEntry[T]{s, meaning}
	t.all[s] = t.last
	t.bytes += len(s)
	return meaning, nil
}

func (d *Decoder) typ(b []byte) (hub.Type, error) {
	return d.types.find(b, hub.ParseType)
}

func (d *Decoder) address(b []byte) (hub.Address, error) {
	return d.addresses.find(b, parseAddress)
}

// hubName returns b as a string. In steady state that is the string it returned before.
func (d *Decoder) hubName(b []byte) (string, error) {
	if string(b) != d.origin {
		s := string(b)
		if err := checkName(s); err != nil {
			return "", err
		}
		d.origin = s
	}
	return d.origin, nil
}
