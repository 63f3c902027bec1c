package hub_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"slices"
	"strings"
	"testing"
)

// Every exported name has a doc comment, and that of a function or type begins with its
// name. Fields, methods of interfaces and constants may have theirs on the same line.
func TestDocComments(t *testing.T) {
	declared := 0
	for _, f := range goFiles(t) {
		if strings.HasSuffix(f.name, "_test.go") {
			continue
		}
		missing, n := undocumented(t, path.Join("..", f.name), nil)
		declared += n
		for _, m := range missing {
			t.Errorf("%s", m)
		}
	}
	if declared < 500 {
		t.Errorf("looked at %d exported names only: is this the module's folder?", declared)
	}
}

// Each kind of name without a comment is found, and none that has one.
func TestUndocumented(t *testing.T) {
	const source = `package p

type Bare struct{}

// A Good is documented.
type Good[T any] struct {
	Field int
	// Above has a comment.
	Above, Both int
	Beside      int // so has this
	hidden      int
	Good2       // embedded
}

// Returns, but does not begin with the name.
func (g *Good[T]) Method() {}

func (hidden) Method() {}

func Function() {}

// Documented is.
func Documented() {}

type Interface interface {
	Call()
	Told() // of this
}

const (
	Lone = 1
	Said = 2 // two
)

// Values of a group.
var (
	Grouped int
)
`
	want := []string{
		"p.go:3: Bare has no doc comment",
		"p.go:7: Good.Field has no doc comment",
		`p.go:16: the doc comment of Good.Method does not begin with "Method"`,
		"p.go:20: Function has no doc comment",
		"p.go:25: Interface has no doc comment",
		"p.go:26: Interface.Call has no doc comment",
		"p.go:31: Lone has no doc comment",
	}
	got, n := undocumented(t, "p.go", source)
	if !slices.Equal(got, want) || n != 15 {
		t.Errorf("got %d names and\n%s\nwant 15 and\n%s", n, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// undocumented lists the exported names of a file that have no doc comment, in order, and
// returns how many it has.
func undocumented(t *testing.T, name string, source any) (missing []string, declared int) {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, source, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	report := func(at ast.Node, format string, args ...any) {
		p := files.Position(at.Pos())
		missing = append(missing, fmt.Sprintf("%s:%d: ", strings.TrimPrefix(p.Filename, "../"), p.Line)+fmt.Sprintf(format, args...))
	}
	// check checks names that share their comments; of is the type that they belong to.
	check := func(of string, names []*ast.Ident, first bool, comments ...*ast.CommentGroup) {
		for _, n := range names {
			if !n.IsExported() {
				continue
			}
			declared++
			i := slices.IndexFunc(comments, func(c *ast.CommentGroup) bool { return c != nil })
			switch {
			case i < 0:
				report(n, "%s has no doc comment", of+n.Name)
			case first && !beginsWith(comments[i].Text(), n.Name):
				report(n, "the doc comment of %s does not begin with %q", of+n.Name, n.Name)
			}
		}
	}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			of := ""
			if d.Recv != nil {
				receiver := receiverType(d.Recv.List[0].Type)
				if !ast.IsExported(receiver) {
					continue
				}
				of = receiver + "."
			}
			check(of, []*ast.Ident{d.Name}, true, d.Doc)
		case *ast.GenDecl:
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.ValueSpec:
					check("", s.Names, false, s.Doc, s.Comment, d.Doc)
				case *ast.TypeSpec:
					check("", []*ast.Ident{s.Name}, true, s.Doc, d.Doc)
					if !s.Name.IsExported() {
						continue
					}
					for _, f := range members(s.Type) {
						check(s.Name.Name+".", f.Names, false, f.Doc, f.Comment)
					}
				}
			}
		}
	}
	return missing, declared
}

// beginsWith reports whether a comment begins with the name, after an article if it has one.
func beginsWith(comment, name string) bool {
	words := strings.Fields(comment)
	if len(words) > 1 && slices.Contains([]string{"A", "An", "The"}, words[0]) {
		words = words[1:]
	}
	return len(words) > 0 && strings.TrimRight(words[0], ":,") == name
}

// receiverType returns the name of a receiver's type.
func receiverType(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiverType(e.X)
	case *ast.IndexExpr:
		return receiverType(e.X)
	case *ast.IndexListExpr:
		return receiverType(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// members returns the fields of a struct type, or the methods of an interface type.
func members(e ast.Expr) []*ast.Field {
	switch e := e.(type) {
	case *ast.StructType:
		return e.Fields.List
	case *ast.InterfaceType:
		return e.Methods.List
	}
	return nil
}
