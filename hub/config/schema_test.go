package config

import (
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// The example, unchanged, is the default, so that an operator can begin with it.
func TestExampleIsTheDefault(t *testing.T) {
	c, err := Parse("example.toml", []byte(Example))
	if err != nil {
		t.Fatal(err)
	}
	same(t, c, Default())
}

// With every setting uncommented, the example has all keys, each with its default. Required
// keys have some value.
func TestExampleHasEveryKeyWithItsDefault(t *testing.T) {
	all := regexp.MustCompile(`(?m)^#([^ \n])`).ReplaceAllString(Example, "$1")
	if _, err := Parse("example.toml", []byte(all)); err != nil {
		t.Fatal(err)
	}
	root, err := parseTOML([]byte(all))
	if err != nil {
		t.Fatal(err)
	}
	required := map[string]bool{"listen.network": true, "listen.address": true, "listen.certificate": true, "listen.key": true,
		"servers.address": true, "handlers.socket": true, "filters.kind": true, "devices.kind": true,
		"route.match": true, "route.through": true, "route.to": true}
	var c, d Config
	d = *newDefaults()
	for i, section := range c.keys() {
		n := root.get(section.name)
		if n == nil {
			t.Errorf("[%s] is missing", section.name)
			continue
		}
		for _, k := range defaults(d.keys()[i]) {
			places := find(n, k.name)
			if len(places) == 0 {
				t.Errorf("%s.%s is missing", section.name, k.name)
				continue
			}
			if required[section.name+"."+k.name] {
				continue
			}
			var w writer
			k.value.write(&w, path{k.name})
			want := strings.TrimSpace(string(w.dst))
			ok := false
			for _, at := range places {
				line, _, _ := strings.Cut(all[at:], "\n")
				value, _, _ := strings.Cut(line, "#")
				ok = ok || strings.TrimSpace(value) == strings.TrimPrefix(want, k.name+" = ")
			}
			if !ok {
				t.Errorf("%s: want the default in the example: %s", section.name, want)
			}
		}
	}
}

// defaults returns a section's keys, holding the defaults.
func defaults(k key) []key {
	var keys []key
	switch v := k.value.(type) {
	case fields:
		keys = v()
	case tables[Listen]:
		l := v.defaults()
		keys = l.keys()
	case tables[Route]:
		r := v.defaults()
		keys = r.keys()
	case named[Server]:
		s := v.defaults()
		keys = s.keys()
	case named[Handler]:
		h := v.defaults()
		keys = h.keys()
	case named[Filter]:
		f := v.defaults()
		keys = f.keys()
	case named[Device]:
		d := v.defaults()
		keys = d.keys()
	}
	return keys
}

// find returns the offsets of a key's values in a section and the sections in it.
func find(n *node, key string) (at []int) {
	switch v := n.value.(type) {
	case *table:
		for _, e := range v.entries {
			if e.key == key {
				at = append(at, e.node.at)
			}
			at = append(at, find(e.node, key)...)
		}
	case []*node:
		for _, e := range v {
			at = append(at, find(e, key)...)
		}
	}
	return at
}

// Every field of Config has a key.
func TestEveryFieldHasAKey(t *testing.T) {
	elsewhere := map[string]string{
		"servers.name": "its table's", "handlers.name": "its table's", "filters.name": "its table's", "devices.name": "its table's",
		"filters.options": "the kind's own", "devices.options": "the kind's own",
		"peers.open": "classic",
	}
	d := newDefaults()
	sections := make(map[string]map[string]bool)
	for _, k := range d.keys() {
		sections[k.name] = make(map[string]bool)
		for _, in := range defaults(k) {
			sections[k.name][in.name] = true
		}
	}
	c := reflect.TypeFor[Config]()
	seen := 0
	for i := range c.NumField() {
		f := c.Field(i)
		if !f.IsExported() {
			continue
		}
		section, typ := snakeCase(f.Name), f.Type
		if section == "routes" {
			section = "route"
		}
		if typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		for j := range typ.NumField() {
			name := snakeCase(typ.Field(j).Name)
			seen++
			if !sections[section][name] && elsewhere[section+"."+name] == "" {
				t.Errorf("%s.%s: no key %s.%s", f.Name, typ.Field(j).Name, section, name)
			}
		}
	}
	if seen < 40 {
		t.Errorf("saw %d fields: does this test still look at the struct?", seen)
	}
}

func snakeCase(name string) string {
	var b strings.Builder
	for i, r := range name {
		if i > 0 && unicode.IsUpper(r) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
