package account

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/besterhub/bester/hub"
)

// noAccounts is the comment that tells a file that is to have no accounts from one that
// was emptied or cut off.
const noAccounts = "# There are no accounts."

// isCutOff reports whether there are no accounts, and neither a comment nor an end line
// says so.
func (d *document) isCutOff() bool {
	return len(d.entries) == 0 && !d.counted && !slices.Contains(d.tail, noAccounts)
}

// The lines between which bester writes a file. One that begins with the first and does not
// end with the second has been cut off. A file without them, as people write it or earlier
// versions did, is read as it is.
const sealed = "# The last line counts the accounts: a file that is cut off is noticed."

// endLine returns the last line of a file with n accounts.
func endLine(n int) string {
	if n == 1 {
		return "# end: 1 account"
	}
	return fmt.Sprintf("# end: %d accounts", n)
}

// parseEndLine returns how many accounts a line says that there are, if it is an endLine.
func parseEndLine(line string) (n int, yes bool) {
	text, yes := strings.CutPrefix(line, "# end: ")
	number, word, _ := strings.Cut(text, " ")
	n, err := strconv.Atoi(number)
	return n, yes && err == nil && (word == "account" || word == "accounts")
}

// seal returns the text of encode with the lines that show that it is whole.
func (d *document) seal() []byte {
	return fmt.Appendf(nil, "%s\n%s%s\n", sealed, d.encode(), endLine(len(d.entries)))
}

// header begins a file that bester creates.
var header = []string{
	"# Who may connect to this hub and what they may do. What is not written is not allowed.",
	`# Kept by "bester account", or by hand: "bester account --help" says more.`,
	"",
}

// encode returns the file's text, which parse reads as d.
func (d *document) encode() []byte {
	var b bytes.Buffer
	for _, e := range d.entries {
		lines(&b, "", e.above)
		line(&b, "account", string(e.name))
		lines(&b, "  ", e.notes)
		line(&b, "  password", e.hash)
		patterns(&b, "  send    ", e.permissions.Send)
		patterns(&b, "  receive ", e.permissions.Receive)
		for _, to := range e.permissions.Reach {
			line(&b, "  reach   ", to.String())
		}
		patterns(&b, "  serve   ", e.permissions.Serve)
		if e.permissions.Peer {
			line(&b, "  peer    ", "yes")
		}
		if e.permissions.Admin {
			line(&b, "  admin   ", "yes")
		}
	}
	lines(&b, "", d.tail)
	return b.Bytes()
}

func lines(b *bytes.Buffer, indent string, list []string) {
	for _, s := range list {
		b.WriteString(indent)
		b.WriteString(s)
		b.WriteByte('\n')
	}
}

func patterns(b *bytes.Buffer, key string, list []hub.Pattern) {
	for _, p := range list {
		line(b, key, string(p))
	}
}

func line(b *bytes.Buffer, key, value string) {
	b.WriteString(key)
	b.WriteByte(' ')
	b.WriteString(Quote(value))
	b.WriteByte('\n')
}

var escape = strings.NewReplacer(`"`, `\"`, `\`, `\\`)

// Quote returns a value as it is written in an accounts file: quoted if it has a space,
// a quotation mark or a backslash in it, else unchanged.
func Quote(s string) string {
	if s != "" && !strings.ContainsAny(s, " \"\\") {
		return s
	}
	return `"` + escape.Replace(s) + `"`
}

// add appends an account, which changes the file least.
func (d *document) add(e *entry) {
	e.above = slices.DeleteFunc(d.tail, func(s string) bool { return s == noAccounts })
	d.tail = nil
	switch {
	case len(d.entries) > 0 && len(e.above) == 0:
		e.above = []string{""}
	case len(d.entries) == 0 && len(e.above) == 0:
		e.above = header
	case e.above[len(e.above)-1] != "":
		e.above = append(e.above, "") // the comment at the end was not meant for this account
	}
	d.entries = append(d.entries, e)
}

// remove removes an account and the comment right above it. Comments above a blank line
// stay.
func (d *document) remove(name hub.UserName) {
	for i, e := range d.entries {
		if e.name != name {
			continue
		}
		keep := e.above
		for len(keep) > 0 && keep[len(keep)-1] != "" {
			keep = keep[:len(keep)-1]
		}
		rest := &d.tail
		if i+1 < len(d.entries) {
			rest = &d.entries[i+1].above
		}
		if len(keep) > 0 && len(*rest) > 0 && (*rest)[0] == "" {
			keep = keep[:len(keep)-1] // one blank line is enough
		}
		*rest = append(keep[:len(keep):len(keep)], *rest...)
		d.entries = append(d.entries[:i], d.entries[i+1:]...)
		for len(d.entries) > 0 && len(d.tail) > 0 && d.tail[len(d.tail)-1] == "" {
			d.tail = d.tail[:len(d.tail)-1] // it stood between two accounts
		}
		if len(d.entries) == 0 && !slices.Contains(d.tail, noAccounts) {
			if len(d.tail) == 0 {
				d.tail = slices.Clone(header)
			}
			d.tail = append(d.tail, noAccounts)
		}
		return
	}
}
