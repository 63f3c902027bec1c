package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Who follows the advice to allow an account more must not take from it what it has.
func TestAdviceAddsPermissions(t *testing.T) {
	replaces := regexp.MustCompile(`account allow (NAME\s+)?--(send|receive|reach|serve)`)
	adds := 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == "bin" {
			return filepath.SkipDir // built, perhaps of another version
		}
		if err != nil || d.IsDir() || strings.HasSuffix(path, "_test.go") {
			return err
		}
		switch filepath.Ext(path) {
		case ".go", ".md", ".toml", ".1", ".8":
		default:
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		plain := strings.ReplaceAll(string(text), `\-`, "-") // as man pages write it
		for _, found := range replaces.FindAllString(plain, -1) {
			t.Errorf("%s: %q replaces the list: want --add before it", path, found)
		}
		adds += strings.Count(plain, "account allow --add")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if adds == 0 {
		t.Error("no advice was found")
	}
}
