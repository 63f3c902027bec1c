package setup_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/besterhub/bester/cmd/internal/setup"
	"github.com/besterhub/bester/hub/config"
)

// A filter that has to see every value, behind one that holds some back, is pointed at,
// whether it is in the hub or a process of its own.
func TestMisplacedFilters(t *testing.T) {
	const filters = `
[[listen]]
network = "unix"
address = "/tmp/x"
trust = true
[handlers.process]
types = ["a"]
command = ["/usr/bin/bester", "handle", "alarm", "--set", "name=t", "--set", "above=1"]
[handlers.slow]
types = ["b"]
command = ["bester", "handle", "throttle", "--set", "every=1m"]
[handlers.other]
types = ["c"]
command = ["/usr/bin/other", "handle", "alarm"]
[filters.hot]
kind = "alarm"
name = "t"
above = 1
[filters.cold]
kind = "alarm"
name = "t"
below = 0
[filters.changes]
kind = "deadband"
[filters.some]
kind = "throttle"
every = "1m"
[[route]]
match = "reading/#"
through = `
	line := strings.Count(filters, "\n") + 1
	for through, want := range map[string][]string{
		`["hot", "changes"]`:             nil,
		`["changes", "some"]`:            nil,
		`["hot", "cold", "process"]`:     nil,
		`["changes", "other"]`:           nil,
		`["changes", "hot"]`:             {`23: "hot" (alarm) does not see what "changes" (deadband) before it holds back: name "hot" before "changes"`},
		`["some", "changes", "hot"]`:     {`31: "hot" (alarm) does not see what "some" (throttle) before it holds back: name "hot" before "some"`},
		`["slow", "process"]`:            {`20: "process" (alarm) does not see what "slow" (throttle) before it holds back: name "process" before "slow"`},
		`["hot", "changes", "cold"]`:     {`30: "cold" (alarm) does not see what "changes" (deadband) before it holds back: name "cold" before "changes"`},
		`["changes", "cold", "hot"]`:     {`23: "cold" (alarm)`, `31: "hot" (alarm)`},
		`["hot", "other", "changes"]`:    nil,
		`["some", "other", "process"  ]`: {`29: "process" (alarm)`},
	} {
		c, err := setup.Parse("bester.toml", []byte(filters+through+"\nto = [\"ann\"]\n"))
		if err != nil {
			t.Fatal(err)
		}
		problems := setup.MisplacedFilters(c)
		if len(problems) != len(want) {
			t.Errorf("%s: got %v, want %q", through, problems, want)
			continue
		}
		for i, p := range problems {
			if got := fmt.Sprintf("%d: %s", p.Column, p.Text); p.Line != line || p.File != "bester.toml" || p.Key != "route.through" || !strings.HasPrefix(got, want[i]) {
				t.Errorf("%s: got %s:%d %s %s, want line %d, %s", through, p.File, p.Line, p.Key, got, line, want[i])
			}
		}
	}
}

// What is wrong with an option is pointed at by its own line and column.
func TestProblemsOfOptions(t *testing.T) {
	for option, want := range map[string]string{
		"above = 1\nmemory = \"1 KiB\"": "x.toml:5:10: filters.f.memory: alarm: memory 1 KiB: want 4 KiB or more",
		"above = 1\nmemory = \"x\"":     `x.toml:5:10: filters.f.memory: alarm: memory: "x": want a size`,
		"above = 1\nclear = 2":          "x.toml:5:9: filters.f.clear: alarm: clear 2 is beyond the limit 1",
		"above = 1\nfor = \"1\"":        `x.toml:5:7: filters.f.for: alarm: for: want a duration`,
	} {
		_, err := setup.Parse("x.toml", []byte("[filters.f]\nkind = \"alarm\"\nname = \"t\"\n"+option+"\n"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", option, err, want)
		}
	}
}

// No example that operators start from has a misplaced filter.
func TestExamplesStarveNoFilter(t *testing.T) {
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, board, _ := strings.Cut(string(readme), "# a route with two filters: board.toml\n")
	board, _, _ = strings.Cut(board, "```")
	demo, err := os.ReadFile("../../bester/demo.toml")
	if err != nil {
		t.Fatal(err)
	}
	demoText := strings.NewReplacer("{{socket}}", "/tmp/x", "{{folder}}", "/tmp", "{{bester}}", "bester", `address = "/tmp/x"`, "address = \"/tmp/x\"\ntrust = true").Replace(string(demo))
	demoText = strings.Replace(demoText, `"{{socket}}"`, `"/tmp/x"`, 1)
	for name, text := range map[string]string{"README.md": board, "demo.toml": demoText, "example.toml": config.Example} {
		c, err := setup.Parse(name, []byte(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if name != "example.toml" && len(c.Routes) != 2 {
			t.Errorf("%s: %d routes, want 2", name, len(c.Routes))
		}
		for _, p := range setup.MisplacedFilters(c) {
			t.Error(p.Error())
		}
	}
}
