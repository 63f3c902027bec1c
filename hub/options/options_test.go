package options_test

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/besterhub/bester/hub/options"
)

type word string

type inner struct {
	Band float64 `toml:"band"`
}

type all struct {
	Text    string           `toml:"text"`
	Word    word             `toml:"word"`
	Flag    bool             `toml:"flag"`
	Small   int8             `toml:"small"`
	Int     int              `toml:"int"`
	Float   float64          `toml:"float"`
	Every   time.Duration    `toml:"every,omitempty"`
	Limit   *float64         `toml:"limit"`
	Words   []word           `toml:"words"`
	Inner   inner            `toml:"inner"`
	Inners  []inner          `toml:"inners"`
	Names   map[string]inner `toml:"names"`
	Program func()
	Hidden  string `toml:"-"`
}

// What a TOML decoder leaves is what Decode takes.
func TestDecode(t *testing.T) {
	var o map[string]any
	err := toml.Unmarshal([]byte(`
text = "a"
word = "b"
flag = true
small = -128
int = 7
float = 3
every = "1m30s"
limit = 0.0
words = ["x", "y"]
inner = {band = 0.5}
inners = [{band = 1}, {}]
[names.temperature]
band = 2.5
`), &o)
	if err != nil {
		t.Fatal(err)
	}
	got := all{Hidden: "stays"}
	if err := options.Decode(o, &got); err != nil {
		t.Fatal(err)
	}
	zero := 0.0
	want := all{Text: "a", Word: "b", Flag: true, Small: -128, Int: 7, Float: 3, Every: 90 * time.Second, Limit: &zero,
		Words: []word{"x", "y"}, Inner: inner{0.5}, Inners: []inner{{1}, {}}, Names: map[string]inner{"temperature": {2.5}}, Hidden: "stays"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestErrors(t *testing.T) {
	type m = map[string]any
	for _, c := range []struct {
		o    m
		want string
	}{
		{m{"bnd": 1}, `unknown key "bnd": allowed are text, word, flag, small, int, float, every, limit, words, inner, inners, names`},
		{m{"Hidden": "x"}, `unknown key "Hidden"`},
		{m{"Program": "x"}, `unknown key "Program"`},
		{m{"names": m{"t": m{"bandd": 1.0}}}, `unknown key "names.t.bandd": allowed are band`},
		{m{"text": int64(1)}, `text: want a string, not 1`},
		{m{"flag": "yes"}, `flag: want true or false, not "yes"`},
		{m{"small": int64(128)}, `small: want a whole number, not 128`},
		{m{"int": 1.5}, `int: want a whole number, not 1.5`},
		{m{"float": "1"}, `float: want a number, not "1"`},
		{m{"float": math.NaN()}, `float: want a finite number`},
		{m{"limit": math.Inf(1)}, `limit: want a finite number`},
		{m{"every": int64(10)}, `every: want a duration in quotes, for example "10s" or "1m30s", not 10`},
		{m{"every": "10"}, `every: want a duration, for example "10s" or "1m30s", not "10"`},
		{m{"every": "-10s"}, `every: want a duration`},
		{m{"words": "x"}, `words: want a list in [ ], not "x"`},
		{m{"words": []any{"x", true}}, `words[1]: want a string, not true`},
		{m{"inner": []any{}}, `inner: want a table, not a list`},
		{m{"text": m{}}, `text: want a string, not a table`},
		{m{"names": 1.5}, `names: want a table, not 1.5`},
		{m{"inners": []any{m{"x": 1}}}, `unknown key "inners[0].x": allowed are band`},
	} {
		err := options.Decode(c.o, new(all))
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%v:\ngot  %v\nwant %v", c.o, err, c.want)
		}
	}
	if err := options.Decode(m{"x": 1}, &struct{}{}); err == nil || err.Error() != `unknown key "x": none are allowed here` {
		t.Errorf("got %v", err)
	}
}

func ExampleList() {
	var o struct {
		Every time.Duration `toml:"every" help:"the interval" default:"required"`
		Names []string      `toml:"names" help:"what is read" default:"all"`
		Limit *float64      `toml:"limit"`
		Now   func()        `toml:"-"`
	}
	for _, o := range options.List(o) {
		fmt.Printf("%+v\n", o)
	}
	// Output:
	// {Key:every Type:duration Help:the interval Default:required}
	// {Key:names Type:list Help:what is read Default:all}
	// {Key:limit Type:number Help: Default:}
}

func ExampleDecode() {
	var o struct {
		Every time.Duration `toml:"every"`
		By    string        `toml:"by"`
	}
	fmt.Println(options.Decode(map[string]any{"every": "1m", "by": "name"}, &o), o.Every, o.By)
	fmt.Println(options.Decode(map[string]any{"evry": "1m"}, &o))
	// Output:
	// <nil> 1m0s name
	// unknown key "evry": allowed are every, by
}
