package main

import (
	"testing"

	"github.com/besterhub/bester/hub"
)

// The hub says how many of the recipients are absent; the tool knows their names. What is
// about others, or is no such note, stays.
func TestNameAbsent(t *testing.T) {
	ann, bob, far := hub.Address{User: "ann"}, hub.Address{User: "bob"}, hub.Address{User: "cy", Server: "house"}
	for _, c := range []struct {
		note string
		to   []hub.Address
		want string
	}{
		{(hub.NoteNobody | hub.AbsentRecipients(1)).String(), []hub.Address{ann}, "ann is not here"},
		{(hub.NoteNobody | hub.AbsentRecipients(2)).String(), []hub.Address{ann, bob}, "none of ann, bob is here"},
		{hub.AbsentRecipients(1).String(), []hub.Address{ann, bob}, "1 of ann, bob is not here"},
		{hub.AbsentRecipients(1).String(), []hub.Address{ann, far}, "ann is not here"},
		{(hub.NoteUnconfirmed | hub.AbsentRecipients(1)).String(), []hub.Address{ann, far}, "ann is not here; handed over to a server that did not confirm it"},
		{(hub.NoteReceiverAbsent | hub.NoteNobody).String(), []hub.Address{ann}, "nobody who was to get it is here"},
		{hub.AbsentRecipients(1).String(), nil, "1 of the recipients named is not here"},
		{hub.NoteDenied.String(), []hub.Address{ann}, "not all who were to get it may receive its type"},
		{"", []hub.Address{ann}, ""},
	} {
		if got := nameAbsent(c.note, c.to); got != c.want {
			t.Errorf("%q to %v: got %q, want %q", c.note, c.to, got, c.want)
		}
	}
}
