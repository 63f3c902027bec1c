package account

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/bcrypt"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/textfile"
)

// SyntaxError says what is wrong in an accounts file, where, and how to fix it.
type SyntaxError struct {
	Path         string // the file
	Line, Column int    // from 1; columns count characters
	Problem      string // one sentence, with the remedy
}

// Error returns the place and the problem, one line.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("account: %s:%d:%d: %s", e.Path, e.Line, e.Column, e.Problem)
}

// A document is a parsed accounts file with its comments.
type document struct {
	entries []*entry // in the file's order
	tail    []string // comments and blank lines after the last account
	counted bool     // the file had an end line, which counts the accounts
}

// An entry is one account in a document.
type entry struct {
	above       []string // comments and blank lines above it
	name        hub.UserName
	notes       []string // comments in it
	hash        string
	permissions Permissions
}

func (d *document) find(name hub.UserName) *entry {
	for _, e := range d.entries {
		if e.name == name {
			return e
		}
	}
	return nil
}

type parser struct {
	doc     document
	names   map[hub.UserName]int // to the line of its account
	pending []string             // comments and blank lines whose account is not known yet
	seen    map[string]bool      // fields of the account that may appear only once
	line    string
	number  int
	sealed  bool // it begins as bester writes it
	end     int  // the line with the number of accounts; 0: there is none
	counted int  // that number
}

// parse reads a whole file. The error is a *SyntaxError without its Path.
func parse(data []byte) (*document, error) {
	p := parser{names: make(map[hub.UserName]int), seen: make(map[string]bool)}
	if len(data) > MaxFile {
		return nil, &SyntaxError{Line: 1, Column: 1, Problem: fmt.Sprintf("the file has over %d bytes", MaxFile)}
	}
	decoded, encodingErr := textfile.Decode(data)
	text := string(decoded)
	if bad, ok := errors.AsType[*textfile.EncodingError](encodingErr); ok {
		before := text[:bad.Offset]
		lineStart := strings.LastIndexByte(before, '\n') + 1
		return nil, &SyntaxError{Line: 1 + strings.Count(before, "\n"), Column: 1 + utf8.RuneCountInString(before[lineStart:]), Problem: bad.Problem}
	}
	for more := text != ""; more; {
		p.line, text, _ = strings.Cut(text, "\n")
		more = text != ""
		p.line = strings.TrimSuffix(p.line, "\r") // as Windows' editors end a line
		p.number++
		if err := p.parseLine(); err != nil {
			return nil, err
		}
	}
	if err := p.endAccount(); err != nil {
		return nil, err
	}
	p.doc.tail, p.doc.counted = p.pending, p.end > 0
	return &p.doc, p.checkEnd()
}

// errorAt returns a *SyntaxError at the given byte of the line.
func (p *parser) errorAt(at int, format string, args ...any) error {
	return &SyntaxError{Line: p.number, Column: 1 + utf8.RuneCountInString(p.line[:at]), Problem: fmt.Sprintf(format, args...)}
}

func (p *parser) parseLine() error {
	body := strings.Trim(p.line, " \t")
	start := len(p.line) - len(strings.TrimLeft(p.line, " \t"))
	if len(body) > MaxLine {
		return p.errorAt(start+MaxLine, "the line has over %d bytes", MaxLine)
	}
	if at, r := findControl(p.line); at >= 0 {
		return p.errorAt(at, "control character %U: remove it", r)
	}
	if body == "" {
		p.pending = append(p.pending, "")
		return nil
	}
	if p.isSeal(body) {
		return nil
	}
	if body[0] == '#' {
		if e := p.current(); e != nil && start > 0 {
			e.notes = append(e.notes, p.comments()...)
			e.notes = append(e.notes, body)
		} else {
			p.pending = append(p.pending, body)
		}
		return nil
	}
	key := body
	if i := strings.IndexAny(body, " \t"); i >= 0 {
		key = body[:i]
	}
	if !slices.Contains(fields, key) {
		return p.errorAt(start, "unknown field %q: want %s", key, strings.Join(fields, ", "))
	}
	value, at, err := p.value(start + len(key))
	if err != nil {
		return err
	}
	return p.field(start, key, at, value)
}

// isSeal reports whether a line is one of those that show whether the file is whole, and
// keeps what it says.
func (p *parser) isSeal(line string) bool {
	if line == sealed {
		p.sealed = true
		return true
	}
	n, yes := parseEndLine(line)
	if yes {
		p.end, p.counted = p.number, n
	}
	return yes
}

// checkEnd checks that the file has the end that it should have.
func (p *parser) checkEnd() error {
	have := len(p.doc.entries)
	switch {
	case p.end > 0 && p.counted != have:
		return &SyntaxError{Line: p.end, Column: 1, Problem: fmt.Sprintf(
			"the file has %d accounts, not %d: put back what is missing, or if it is whole, write %q here", have, p.counted, endLine(have))}
	case p.end == 0 && p.sealed:
		return &SyntaxError{Line: p.number, Column: 1, Problem: fmt.Sprintf(
			"the file is cut off after %d accounts, for its last line is missing: put it back, or if it is whole, add the line %q", have, endLine(have))}
	}
	return nil
}

var fields = []string{"account", "password", "send", "receive", "reach", "serve", "peer", "admin"}

// findControl finds the first character of s that is not allowed in a file.
func findControl(s string) (at int, r rune) {
	for i, r := range s {
		if unicode.IsControl(r) && r != '\t' {
			return i, r
		}
	}
	return -1, 0
}

// current returns the account that is being parsed, or nil before the first.
func (p *parser) current() *entry {
	if len(p.doc.entries) == 0 {
		return nil
	}
	return p.doc.entries[len(p.doc.entries)-1]
}

// comments removes and returns the pending comments, once they are known to belong to an
// account.
func (p *parser) comments() []string {
	c := slices.DeleteFunc(p.pending, func(s string) bool { return s == "" })
	p.pending = nil
	return c
}

// value parses the value that follows the key, and returns where it begins.
func (p *parser) value(at int) (value string, start int, err error) {
	rest := strings.TrimLeft(p.line[at:], " \t")
	start = len(p.line) - len(rest)
	if rest == "" {
		return "", start, p.errorAt(len(strings.TrimRight(p.line, " \t")), "a value is missing")
	}
	if rest[0] != '"' {
		end := strings.IndexAny(rest, " \t")
		if end < 0 {
			end = len(rest)
		}
		if i := strings.IndexAny(rest[:end], `"\`); i >= 0 {
			return "", start, p.errorAt(start+i, `a value with %c in it stands in quotation marks, as \%[1]c`, rest[i])
		}
		return rest[:end], start, p.expectEnd(start + end)
	}
	var b strings.Builder
	for i := 1; i < len(rest); i++ {
		switch c := rest[i]; c {
		case '"':
			return b.String(), start, p.expectEnd(start + i + 1)
		case '\\':
			i++
			if i == len(rest) || rest[i] != '"' && rest[i] != '\\' {
				return "", start, p.errorAt(start+i-1, `only \" and \\ are understood`)
			}
			b.WriteByte(rest[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", start, p.errorAt(start, "the quotation mark is not closed")
}

// expectEnd refuses anything after the value.
func (p *parser) expectEnd(at int) error {
	rest := strings.TrimLeft(p.line[at:], " \t")
	if rest == "" {
		return nil
	}
	return p.errorAt(len(p.line)-len(rest), "more after the value: one value a line; one with spaces stands in quotation marks")
}

// field applies a key and its value, which begin at these bytes of the line.
func (p *parser) field(keyAt int, key string, at int, value string) error {
	if key == "account" {
		return p.beginAccount(at, value)
	}
	e := p.current()
	if e == nil {
		return p.errorAt(keyAt, `%s stands before the first account: begin with a line "account NAME"`, key)
	}
	e.notes = append(e.notes, p.comments()...)
	var err error
	switch key {
	case "password":
		e.hash, err = value, checkHash(value)
	case "send":
		e.permissions.Send, err = appendUnique(e.permissions.Send, value, ParsePattern)
	case "receive":
		e.permissions.Receive, err = appendUnique(e.permissions.Receive, value, ParsePattern)
	case "serve":
		e.permissions.Serve, err = appendUnique(e.permissions.Serve, value, ParsePattern)
	case "reach":
		e.permissions.Reach, err = appendUnique(e.permissions.Reach, value, ParseReach)
	case "peer":
		e.permissions.Peer, err = parseYesNo(value)
	case "admin":
		e.permissions.Admin, err = parseYesNo(value)
	}
	if err != nil {
		return p.errorAt(at, "%s: %s", key, strings.TrimPrefix(err.Error(), "account: "))
	}
	switch key {
	case "password", "peer", "admin":
		if p.seen[key] {
			return p.errorAt(keyAt, "a second %s in account %q: remove one", key, e.name)
		}
		p.seen[key] = true
	}
	return nil
}

// beginAccount begins an account.
func (p *parser) beginAccount(at int, name string) error {
	if err := p.endAccount(); err != nil {
		return err
	}
	if err := CheckName(name); err != nil {
		return p.errorAt(at, "%s", strings.TrimPrefix(err.Error(), "account: "))
	}
	if line := p.names[hub.UserName(name)]; line > 0 {
		return p.errorAt(at, "account %q is in line %d already: remove one", name, line)
	}
	if len(p.doc.entries) == MaxAccounts {
		return p.errorAt(at, "over %d accounts", MaxAccounts)
	}
	p.names[hub.UserName(name)] = p.number
	p.doc.entries = append(p.doc.entries, &entry{above: p.pending, name: hub.UserName(name)})
	p.pending = nil
	clear(p.seen)
	return nil
}

// endAccount checks that the account before this line is complete.
func (p *parser) endAccount() error {
	e := p.current()
	if e == nil || e.hash != "" {
		return nil
	}
	return &SyntaxError{Line: p.names[e.name], Column: 1, Problem: fmt.Sprintf(
		`account %q has no password line: remove the account and make it anew with "bester account add"`, e.name)}
}

// appendUnique parses s and appends the value to a list without duplicates.
func appendUnique[T comparable](list []T, s string, parse func(string) (T, error)) ([]T, error) {
	v, err := parse(s)
	switch {
	case err != nil:
		return nil, err
	case slices.Contains(list, v):
		return nil, fmt.Errorf("%q is given twice: remove one", s)
	case len(list) == MaxValues:
		return nil, fmt.Errorf("over %d values in one account", MaxValues)
	}
	return append(list, v), nil
}

func parseYesNo(s string) (bool, error) {
	if s != "yes" && s != "no" {
		return false, fmt.Errorf("%q: want yes or no", s)
	}
	return s == "yes", nil
}

// maxCost is the highest cost of a hash that is accepted: at 16 a login takes
// seconds on a fast machine, and each more doubles that.
const maxCost = 16

// checkHash accepts what bcrypt makes: $2a$, the cost in two digits, $, and 53
// characters of its base64.
func checkHash(s string) error {
	const remedy = `want a bcrypt hash, set by "bester account passwd NAME"`
	if len(s) != 60 || s[0] != '$' || s[1] != '2' || !strings.Contains("aby", s[2:3]) || s[3] != '$' || s[6] != '$' {
		return errors.New("not a hash: " + remedy)
	}
	for _, c := range []byte(s[7:]) {
		if c != '.' && c != '/' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return errors.New("not a hash: " + remedy)
		}
	}
	cost, err := strconv.ParseUint(s[4:6], 10, 8)
	if err != nil || cost < uint64(bcrypt.MinCost) || cost > maxCost {
		return fmt.Errorf("hash of cost %q: %d to %d are allowed: %s", s[4:6], bcrypt.MinCost, maxCost, remedy)
	}
	return nil
}
