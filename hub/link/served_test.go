package link

import (
	"strings"
	"testing"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/wire"
)

// A process that the hub cannot use is told what it and the others serve, in plain words, and
// what to do.
func TestRefusalSaysWhatIsServed(t *testing.T) {
	h := newHub(t, Options{})
	for _, name := range []string{"routed", "typed"} {
		if _, err := h.Add(Config{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	h.peer(wire.Hello{Name: "routed"})
	h.peer(wire.Hello{Name: "typed", Types: []string{"a", "b/#"}})
	many := wire.Hello{Name: "routed"}
	for _, c := range "abcdefghij" {
		many.Types = append(many.Types, "many/"+string(c))
	}
	for name, c := range map[string]struct {
		hello wire.Hello
		want  string
	}{
		"types, where the others have none": {wire.Hello{Name: "routed", Types: []string{"reading/#", "x"}},
			`handler "routed" gets its messages by route, as other processes of that name say; this one wants "reading/#", "x": give it another name`},
		"none, where the others have types": {wire.Hello{Name: "typed"},
			`handler "typed" serves "a", "b/#", as other processes of that name say; this one names no types: give it another name`},
		"many":                 {many, `"many/h", and 2 more: give`},
		"no types at all":      {wire.Hello{Name: "z"}, `names no types, and neither does the config: start it with --types, or in the config give [handlers.z] types or a route through it`},
		"a name with a space":  {wire.Hello{Name: `z "1`}, `[handlers."z \"1"] types`},
		"neither name nor any": {wire.Hello{}, `start it with --types, or with --name`},
	} {
		p := h.dial(c.hello)
		_, kind, body := p.next()
		if kind != wire.KindStatus {
			t.Fatalf("%s: got kind %d, want a status", name, kind)
		}
		err := wire.ParseStatus(body)
		wantErr(t, err, hub.ErrDenied, c.want)
		if text := err.Error(); strings.Contains(text, "[]") || strings.Contains(text, `["`) {
			t.Errorf("%s: a list as Go prints it: %s", name, text)
		}
		p.closed()
	}
}

// The log says what a handler serves: its own types, those of the slot that it is in, or
// nothing if only routes lead to it.
func TestLogOfTypesServed(t *testing.T) {
	h := newHub(t, Options{})
	for _, c := range []Config{
		{Name: "routed"},
		{Name: "fixed", Types: []hub.Pattern{"f/#"}},
		{Name: "slot", Types: []hub.Pattern{}, SlotTypes: []hub.Pattern{"s/a", "s/b"}},
	} {
		if _, err := h.Add(c); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		hello wire.Hello
		types string // in the log; "" for none
	}{
		{wire.Hello{Name: "routed"}, ""},
		{wire.Hello{Name: "fixed"}, "f/#"},
		{wire.Hello{Name: "slot", Types: []string{"other"}}, "s/a s/b"},
		{wire.Hello{Name: "own", Types: []string{"o/2", "o/1"}}, "o/1 o/2"},
	} {
		h.peer(c.hello)
		line := h.log.wait(t, 1, func(line string) bool {
			return strings.HasPrefix(line, "handler connected handler="+c.hello.Name+" ")
		})
		if has := strings.Contains(line, "types="); has != (c.types != "") || !strings.Contains(line, c.types) {
			t.Errorf("got %q, want types %q in it", line, c.types)
		}
	}
}
