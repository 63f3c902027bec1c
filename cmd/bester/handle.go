package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

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

` + kinds() + `
Flags are those of every handler (bester handle KIND --help), and --set KEY=VALUE for
each of the kind's own options: a number, true, false or text, or a list or table as
in JSON.`,
		Example: `  bester handle alarm --types 'reading/#' --set name=board/temperature --set above=70
  bester handle throttle --types 'gps/#' --set every=5s`,
		DisableFlagParsing: true,
		Annotations:        map[string]string{manMore: kindTables()},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return kindNames(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 || args[0] == "--help" || args[0] == "-h" {
				return cmd.Help()
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
			p := handlers.Program{
				Name:    kind,
				Call:    cmd.CommandPath() + " " + kind,
				Summary: summary(kind),
				Flags:   flags,
				New:     func() (hub.Handler, error) { return catalog.New(kind, set) },
			}
			// A handler's exit codes are those of the tool.
			if code := p.Run(cmd.Context(), args[1:], cmd.OutOrStdout(), cmd.ErrOrStderr()); code != handlers.ExitOK {
				return &exit{code: code}
			}
			return nil
		},
	}
	return cmd
}

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
	(*s)[key] = typed(v)
	return nil
}

// typed gives numbers the types that a config file's have.
func typed(v any) any {
	switch v := v.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
		f, _ := v.Float64()
		return f
	case []any:
		for i := range v {
			v[i] = typed(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = typed(v[k])
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

func summary(kind string) string {
	for _, k := range catalog.Kinds {
		if k.Name == kind {
			return "It " + k.Help + ".\n\nIts own options, each with --set KEY=VALUE:\n\n" + strings.TrimRight(optionTable(k.Options), "\n")
		}
	}
	return ""
}

// optionTable is the options of a kind, for --help and man pages.
func optionTable(all []options.Option) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	for _, o := range all {
		more := " (default " + o.Default + ")"
		if strings.HasSuffix(o.Default, "required") {
			more = " (" + o.Default + ")"
		}
		fmt.Fprintf(w, "  %s\t%s\t%s%s\n", o.Key, o.Type, o.Help, more)
	}
	w.Flush()
	return b.String()
}

func kinds() string {
	var b strings.Builder
	for _, k := range catalog.Kinds {
		fmt.Fprintf(&b, "  %-10s %s\n", k.Name, k.Help)
	}
	return b.String()
}

// kindTables is all kinds with their options, for the man page, which nobody can ask
// for more.
func kindTables() string {
	var b strings.Builder
	for _, k := range catalog.Kinds {
		fmt.Fprintf(&b, "\n\nOptions of %s, which %s:\n\n%s", k.Name, k.Help, strings.TrimRight(optionTable(k.Options), "\n"))
	}
	return b.String()
}
