package account

import (
	"strings"
	"testing"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/hubtest"
)

func TestCheckName(t *testing.T) {
	for _, good := range []string{"a", "alice", "Alice", "gärtner", "pi-zero_2.local", "日本", "-x", strings.Repeat("x", MaxName)} {
		if err := CheckName(good); err != nil {
			t.Errorf("CheckName(%q) = %v", good, err)
		}
	}
	bad := []string{"", " ", "\t", " a", "a ", "a b", "a\u00a0b", "a\u2028b", "a\x00", "a\x7f", "a\u009bb", "\xff",
		strings.Repeat("x", MaxName+1), "a@b", "a/b", "a+b", "a#", "*", "a,b", "a:b", `a"b`, `a\b`}
	for _, s := range bad {
		if CheckName(s) == nil {
			t.Errorf("CheckName(%q) = nil, want an error", s)
		}
	}
}

func TestPermissions(t *testing.T) {
	a := newAccount("a", Permissions{
		Send:    []hub.Pattern{"reading/a/#", "alarm/+"},
		Receive: []hub.Pattern{"command/a"},
		Reach:   []hub.Address{{User: "bob"}, {User: "eve", Server: "attic"}, {Server: "cellar"}},
		Serve:   []hub.Pattern{"filter/+", "in/#"},
	})
	all := newAccount("all", Permissions{
		Send:    []hub.Pattern{"x", "#"},
		Receive: []hub.Pattern{"#"},
		Reach:   []hub.Address{Everyone},
		Serve:   []hub.Pattern{"#"},
		Peer:    true,
		Admin:   true,
	})
	none := newAccount("none", Permissions{})
	tests := []struct {
		what      string
		got, want bool
	}{
		{"a sends reading/a/t", a.MaySend("reading/a/t"), true},
		{"a sends reading/a", a.MaySend("reading/a"), true},
		{"a sends reading/ab", a.MaySend("reading/ab"), false},
		{"a sends alarm/x", a.MaySend("alarm/x"), true},
		{"a sends alarm/x/y", a.MaySend("alarm/x/y"), false},
		{"a sends command/a", a.MaySend("command/a"), false},
		{"a receives command/a", a.MayReceive("command/a"), true},
		{"a receives reading/a/t", a.MayReceive("reading/a/t"), false},
		{"a reaches bob", a.MayReach(hub.Address{User: "bob"}), true},
		{"a reaches Bob", a.MayReach(hub.Address{User: "Bob"}), false},
		{"a reaches bob@attic", a.MayReach(hub.Address{User: "bob", Server: "attic"}), false},
		{"a reaches eve@attic", a.MayReach(hub.Address{User: "eve", Server: "attic"}), true},
		{"a reaches eve", a.MayReach(hub.Address{User: "eve"}), false},
		{"a reaches @cellar", a.MayReach(hub.Address{Server: "cellar"}), true},
		{"a reaches *", a.MayReach(Everyone), false},
		{"a serves filter/x", a.MayServe("filter/x"), true},
		{"a serves filter/+", a.MayServe("filter/+"), true},
		{"a serves filter/#", a.MayServe("filter/#"), false},
		{"a serves in/+/x", a.MayServe("in/+/x"), true},
		{"a serves #", a.MayServe("#"), false},
		{"a peers", a.MayPeer(), false},
		{"a is admin", a.IsAdmin(), false},
		{"all sends any", all.MaySend("any/thing"), true},
		{"all receives any", all.MayReceive("any/thing"), true},
		{"all reaches x@y", all.MayReach(hub.Address{User: "x", Server: "y"}), true},
		{"all serves #", all.MayServe("#"), true},
		{"all peers", all.MayPeer(), true},
		{"all is admin", all.IsAdmin(), true},
		{"none sends", none.MaySend("x"), false},
		{"none receives", none.MayReceive("x"), false},
		{"none reaches", none.MayReach(hub.Address{User: "none"}), false},
		{"none serves", none.MayServe("x"), false},
	}
	for _, test := range tests {
		if test.got != test.want {
			t.Errorf("%s: got %v, want %v", test.what, test.got, test.want)
		}
	}
}

func TestPermissionChecksAllocateNothing(t *testing.T) {
	a := newAccount("a", Permissions{
		Send:    []hub.Pattern{"x/+/y", "reading/a/#"},
		Receive: []hub.Pattern{"x/+/y", "reading/a/#"},
		Reach:   []hub.Address{{User: "bob"}, {User: "eve"}},
		Serve:   []hub.Pattern{"filter/+/#"},
	})
	ok := true
	got := testing.AllocsPerRun(100, func() {
		ok = ok && a.MaySend("reading/a/b/c") && a.MayReceive("reading/a/b/c") &&
			a.MayReach(hub.Address{User: "eve"}) && a.MayServe("filter/x/y")
	})
	if got != 0 || !ok {
		t.Errorf("got %v allocations (all allowed: %v), want 0", got, ok)
	}
}

func TestRulesAreWhatMatchSays(t *testing.T) {
	types := hubtest.Combine([]string{"a", "ab", ""}, 4)
	for _, s := range hubtest.Combine([]string{"a", "b", "+", "#", ""}, 3) {
		p, err := hub.ParsePattern(s)
		if err != nil {
			continue
		}
		rules := newRules([]hub.Pattern{p})
		for _, typ := range types {
			if got, want := match(rules, hub.Type(typ)), p.Match(hub.Type(typ)); got != want {
				t.Errorf("rule %q (kind %d) matches %q: %v, want %v", p, rules[0].kind, typ, got, want)
			}
		}
	}
}

func TestPermissionsAreACopy(t *testing.T) {
	permissions := DefaultPermissions()
	s := newStore(t)
	if err := s.Add("a", "secret", permissions); err != nil {
		t.Fatal(err)
	}
	permissions.Send[0] = "x"
	a := s.Lookup("a")
	a.Permissions().Send[0] = "y"
	mine := []hub.Pattern{"z"}
	must(t, s.Allow("a", func(p *Permissions) { p.Receive = mine }))
	mine[0] = "#"
	if s.Lookup("a").Permissions().Receive[0] != "z" {
		t.Error("Allow kept the slice that it was given")
	}
	if !a.MaySend("reading") || a.Permissions().Send[0] != "#" {
		t.Errorf("permissions changed to %v", a.Permissions())
	}
}

func BenchmarkMaySend(b *testing.B) {
	a := newAccount("a", Permissions{Send: []hub.Pattern{"alarm/+", "reading/greenhouse/#"}})
	for b.Loop() {
		if !a.MaySend("reading/greenhouse/bme280") {
			b.Fatal("denied")
		}
	}
}
