package hub_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/besterhub/bester/"

// An importRule says what the packages of one folder may import besides the standard
// library: packages of this module, and modules from elsewhere by their path.
type importRule struct {
	folder string // "x/*" stands for all folders below x that have no row of their own
	may    string // separated by spaces; "x/*" allows x's sub-folders, "*" everything
	why    string // why nothing else
}

// importRules are the only import directions that are allowed.
var importRules = []importRule{
	{"hub", "",
		"everything points at it; what it imported, everything would"},
	{"hub/bformat", "",
		"frames know nothing of what is in them, and serve any program"},
	{"hub/tristanable", "hub/bformat",
		"tags know nothing of messages, and serve any program"},
	{"hub/asynclog", "",
		"it writes any log"},
	{"hub/lograte", "",
		"it slows down any log"},
	{"hub/backoff", "",
		"whom it makes wait does not matter to it"},
	{"hub/errtext", "",
		"it puts any error into plain words"},
	{"hub/socket", "golang.org/x/sys",
		"who listens on the socket does not matter to it"},
	{"hub/dial", "hub/socket golang.org/x/net golang.org/x/sys",
		"it finds and connects to other machines; what is said there does not matter to it"},
	{"hub/resource", "golang.org/x/sys",
		"what the system allows does not depend on who asks"},
	{"hub/options", "",
		"it reads any table of options"},
	{"hub/spool", "golang.org/x/sys",
		"it keeps bytes on a card and serves any program"},
	{"hub/spool/internal/loopfs", "golang.org/x/sys",
		"file systems to test on; it knows nothing of what is written to them"},
	{"hub/wire", "hub hub/bformat hub/tristanable github.com/tinylib/msgp",
		"it says how a message is written, not who sends it"},
	{"hub/textfile", "",
		"what a file means does not matter to it"},
	{"hub/account", "hub hub/textfile golang.org/x/crypto",
		"who may log in does not depend on the listener"},
	{"hub/config", "hub hub/options hub/socket hub/textfile github.com/pelletier/go-toml/v2 golang.org/x/sys",
		"it mirrors a file; what the file asks for is built by cmd, and kinds are checked by its catalogs"},
	{"hub/session", "hub hub/account hub/bformat hub/lograte hub/socket hub/wire golang.org/x/sys",
		"an endpoint: it meets the others in the router alone"},
	{"hub/link", "hub hub/bformat hub/lograte hub/socket hub/wire golang.org/x/sys",
		"an endpoint: it meets the others in the router alone"},
	{"hub/upstream", "hub hub/bformat hub/dial hub/lograte hub/spool hub/tristanable hub/wire",
		"an endpoint: it meets the others in the router alone"},
	{"hub/informer", "hub hub/bformat hub/lograte hub/wire",
		"an endpoint: it is told by cmd whom to ask"},
	{"hub/client", "hub hub/bformat hub/dial hub/tristanable hub/wire",
		"it is the other end of the wire and runs without a hub"},
	{"hub/hubtest", "hub",
		"every package's tests may use it, so it may use none of them"},
	{"handlers", "hub hub/asynclog hub/backoff hub/bformat hub/errtext hub/lograte hub/options hub/tristanable hub/wire",
		"a handler is a process of its own: it knows the wire, not the hub's ends"},
	{"handlers/catalog", "hub hub/config hub/options handlers handlers/*",
		"the one table of the kinds there are, which checks what a config asks of them"},
	{"handlers/*", "hub hub/options hub/wire handlers handlers/internal/* devices/senml github.com/tinylib/msgp",
		"one kind does not know another, nor where readings come from; a route puts them together"},
	{"devices", "hub hub/lograte devices/senml",
		"a sensor is read and its readings leave through a Sink; where to is the route's"},
	{"devices/senml", "hub github.com/tinylib/msgp",
		"it writes a reading as data"},
	{"devices/devicetest", "hub devices devices/senml",
		"every chip's tests use it"},
	{"devices/catalog", "hub hub/config hub/options devices devices/*",
		"the one table of the kinds there are, which checks what a config asks of them"},
	{"devices/*", "hub hub/options devices devices/senml board golang.org/x/sys",
		"a chip knows its bus and what a reading is, nothing else"},
	{"cmd/internal/*", "* golang.org/x/sys",
		"what the two programs share; a library that only one package needs stays in there"},
	{"cmd/besterd", "* github.com/spf13/cobra golang.org/x/sys",
		"it puts the packages together; a library that only one of them needs stays in there"},
	{"cmd/besterd/*", "",
		"tests of the whole daemon, as a process; they import what they like, the daemon nothing of theirs"},
	{"cmd/bester", "* github.com/spf13/cobra github.com/spf13/pflag golang.org/x/sys golang.org/x/term",
		"it puts the packages together; a library that only one of them needs stays in there"},
}

// forbiddenEdges lists imports that are forbidden even in tests, each with a reason that is easier to
// remember than the rows.
var forbiddenEdges = []struct{ from, to, why string }{
	{"hub/session", "hub/link hub/upstream hub/informer", "endpoints never import each other: only cmd knows two of them"},
	{"hub/link", "hub/session hub/upstream hub/informer", "endpoints never import each other: only cmd knows two of them"},
	{"hub/upstream", "hub/session hub/link hub/informer", "endpoints never import each other: only cmd knows two of them"},
	{"hub/informer", "hub/session hub/link hub/upstream", "endpoints never import each other: only cmd knows two of them"},
	{"handlers", "hub/link hub/session", "a handler must not need the hub in its process"},
	{"hub/config", "handlers/* devices/* devices", "the catalogs read the config's options, not the other way"},
	{"devices/*", "handlers handlers/*", "what becomes of a reading is not the device's affair"},
}

func TestImportDirections(t *testing.T) {
	files := goFiles(t)
	if len(files) < 20 {
		t.Fatalf("found %d files: is this the module's folder?", len(files))
	}
	for _, file := range files {
		from := path.Dir(file.name)
		r := ruleOf(from)
		if r == nil {
			t.Errorf("%s: the package has no row in the table of import rules", file.name)
			continue
		}
		for _, to := range file.imports {
			if to == from {
				continue // a test of the package from outside
			}
			if reason := forbidden(r, to, strings.HasSuffix(file.name, "_test.go")); reason != "" {
				t.Errorf("%s: imports %s: %s", file.name, to, reason)
			}
		}
	}
}

// TestImportRules checks that each rule refuses something.
func TestImportRules(t *testing.T) {
	for _, c := range []struct {
		from, to string
		test, ok bool
	}{
		{"hub", "hub/wire", false, false},
		{"hub", "github.com/tinylib/msgp/msgp", false, false},
		{"hub/wire", "github.com/tinylib/msgp/msgp", false, true},
		{"hub/wire", "hub", false, true},
		{"hub/session", "hub/link", false, false},
		{"hub/session", "hub/link", true, false},
		{"hub/session", "hub/client", true, true},
		{"hub/session", "cmd/besterd", true, false},
		{"handlers/deadband", "handlers/alarm", false, false},
		{"handlers/deadband", "handlers/internal/filter", false, true},
		{"handlers/deadband", "devices/senml", false, true},
		{"handlers/deadband", "devices/system", false, false},
		{"handlers/catalog", "handlers/alarm", false, true},
		{"handlers/catalog", "hub/session", false, false},
		{"devices/system", "devices/senml", false, true},
		{"devices/system", "handlers", false, false},
		{"cmd/besterd", "hub/session", false, true},
		{"cmd/besterd", "github.com/tinylib/msgp/msgp", false, false},
		{"cmd/besterd", "cmd/bester", false, false},
		{"cmd/bester", "cmd/internal/setup", false, true},
		{"hub/config", "cmd/internal/setup", true, false},
	} {
		r := ruleOf(c.from)
		if r == nil {
			t.Fatalf("%s has no row", c.from)
		}
		if reason := forbidden(r, c.to, c.test); (reason == "") != c.ok {
			t.Errorf("%s imports %s (test: %v): got %q, want allowed: %v", c.from, c.to, c.test, reason, c.ok)
		}
	}
	for _, folder := range []string{"hub/nowhere", "web", "cmd/other", "cmd/bester/inner", "hub/wire/inner"} {
		if r := ruleOf(folder); r != nil {
			t.Errorf("%s has a row: %s", folder, r.folder)
		}
	}
}

// ruleOf returns the row of a folder: its own before that of a folder above it.
func ruleOf(folder string) *importRule {
	for i := range importRules {
		if importRules[i].folder == folder {
			return &importRules[i]
		}
	}
	for i := range importRules {
		if strings.HasSuffix(importRules[i].folder, "/*") && covers(importRules[i].folder, folder) {
			return &importRules[i]
		}
	}
	return nil
}

// forbidden returns why a package must not import something, or "" if it may.
func forbidden(r *importRule, to string, test bool) string {
	for _, n := range forbiddenEdges {
		if n.from == r.folder && listed(n.to, to) {
			return n.why
		}
	}
	ours := !strings.Contains(strings.SplitN(to, "/", 2)[0], ".")
	inCmd := strings.HasPrefix(r.folder, "cmd/")
	if ours && strings.HasPrefix(to, "cmd/") && !(inCmd && strings.HasPrefix(to, "cmd/internal/")) {
		return "nothing imports a program"
	}
	switch {
	case test: // a test may play the other end
		return ""
	case ours && slices.Contains(strings.Fields(r.may), "*"):
		return ""
	case listed(r.may, to):
		return ""
	}
	return "it may import " + strings.Join(append([]string{"the standard library"}, strings.Fields(r.may)...), ", ") + "; " + r.why
}

// listed reports whether one of the names covers an import. A module covers its packages.
func listed(names, to string) bool {
	return slices.ContainsFunc(strings.Fields(names), func(name string) bool {
		return covers(name, to) || strings.Contains(name, ".") && covers(name+"/*", to)
	})
}

func covers(name, to string) bool {
	above, all := strings.CutSuffix(name, "/*")
	return to == name || all && strings.HasPrefix(to, above+"/")
}

type goFile struct {
	name    string   // from the module's folder
	imports []string // without the module's path; the standard library left out
}

func goFiles(t *testing.T) []goFile {
	t.Helper()
	var files []goFile
	err := filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || len(d.Name()) > 2 && d.Name()[0] == '.' || otherModule(name)):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(name) != ".go":
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		imports := make(map[string]bool)
		for _, spec := range parsed.Imports {
			to, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if rest, ok := strings.CutPrefix(to, module); ok {
				imports[rest] = true
			} else if strings.Contains(strings.SplitN(to, "/", 2)[0], ".") {
				imports[to] = true
			}
		}
		rel, err := filepath.Rel("..", name)
		if err != nil {
			return err
		}
		files = append(files, goFile{filepath.ToSlash(rel), slices.Sorted(maps.Keys(imports))})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// otherModule reports whether a folder below the module's is a module of its own.
func otherModule(folder string) bool {
	_, err := os.Stat(filepath.Join(folder, "go.mod"))
	return folder != ".." && err == nil
}
