package catalog_test

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"github.com/besterhub/bester/handlers/catalog"
)

func TestKindsAreInOrder(t *testing.T) {
	if !slices.IsSortedFunc(catalog.Kinds, func(a, b catalog.Kind) int { return cmp.Compare(a.Name, b.Name) }) {
		t.Error("the table is not in alphabetical order")
	}
	for _, k := range catalog.Kinds {
		if k.Help == "" || k.Name == "" || k.New == nil || len(k.Options) == 0 {
			t.Errorf("%+v: something is missing", k)
		}
		for _, o := range k.Options {
			if o.Help == "" || o.Default == "" {
				t.Errorf("%s: %s: a tag, help or default, is missing at its Options", k.Name, o.Key)
			}
		}
		if _, err := k.New(map[string]any{"no such key": 1}, nil); err == nil {
			t.Errorf("%s: an unknown key is no error", k.Name)
		}
	}
}

// Every option as an operator writes it.
func TestNew(t *testing.T) {
	for name, text := range map[string]string{
		"alarm":    "name = \"temperature\"\nabove = 30\nclear = 28.5\nfor = \"1m\"\nrepeat = \"1h\"\ntype = \"alarm/hot\"\nmemory = \"64 KiB\"",
		"deadband": "band = 0.2\npercent = 5\nmax_age = \"5m\"\nmemory = \"64 KiB\"\n[names.humidity]\npercent = 2\nband = 1\nmax_age = \"1m\"",
		"throttle": "every = \"1m\"\nby = \"name\"\nmemory = \"64 KiB\"",
	} {
		var o map[string]any
		if err := toml.Unmarshal([]byte(text), &o); err != nil {
			t.Fatal(err)
		}
		if h, err := catalog.New(name, o, nil); err != nil || h == nil {
			t.Errorf("%s: got %v, %v", name, h, err)
		}
	}
}

func TestErrors(t *testing.T) {
	type m = map[string]any
	for _, c := range []struct {
		name string
		o    m
		want string
	}{
		{"deadbant", nil, `no filter "deadbant": there are alarm, deadband, throttle`},
		{"deadband", m{"bnd": 1.0}, `deadband: unknown key "bnd": allowed are band, percent, max_age, names, memory`},
		{"deadband", m{"names": m{"humidity": m{"prcent": 1.0}}}, `deadband: unknown key "names.humidity.prcent": allowed are band, percent, max_age`},
		{"throttle", m{"every": int64(10)}, `throttle: every: want a duration in quotes, for example "10s" or "1m30s", not 10`},
		{"throttle", nil, `throttle: every 0s: want a duration such as "10s"`},
		{"alarm", m{"name": "x"}, `alarm: want one limit, above or below; for both, use two filters`},
	} {
		h, err := catalog.New(c.name, c.o, nil)
		if err == nil || err.Error() != c.want {
			t.Errorf("%s %v:\ngot  %v\nwant %s", c.name, c.o, err, c.want)
		}
		if err != nil && h != nil {
			t.Errorf("%s %v: a handler beside an error", c.name, c.o)
		}
	}
}

func ExampleNew() {
	_, err := catalog.New("throttle", map[string]any{"every": "1m", "by": "user"}, nil)
	fmt.Println(err)
	// Output: throttle: by "user": want "type" or "name"
}
