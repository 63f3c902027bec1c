package main

import (
	"bytes"
	"flag"
	"fmt"
	"html"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what is compared with files into those files")

// The picture in the README is of a real run. Record one, at a terminal 100 columns
// wide, and have the picture made of it:
//
//	script -qec 'make run DURATION=10s' cmd/bester/testdata/demo.typescript
//	go test ./cmd/bester -run Picture -update
func TestDemoPicture(t *testing.T) {
	recording, err := os.ReadFile("testdata/demo.typescript")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "demo.svg", picture(terminalLines(recording)))
}

// golden compares got with a file, or, with -update, writes it.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what it would be now; if this is right: go test ./cmd/bester -update\ngot:\n%s", file, got)
	}
}

// terminalLines returns the lines of a recording by script(1), without what it wrote itself
// and without the lines with which make says what it does.
func terminalLines(recording []byte) []string {
	text := strings.ReplaceAll(string(recording), "\r\n", "\n")
	_, text, _ = strings.Cut(text, "\n")
	text, _, _ = strings.Cut(text, "\nScript done")
	lines := []string{"$ make run DURATION=10s"}
	for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		if !strings.HasPrefix(line, "CGO_ENABLED=0 go build") && !strings.HasPrefix(line, "make[1]: ") && !strings.HasPrefix(line, "bin/bester demo") {
			lines = append(lines, line)
		}
	}
	return lines
}

const (
	charWidth, lineHeight, margin = 7.8, 17, 14
	columns                       = 104
)

// picture draws lines of a terminal as SVG. Each piece of a line is put where its
// column is, so that columns stay in line in any font.
func picture(lines []string) []byte {
	var b bytes.Buffer
	width, height := columns*charWidth+2*margin, len(lines)*lineHeight+2*margin
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%d" role="img" aria-label="A terminal: make run DURATION=10s">
<style>text{font:13px "DejaVu Sans Mono",Menlo,Consolas,monospace;white-space:pre;fill:#d8dee6}.d{fill:#8b96a5}.b{font-weight:bold;fill:#fff}</style>
<rect width="100%%" height="100%%" rx="8" fill="#1d232c"/>
`, width, height)
	for i, line := range lines {
		y, column, class := margin+(i+1)*lineHeight-5, 0, ""
		for j, piece := range strings.Split(line, "\x1b[") {
			if j > 0 {
				var code string
				code, piece, _ = strings.Cut(piece, "m")
				class = map[string]string{"1": ` class="b"`, "2": ` class="d"`}[code]
			}
			column += draw(&b, column, y, class, piece)
		}
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// draw draws the words of a piece, and returns how many columns it takes.
func draw(b *bytes.Buffer, column, y int, class, piece string) int {
	width := len([]rune(piece))
	for len(piece) > 0 {
		word, rest, _ := strings.Cut(piece, "  ")
		if word = strings.TrimRight(word, " "); word != "" {
			indent := len(word) - len(strings.TrimLeft(word, " "))
			fmt.Fprintf(b, `<text x="%.1f" y="%d"%s>%s</text>`+"\n",
				margin+float64(column+indent)*charWidth, y, class, html.EscapeString(word[indent:]))
		}
		column += len([]rune(piece)) - len([]rune(rest))
		piece = rest
	}
	return width
}
