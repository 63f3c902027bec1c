package account

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/besterhub/bester/hub"
)

func TestChangesSurviveAReload(t *testing.T) {
	s := newStore(t)
	may := Permissions{
		Send:    []hub.Pattern{"a type with spaces", `quo"te\`, "reading/+/#"},
		Receive: []hub.Pattern{"#"},
		Reach:   []hub.Address{{User: "zoe"}, {User: "x", Server: "h:1"}, {Server: "h:1"}},
		Serve:   []hub.Pattern{"f/+"},
		Peer:    true,
		Admin:   true,
	}
	must(t, s.Add("zoe", "secret", may))
	must(t, s.Add("ann", "secret", DefaultPermissions()))
	must(t, s.Add("Bob", "secret", Permissions{}))
	must(t, s.Allow("ann", func(p *Permissions) { p.Send = []hub.Pattern{"x"}; p.Admin = true }))
	must(t, s.Remove("Bob"))

	fresh, err := Open(s.Path(), Options{})
	must(t, err)
	for _, s := range []*Store{s, fresh} {
		list := s.List()
		if len(list) != 2 || list[0].Name() != "ann" || list[1].Name() != "zoe" {
			t.Fatalf("got %v, want ann and zoe", list)
		}
		if got := list[1].Permissions(); !reflect.DeepEqual(got, may) {
			t.Errorf("zoe: got %+v, want %+v", got, may)
		}
		want := DefaultPermissions()
		want.Send, want.Admin = []hub.Pattern{"x"}, true
		if got := list[0].Permissions(); !reflect.DeepEqual(got, want) {
			t.Errorf("ann: got %+v, want %+v", got, want)
		}
	}
}

func TestChangesRefused(t *testing.T) {
	s := newStore(t)
	must(t, s.Add("a", "secret", DefaultPermissions()))
	before := readFile(t, s.Path())
	many := make([]hub.Pattern, MaxValues+1)
	for i := range many {
		many[i] = hub.Pattern(fmt.Sprint(i))
	}
	send := func(p ...hub.Pattern) func(*Permissions) { return func(may *Permissions) { may.Send = p } }
	reach := func(a ...hub.Address) func(*Permissions) { return func(may *Permissions) { may.Reach = a } }
	errs := map[string]error{
		"same name":       s.Add("a", "x", DefaultPermissions()),
		"bad name":        s.Add("a b", "x", DefaultPermissions()),
		"add bad":         s.Add("b", "x", Permissions{Serve: []hub.Pattern{"#/x"}}),
		"pattern":         s.Allow("a", send("a#")),
		"tab":             s.Allow("a", send("a\tb")),
		"c1":              s.Allow("a", send("a\u009bb")),
		"twice":           s.Allow("a", send("x", "x")),
		"many":            s.Allow("a", send(many...)),
		"reach":           s.Allow("a", reach(hub.Address{User: "a b"})),
		"reach nobody":    s.Allow("a", reach(hub.Address{})),
		"reach server":    s.Allow("a", reach(hub.Address{Server: "a b"})),
		"reach at":        s.Allow("a", reach(hub.Address{User: "a@b"})),
		"allow unknown":   s.Allow("b", send("x")),
		"remove unknown":  s.Remove("b"),
		"passwd unknown":  s.SetPassword("b", "x"),
		"passwd wrong":    s.ChangePassword(t.Context(), "a", "wrong", "x"),
		"passwd, no such": s.ChangePassword(t.Context(), "b", "secret", "x"),
	}
	for what, err := range errs {
		var want error
		switch {
		case what == "same name":
			want = ErrExists
		case strings.HasSuffix(what, "unknown"):
			want = ErrUnknown
		case strings.HasPrefix(what, "passwd"):
			want = ErrDenied
		}
		if err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: got %v, want an error %v", what, err, want)
		}
	}
	if got := readFile(t, s.Path()); !bytes.Equal(got, before) {
		t.Errorf("the file was changed to\n%s", got)
	}
	if p := s.Lookup("a").Permissions(); !reflect.DeepEqual(p, DefaultPermissions()) {
		t.Errorf("permissions were changed to %v", p)
	}
}

func TestChangePassword(t *testing.T) {
	s := newStore(t)
	must(t, s.Add("a", "old", DefaultPermissions()))
	must(t, s.ChangePassword(t.Context(), "a", "old", "new"))
	tryLogin(t, s, "a", "old", ErrDenied, 1)
	tryLogin(t, s, "a", "new", nil, 1)

	// Of two changes with the old password, the second fails, also from another process.
	other := createStore(t, s.Path(), Options{})
	must(t, s.ChangePassword(t.Context(), "a", "new", "mine"))
	if err := other.ChangePassword(t.Context(), "a", "new", "theirs"); err != ErrDenied {
		t.Errorf("got %v, want ErrDenied", err)
	}
	must(t, other.Reload())
	tryLogin(t, other, "a", "mine", nil, 1)
}

func TestDamageIsRefusedWholeAndTheOldTableStays(t *testing.T) {
	s := newStore(t)
	must(t, s.Add("a", "secret", DefaultPermissions()))
	data := readFile(t, s.Path())
	damaged := bytes.Replace(data, []byte("  send"), []byte("  sned"), 1)
	must(t, os.WriteFile(s.Path(), damaged, 0o600))
	line := 1 + bytes.Count(damaged[:bytes.Index(damaged, []byte("sned"))], []byte("\n"))

	want := fmt.Sprintf("account: %s:%d:3: unknown field \"sned\"", s.Path(), line)
	_, openErr := Open(s.Path(), Options{})
	for what, err := range map[string]error{"Reload": s.Reload(), "Remove": s.Remove("a"), "Open": openErr} {
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", what, err, want)
		}
	}
	if !bytes.Equal(readFile(t, s.Path()), damaged) {
		t.Error("the damaged file was written to")
	}
	tryLogin(t, s, "a", "secret", nil, 1)

	must(t, os.Remove(s.Path()))
	if err := s.Reload(); err == nil || s.Lookup("a") == nil {
		t.Errorf("file gone: got %v, account %v, want an error and the old account", err, s.Lookup("a"))
	}
}

func TestAccountIsOfItsMoment(t *testing.T) {
	s := newStore(t)
	must(t, s.Add("a", "secret", DefaultPermissions()))
	a := s.Lookup("a")
	must(t, s.Allow("a", func(p *Permissions) { p.Send = nil }))
	if !a.MaySend("x") || s.Lookup("a").MaySend("x") {
		t.Error("want the old Account unchanged and the new one changed")
	}
	must(t, s.Remove("a"))
	if s.Lookup("a") != nil {
		t.Error("Lookup finds an account that was removed")
	}
}

// A file that another program has emptied or cut off before its first account, as a full
// disk or a failed copy does, logs nobody out; a file whose last account was removed does.
func TestEmptiedFile(t *testing.T) {
	s := newStore(t)
	must(t, s.Add("ann", "secret", DefaultPermissions()))
	whole, err := os.ReadFile(s.Path())
	must(t, err)
	cuts := []string{"", "\n", " \r\n\t\n", "#"}
	for i := range strings.Index(string(whole), "\naccount") + 1 {
		cuts = append(cuts, string(whole[:i]))
	}
	for _, text := range cuts {
		must(t, os.WriteFile(s.Path(), []byte(text), 0o600))
		if err := s.Reload(); err == nil || !strings.Contains(err.Error(), "has lost all its accounts") && !strings.Contains(err.Error(), "is cut off after 0 accounts") {
			t.Errorf("%q: got %v", text, err)
		}
		if s.Lookup("ann") == nil {
			t.Fatalf("%q: the account is gone", text)
		}
	}
	// Where the last account is removed by hand, the file says so.
	must(t, os.WriteFile(s.Path(), []byte(noAccounts+"\n"), 0o600))
	must(t, s.Reload())
	if s.Lookup("ann") != nil {
		t.Error("the account is still there")
	}
	// And so it does where a program removes it, also from a file without comments.
	for _, text := range []string{string(whole), string(whole)[strings.Index(string(whole), "\naccount")+1:]} {
		must(t, os.WriteFile(s.Path(), []byte(text), 0o600))
		must(t, s.Reload())
		other, err := Open(s.Path(), Options{Cost: 4})
		must(t, err)
		must(t, other.Remove("ann"))
		must(t, s.Reload())
		if len(s.List()) != 0 {
			t.Error("the account is still there")
		}
		if got := string(readFile(t, s.Path())); !strings.Contains(got, noAccounts+"\n") {
			t.Errorf("the file does not say that it has no accounts:\n%s", got)
		}
		must(t, s.Add("ann", "secret", DefaultPermissions()))
		if got := string(readFile(t, s.Path())); strings.Contains(got, noAccounts) {
			t.Errorf("the file says that it has no accounts:\n%s", got)
		}
	}
}

// A file without accounts is known from one that has lost them.
func TestEmptied(t *testing.T) {
	for text, want := range map[string]bool{
		"": true, "\n": true, "# anything\n": true,
		noAccounts + "\n": false, "# end: 0 accounts\n": false, sealed + "\n# end: 0 accounts\n": false,
		"account a\n  password " + hashOfX + "\n": false,
	} {
		path := filepath.Join(t.TempDir(), "accounts")
		must(t, os.WriteFile(path, []byte(text), 0o600))
		s, err := Open(path, Options{Cost: 4})
		must(t, err)
		if got := s.Emptied(); got != want {
			t.Errorf("%q: emptied: %v, want %v", text, got, want)
		}
		must(t, s.Add("b", "secret", DefaultPermissions()))
		if s.Emptied() {
			t.Errorf("%q: emptied, with an account", text)
		}
		must(t, s.Remove("b"))
		if s.Emptied() {
			t.Errorf("%q: emptied, after the account was removed", text)
		}
	}
}

// A link that leads nowhere is no file that is yet to be made.
func TestDanglingLink(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts")
	must(t, os.Symlink(path+".gone", path))
	for _, open := range []func(string, Options) (*Store, error){Open, Create} {
		_, err := open(path, Options{})
		if err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "a link to "+path+".gone, which is not there") {
			t.Errorf("got %v", err)
		}
	}
}

// A file that bester has written is taken only whole, wherever it is cut: also between two
// accounts, and by a hub that starts and knows no other.
func TestCutFile(t *testing.T) {
	s := newStore(t)
	for _, name := range []hub.UserName{"ann", "bob", "eve"} {
		must(t, s.Add(name, "secret", DefaultPermissions()))
	}
	whole := readFile(t, s.Path())
	for i := range len(whole) - 2 { // without the plural's s and the end of the last line it says the same
		must(t, os.WriteFile(s.Path(), whole[:i], 0o600))
		if err := s.Reload(); err == nil {
			t.Errorf("cut after %d bytes of %d: taken, with %d accounts", i, len(whole), len(s.List()))
		}
		if len(s.List()) != 3 {
			t.Fatalf("cut after %d bytes: %d accounts", i, len(s.List()))
		}
	}

	// What people write by hand is taken, or they are told what to write.
	text := string(whole)
	third := strings.Index(text, "\naccount eve")
	without := text[:third]
	for _, c := range []struct {
		text string
		want string // of the error; "": none
	}{
		{text, ""},
		{without, `is cut off after 2 accounts, for its last line is missing: put it back, or if it is whole, add the line "# end: 2 accounts"`},
		{without + "\n# end: 3 accounts\n", `the file has 2 accounts, not 3: put back what is missing, or if it is whole, write "# end: 2 accounts" here`},
		{without + "\n# end: 2 accounts\n\n", ""},
		{strings.TrimPrefix(without, sealed+"\n"), ""}, // as it was always written
	} {
		must(t, os.WriteFile(s.Path(), []byte(c.text), 0o600))
		_, err := Open(s.Path(), Options{Cost: 4})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s\ngot %v, want %q", c.text, err, c.want)
		}
	}
	must(t, os.WriteFile(s.Path(), []byte(strings.TrimPrefix(without, sealed+"\n")), 0o600))
	must(t, s.Reload())
	must(t, s.Remove("bob"))
	if got := string(readFile(t, s.Path())); !strings.HasPrefix(got, sealed+"\n") || !strings.HasSuffix(got, "\n# end: 1 account\n") || strings.Count(got, "# end") != 1 {
		t.Errorf("the file is now\n%s", got)
	}
}
