package main

import (
	"strconv"
	"strings"

	"github.com/besterhub/bester/hub"
)

// nameAbsent puts the names of the recipients of this hub, as the sender has given them, into
// the hub's note where it says that some of them are not here. The hub says only how many.
func nameAbsent(note string, to []hub.Address) string {
	var names []string
	for _, a := range to {
		if a.Server == "" {
			names = append(names, escapeName(string(a.User)))
		}
	}
	if len(names) == 0 {
		return note
	}
	list := strings.Join(names, ", ")
	nobody := "none of " + list + " is here"
	if len(names) == 1 {
		nobody = names[0] + " is not here"
	}
	replacements := []string{(hub.NoteAbsent | hub.NoteNobody).String(), nobody}
	for n := 1; n <= len(names); n++ {
		some, is := hub.AbsentRecipients(n), " is not here"
		if n > 1 {
			is = " are not here"
		}
		text := strconv.Itoa(n) + " of " + list + is
		if n == len(names) {
			text = nobody
		}
		replacements = append(replacements, some.String(), text)
	}
	return strings.NewReplacer(replacements...).Replace(note)
}
