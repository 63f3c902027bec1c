package catalog_test

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"github.com/besterhub/bester/devices/catalog"
	"github.com/besterhub/bester/devices/devicetest"
)

func TestKindsAreInOrder(t *testing.T) {
	if !slices.IsSortedFunc(catalog.Kinds, func(a, b catalog.Kind) int { return cmp.Compare(a.Name, b.Name) }) {
		t.Error("the table is not in alphabetical order")
	}
	for _, k := range catalog.Kinds {
		if k.Help == "" || k.Name == "" || k.Open == nil {
			t.Errorf("%+v: something is missing", k)
		}
		for _, o := range k.Options {
			if o.Help == "" || o.Default == "" {
				t.Errorf("%s: %s: a tag, help or default, is missing at its Options", k.Name, o.Key)
			}
		}
		if _, err := k.Open(map[string]any{"no such key": 1}); err == nil {
			t.Errorf("%s: an unknown key is no error", k.Name)
		}
	}
}

func TestOpen(t *testing.T) {
	s, err := catalog.Open("system", map[string]any{"mounts": []any{"/"}})
	if err != nil {
		t.Fatal(err)
	}
	devicetest.TestSensor(t, s)
	for want, open := range map[string]func() error{
		`no device of kind "sytem": there are system`: func() error { _, err := catalog.Open("sytem", nil); return err },
		`system: unknown key "mount": allowed are mounts, networks, root`: func() error {
			_, err := catalog.Open("system", map[string]any{"mount": "/"})
			return err
		},
		`system: mounts: "data": want a path that begins with /`: func() error {
			_, err := catalog.Open("system", map[string]any{"mounts": []any{"data"}})
			return err
		},
	} {
		if err := open(); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func ExampleOpen() {
	_, err := catalog.Open("system", map[string]any{"mounts": "/"})
	fmt.Println(err)
	// Output: system: mounts: want a list in [ ], not "/"
}
