package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// manCommand writes the man pages, from what --help says. It is there for "make man".
func manCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "man FOLDER",
		Short:  "Write the man pages into a folder",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			return manPages(cmd.Root(), args[0])
		},
	}
}

// manPages writes a page for a command and for each of its subcommands, except those
// that only shells and scripts use.
func manPages(cmd *cobra.Command, folder string) error {
	cmd.InitDefaultHelpFlag()
	cmd.InitDefaultVersionFlag()
	if err := os.WriteFile(filepath.Join(folder, manName(cmd)+".1"), manPage(cmd), 0o644); err != nil {
		return err
	}
	for _, c := range manCommands(cmd) {
		if err := manPages(c, folder); err != nil {
			return err
		}
	}
	return nil
}

// manMore is the annotation whose text appears only in the man page of a command.
const manMore = "man"

func manName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

func manCommands(cmd *cobra.Command) (all []*cobra.Command) {
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() && c.Name() != "help" && cmd.Name() != "completion" {
			all = append(all, c)
		}
	}
	return all
}

// manPage writes the page of one command, in the macros of man(7).
func manPage(cmd *cobra.Command) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"Bester\" \"Bester\"\n", strings.ToUpper(roff(manName(cmd))))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(manName(cmd)), roff(cmd.Short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", roff(cmd.UseLine()))
	if len(manCommands(cmd)) > 0 {
		fmt.Fprintf(&b, ".br\n.B %s\n.I command\n", roff(cmd.CommandPath()))
	}
	b.WriteString(".SH DESCRIPTION\n")
	text, exits, _ := strings.Cut(cmd.Long, exitHeading)
	text += cmd.Annotations[manMore]
	for paragraph := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		manText(&b, paragraph)
	}
	if len(manCommands(cmd)) > 0 {
		b.WriteString(".SH COMMANDS\n")
		for _, c := range manCommands(cmd) {
			fmt.Fprintf(&b, ".TP\n.BR %s (1)\n%s\n", roff(manName(c)), roff(c.Short))
		}
	}
	manFlags(&b, "OPTIONS", cmd.NonInheritedFlags())
	manFlags(&b, "MORE OPTIONS", cmd.InheritedFlags())
	if cmd.Example != "" {
		fmt.Fprintf(&b, ".SH EXAMPLES\n.nf\n%s\n.fi\n", roff(cmd.Example))
	}
	b.WriteString(".SH EXIT STATUS\n")
	manText(&b, exits)
	b.WriteString(".SH SEE ALSO\n")
	if cmd.HasParent() {
		fmt.Fprintf(&b, ".BR %s (1),\n", roff(manName(cmd.Parent())))
	}
	b.WriteString(".BR besterd (8)\n")
	return b.Bytes()
}

// manText writes a paragraph. An indented table of words and what they mean becomes a
// list, which the formatter fills. Any other indented paragraph stays as it is.
func manText(b *bytes.Buffer, paragraph string) {
	if !strings.HasPrefix(paragraph, " ") {
		fmt.Fprintf(b, ".PP\n%s\n", roff(paragraph))
		return
	}
	rows := manRows(paragraph)
	if rows == nil {
		fmt.Fprintf(b, ".PP\n.nf\n%s\n.fi\n", roff(paragraph))
		return
	}
	width := 0
	for _, row := range rows {
		width = max(width, len(row[0]))
	}
	for _, row := range rows {
		fmt.Fprintf(b, ".TP %d\n.B %s\n%s\n", min(width, 16)+2, roff(row[0]), roff(row[1]))
	}
}

// manRow is the first line of a row: a word, and after a gap what it means.
var manRow = regexp.MustCompile(`^  (\S+(?: \S+)*) {2,}(\S.*)$`)

// manRows splits a table into words and what they mean, or returns nil. The lines that
// go on with a meaning are indented further than the words.
func manRows(table string) (rows [][2]string) {
	for line := range strings.SplitSeq(table, "\n") {
		if m := manRow.FindStringSubmatch(line); m != nil {
			rows = append(rows, [2]string{m[1], m[2]})
		} else if len(rows) > 0 && strings.HasPrefix(line, "    ") {
			rows[len(rows)-1][1] += "\n" + strings.TrimSpace(line)
		} else {
			return nil
		}
	}
	return rows
}

func manFlags(b *bytes.Buffer, title string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	fmt.Fprintf(b, ".SH %s\n", title)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		fmt.Fprintf(b, ".TP\n.B %s\n", roff(strings.TrimSpace(name+" "+value)))
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" && f.DefValue != "0s" && f.DefValue != "[]" {
			usage += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(b, "%s\n", roff(usage))
	})
}

// roff escapes the characters that the formatter interprets.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
