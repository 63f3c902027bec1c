package config

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// jsonSeeds are documents for FuzzJSON, good ones and bad ones.
var jsonSeeds = []string{
	`{}`, ` { } `, `{"a":[],"b":{}}`, `{"a":[1,-2,0.5,1e3,-0,1E-2,0e+1,9223372036854775808],"b":true,"c":false,"d":null}`,
	`{"a":"\"\\\/\b\f\n\r\t\u00e4\ud83d\ude00","ä":"😀"}`, `{"a":"\ud83d","b":"\ud83dx","c":"\ud83d\u0041","d":"\ude00\ud83d\ude00","e":"\ud83d\ud83d\ude00"}`,
	`{"a":"` + "\x7f" + `"}`, "\ufeff{}", "{\t\r\n}", `{"\u0061":1}`,
	``, ` `, `{`, `{"`, `{"a`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `{,}`, `{"a":[1,]}`, `{"a":[,1]}`, `{"a":[1 2]}`, `{"a":[1`, `{"a":]}`,
	`{"a" 1}`, `{a:1}`, `{'a':1}`, `{"a":'b'}`, `{"a":01}`, `{"a":-}`, `{"a":1.}`, `{"a":.5}`, `{"a":1e}`, `{"a":+1}`, `{"a":0x1}`, `{"a":NaN}`,
	`{"a":tru}`, `{"a":truer}`, `{"a":nul`, `{"a":"` + "\n" + `"}`, `{"a":"\x"}`, `{"a":"\u12"}`, `{"a":"\u12g4"}`, `{"a":"\`, `{"a":"\u`, `{"a":"\ud83d\u`, `{"a":"\ud83d\uzzzz"}`,
	`{"a":1}}`, `{"a":1} x`, `{"a":1}{`, `{"a":1} // x`, `{/**/}`, `[1]`, `"a"`, `1`, `null`,
}

// parseJSON takes what encoding/json takes, and finds the same in it.
func FuzzJSON(f *testing.F) {
	for _, s := range jsonSeeds {
		f.Add([]byte(s))
	}
	f.Add([]byte(`{"a":1e999}`))
	f.Add([]byte(`{"a":1,"a":2}`))
	f.Add([]byte(`{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if !utf8.Valid(data) { // a file that is not UTF-8 does not come so far
			return
		}
		root, err := parseJSON(data)
		if err != nil {
			text := err.Error()
			for _, own := range []string{"is there twice", "objects and lists deep", "that fits 64 bits", "want an object"} {
				if strings.Contains(text, own) {
					return
				}
			}
			if json.Valid(data) {
				t.Errorf("%q is refused: %v", data, err)
			}
			return
		}
		var want any
		dec := json.NewDecoder(bytes.NewReader(data))
		dec.UseNumber()
		if err := dec.Decode(&want); err != nil || !json.Valid(data) {
			t.Fatalf("%q is taken; encoding/json: %v", data, err)
		}
		if got := plainJSON(&node{value: root}); !reflect.DeepEqual(got, numbersOf(want)) {
			t.Errorf("%q:\ngot  %#v\nwant %#v", data, got, numbersOf(want))
		}
	})
}

// plainJSON returns a node as encoding/json would.
func plainJSON(n *node) any {
	switch v := n.value.(type) {
	case *table:
		m := make(map[string]any)
		for _, e := range v.entries {
			m[e.key] = plainJSON(e.node)
		}
		return m
	case []*node:
		list := []any{}
		for _, e := range v {
			list = append(list, plainJSON(e))
		}
		return list
	}
	return n.value
}

// numbersOf returns a value in which int64 or else float64 stands for json.Number.
func numbersOf(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key := range v {
			v[key] = numbersOf(v[key])
		}
	case []any:
		for i := range v {
			v[i] = numbersOf(v[i])
		}
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
		f, _ := v.Float64()
		return f
	}
	return v
}

// Each error names the byte that is wrong, and what mends it.
func TestJSONErrors(t *testing.T) {
	for text, want := range map[string]struct {
		at   int
		text string
	}{
		``:                {0, jsonEnds},
		`{"a":"b`:         {6, jsonEnds},
		`{"a":"\u00`:      {9, jsonEnds},
		`{"a":tru`:        {7, jsonEnds},
		`{a:1}`:           {1, "want a key in double quotes"},
		`{,}`:             {1, "want a key in double quotes"},
		`{"a":1,}`:        {7, "a comma before }: remove it"},
		`{"a":[1,]}`:      {8, "a comma before ]: remove it"},
		`{"a":]}`:         {5, jsonNoValue},
		`{"a":yes}`:       {5, jsonNoValue},
		`{"a":1.x}`:       {7, jsonNoValue},
		`{"a" 1}`:         {5, "want : after the key"},
		`{"a":1 "b":2}`:   {7, "want , or } after the value"},
		`{"a":[1 2]}`:     {8, "want , or ] after the value"},
		`{"a":1} }`:       {8, "more after the end of the file's object: remove it"},
		"{\"a\":\"x\n\"}": {7, jsonControl},
		`{"a":"C:\Bin"}`:  {9, jsonEscape},
		`{"a":"\u12g4"}`:  {10, jsonEscape},
		`{"a":1e999}`:     {5, "1e999: not a number that fits 64 bits"},
		`{"a":1,"a":2}`:   {7, `"a" is there twice`},
		` [1]`:            {1, "want an object: { … }"},
	} {
		_, err := parseJSON([]byte(text))
		got, ok := err.(*positionError)
		if !ok || got.at != want.at || got.Error() != want.text {
			t.Errorf("%s:\ngot  %#v %v\nwant %d %s", text, got, err, want.at, want.text)
		}
	}
}
