package options_test

import (
	"strings"
	"testing"

	"github.com/besterhub/bester/hub/options"
)

type sized struct {
	Memory options.Bytes `toml:"memory" help:"what it may take" default:"1 MiB"`
}

func TestSizes(t *testing.T) {
	for _, c := range []struct {
		value any
		want  options.Bytes
		err   string
	}{
		{int64(4096), 4096, ""},
		{"4096", 4096, ""},
		{"256 KiB", 256 << 10, ""},
		{"1MiB", 1 << 20, ""},
		{"1 GiB", 1 << 30, ""},
		{int64(-1), 0, `memory: "-1": want a size up to 1 GiB`},
		{"2 GiB", 0, `memory: "2 GiB": want a size up to 1 GiB`},
		{"1 MB", 0, `memory: "1 MB": want a size`},
		{int64(1 << 40), 0, `memory: "1099511627776": want a size`},
		{1.5, 0, `memory: want a size, for example 4096 or "1 MiB", not 1.5`},
		{true, 0, `memory: want a size`},
	} {
		var got sized
		err := options.Decode(map[string]any{"memory": c.value}, &got)
		if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.HasPrefix(err.Error(), c.err)) || got.Memory != c.want {
			t.Errorf("%v: got %v, %v; want %v, %s", c.value, got.Memory, err, c.want, c.err)
		}
	}
	if o := options.List(sized{}); len(o) != 1 || o[0].Type != "size" {
		t.Errorf("got %+v", o)
	}
}
