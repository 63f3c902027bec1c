package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/besterhub/bester/handlers"
	"github.com/besterhub/bester/handlers/catalog"
	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/options"
)

// handleCommand runs a built-in handler as a process of its own: the same code as in
// the hub's routes.
func handleCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "handle KIND [flags]",
		Short: "Run a built-in handler as a process of its own",
		Long: `Run a built-in handler as a process that dials in to the hub, with the same code that
runs it in the hub's routes. The kinds are:

` + kindTable() + `
` + deliveryHelp + `

Flags are those of every handler (bester handle KIND --help), and --set KEY=VALUE for
each of the kind's own options: a number, true, false or text, or a list or table as
in JSON.`,
		Example: `  # with [handlers.alarm] in the config, and a route with through = ["alarm"]
  bester handle alarm --set name=board/temperature --set above=70
  # with nothing in the config, for what is sent with bester send --to ann gps/car
  bester handle throttle --types 'gps/#' --set every=5s`,
		DisableFlagParsing: true,
		Annotations:        map[string]string{manMore: kindOptionTables()},
		ValidArgsFunction:  completeHandle,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 || args[0] == "--help" || args[0] == "-h" {
				return cmd.Help()
			}
			if args[0] == "help" {
				return showHelp(cmd, cmd, args[1:])
			}
			kind := args[0]
			if !slices.Contains(kindNames(), kind) {
				return usageError{fmt.Errorf("no handler of kind %q: there are %s", kind, strings.Join(kindNames(), ", "))}
			}
			if os.Getenv("BESTER_SOCKET") == "" { // where the tool itself would look
				os.Setenv("BESTER_SOCKET", localSocket())
			}
			var set settings
			flags := flag.NewFlagSet(kind, flag.ContinueOnError)
			flags.Var(&set, "set", "`KEY=VALUE` of one of its own options; may be given more than once")
			log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)).With("filter", kind)
			p := handlers.Program{
				Name:    kind,
				Call:    cmd.CommandPath() + " " + kind,
				Summary: kindSummary(kind),
				Flags:   flags,
				New:     func() (hub.Handler, error) { return catalog.New(kind, set, log) },
			}
			// A handler's exit codes are those of the tool.
			if code := p.Run(cmd.Context(), args[1:], cmd.OutOrStdout(), cmd.ErrOrStderr()); code != handlers.ExitOK {
				return &exitError{code: code}
			}
			return nil
		},
	}
	return cmd
}

// deliveryHelp says how a handler gets its messages.
const deliveryHelp = `A handler gets messages in one of two ways:

  by a route  the hub's config has [handlers.NAME] and a route with through = ["NAME"];
              what it passes on goes on along the route. NAME is the kind, or what
              --name says
  --types     it serves these types, where no route of the config has them; what it
              passes on goes to whom the sender has named, and for others there must
              be a route`

// completeHandle completes a kind, then flags, and after --set the kind's options.
func completeHandle(_ *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return kindNames(), cobra.ShellCompDirectiveNoFileComp
	}
	prefix := ""
	last := args[len(args)-1]
	if text, ok := strings.CutPrefix(word, "--set="); ok {
		prefix, last, word = "--set=", "--set", text
	}
	switch {
	case last == "--set":
		var all []string
		for _, k := range catalog.Kinds {
			for _, o := range k.Options {
				if k.Name == args[0] && strings.HasPrefix(o.Key, word) {
					all = append(all, prefix+o.Key+"=\t"+o.Help)
				}
			}
		}
		return all, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	case last == "--socket" || last == "--password-file":
		return nil, cobra.ShellCompDirectiveDefault
	case strings.HasPrefix(word, "-"):
		return handlerFlags, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// handlerFlags are the flags of every handler.
var handlerFlags = []string{"--concurrency", "--help", "--name", "--password-file", "--set", "--socket", "--types", "--user", "--version"}

// settings are options given as KEY=VALUE.
type settings map[string]any

func (s *settings) String() string { return "" }

// Set takes one option. A value is a number, true, false, or a string, with or
// without its quotes; lists and tables are written as in JSON.
func (s *settings) Set(text string) error {
	key, value, ok := strings.Cut(text, "=")
	if !ok || key == "" {
		return fmt.Errorf("%q: want KEY=VALUE", text)
	}
	if *s == nil {
		*s = make(settings)
	}
	d := json.NewDecoder(strings.NewReader(value))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil || d.More() {
		v = value
	}
	(*s)[key] = configTypes(v)
	return nil
}

// configTypes converts numbers to the types that a config file gives them.
func configTypes(v any) any {
	switch v := v.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
		f, _ := v.Float64()
		return f
	case []any:
		for i := range v {
			v[i] = configTypes(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = configTypes(v[k])
		}
	}
	return v
}

func kindNames() []string {
	var names []string
	for _, k := range catalog.Kinds {
		names = append(names, k.Name)
	}
	return names
}

func kindSummary(kind string) string {
	for _, k := range catalog.Kinds {
		if k.Name == kind {
			return wrap("It "+k.Help+".", "") + "\n" + deliveryHelp + "\n\nIts own options, each with --set KEY=VALUE:\n\n" + strings.TrimRight(optionTable(k.Options), "\n")
		}
	}
	return ""
}

// optionTable is the options of a kind, for --help and man pages.
func optionTable(all []options.Option) string {
	var rows [][2]string
	for _, o := range all {
		more := " (default " + o.Default + ")"
		if strings.HasSuffix(o.Default, "required") {
			more = " (" + o.Default + ")"
		}
		rows = append(rows, [2]string{o.Key + "=" + strings.ToUpper(o.Type), o.Help + more})
	}
	return table(rows)
}

func kindTable() string {
	var rows [][2]string
	for _, k := range catalog.Kinds {
		rows = append(rows, [2]string{k.Name, k.Help})
	}
	return table(rows)
}

// table writes words and what they mean, in lines that fit a terminal.
func table(rows [][2]string) string {
	width := 0
	for _, row := range rows {
		width = max(width, len(row[0]))
	}
	indent := strings.Repeat(" ", width+4)
	var b strings.Builder
	for _, row := range rows {
		b.WriteString(fmt.Sprintf("  %-*s", width+2, row[0]) + strings.TrimLeft(wrap(row[1], indent), " "))
	}
	return b.String()
}

// wrap breaks a text into lines of at most 86 columns, each with this indent.
func wrap(text, indent string) string {
	var b strings.Builder
	line := indent
	for word := range strings.FieldsSeq(text) {
		if line != indent && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > 86 {
			b.WriteString(line + "\n")
			line = indent
		}
		if line != indent {
			line += " "
		}
		line += word
	}
	return b.String() + line + "\n"
}

// kindOptionTables lists all kinds with their options, for the man page.
func kindOptionTables() string {
	var b strings.Builder
	for _, k := range catalog.Kinds {
		fmt.Fprintf(&b, "\n\nOptions of %s, which %s:\n\n%s", k.Name, k.Help, strings.TrimRight(optionTable(k.Options), "\n"))
	}
	return b.String()
}
