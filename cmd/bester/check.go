package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/besterhub/bester/cmd/internal/setup"
	"github.com/besterhub/bester/hub/config"
)

func checkCommand() *cobra.Command {
	var c checkOptions
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Say what is wrong with a config",
		Long: `Read a config, bester.toml or the original's server.conf, as besterd would, and say
what is wrong with it: file, line, column, the key, and what is allowed. It fails if
besterd would not start with it, here and as you.

So a config that is right in itself is also held against this machine: its certificates
and keys must be readable and belong together, its accounts file be closed to others,
the folders and groups of its sockets be there or such as can be made, and its addresses
be this machine's. Whether another program has a port already is not looked at. For a
file that is for another machine, or for besterd under another user, say --elsewhere:
then only the file counts.

A warning is what besterd starts with all the same: a certificate that has run out or is
about to, a key that everybody may read, an accounts file without accounts, a handler
whose program or socket's folder is not there, a server.conf without handlers, a filter
that is in no route or does not see what another before it holds back. It fails for those only with --strict.

With --json it writes a list with an object for each problem, empty if all is good:

  file     the file
  line     from 1
  column   from 1, in bytes
  key      such as session.full; empty if the file cannot be read that far
  text     what is wrong, and what is allowed or mends it
  warning  true or false`,
		Example: `  bester check /etc/bester/bester.toml
  bester check --elsewhere --strict for-the-greenhouse.toml
  bester check --show server.conf > bester.toml`,
		Args: cobra.ExactArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"toml", "conf"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: c.run,
	}
	cmd.Flags().BoolVar(&c.json, "json", false, "write the problems as a JSON list")
	cmd.Flags().BoolVar(&c.strict, "strict", false, "fail for warnings, too")
	cmd.Flags().BoolVar(&c.elsewhere, "elsewhere", false, "the file is for another machine or user: do not look at this one")
	cmd.Flags().BoolVar(&c.show, "show", false, "write the whole config in force, defaults too, as bester.toml")
	return cmd
}

// checkOptions are the flags of check.
type checkOptions struct{ json, strict, elsewhere, show bool }

func (o *checkOptions) run(cmd *cobra.Command, args []string) error {
	c, err := setup.Load(args[0])
	var refused, warnings []config.Problem
	if err == nil {
		warnings = slices.Concat(setup.NoHandlers(c), setup.LimitConflicts(c), setup.UnusedFilters(c), setup.MisplacedFilters(c), setup.ServersAtTLS(c))
		if !o.elsewhere {
			var more []config.Problem
			refused, more = setup.CheckEnvironment(c)
			warnings = append(warnings, more...)
		}
		slices.SortStableFunc(warnings, func(a, b config.Problem) int {
			return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
		})
	}
	if o.json {
		return o.writeJSON(cmd, err, refused, warnings)
	}
	if err != nil {
		return err
	}
	for _, p := range refused {
		fmt.Fprintln(cmd.ErrOrStderr(), escapeText(p.Error()))
	}
	for _, w := range warnings {
		fmt.Fprintln(cmd.ErrOrStderr(), escapeText(warning(w)))
	}
	if o.show { // valid by itself, whatever machine it is for
		if _, err := cmd.OutOrStdout().Write(c.AppendTOML(nil)); err != nil {
			return err
		}
	}
	switch {
	case len(refused) > 0:
		return fmt.Errorf("%s: besterd would not start with it here; if it is for another machine or user: --elsewhere", args[0])
	case o.strict && len(warnings) > 0:
		return &exitError{code: exitFailed}
	case !o.show:
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: good%s\n", args[0], warningNote(len(warnings)))
	}
	return err
}

// A problem is one line of what --json writes.
type problem struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
	Key    string `json:"key"`
	Text   string `json:"text"`

	Warning bool `json:"warning"`
}

// warning formats a warning as compilers do: "bester.toml:12:8: warning: listen.key: …".
func warning(p config.Problem) string {
	rest := "warning: " + p.Key + ": " + p.Text
	if p.File == "" {
		return rest
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, rest)
}

// warningNote points to the warnings about a good config.
func warningNote(warnings int) string {
	switch warnings {
	case 0:
		return ""
	case 1:
		return ", but see the warning"
	}
	return fmt.Sprintf(", but see the %d warnings", warnings)
}

func (o *checkOptions) writeJSON(cmd *cobra.Command, err error, refused, warnings []config.Problem) error {
	problems := []problem{} // not nil: none is []
	var e *config.Error
	switch {
	case errors.As(err, &e):
		for _, p := range e.Problems {
			problems = append(problems, newProblem(p, false))
		}
	case err != nil:
		return err
	}
	for _, p := range refused {
		problems = append(problems, newProblem(p, false))
	}
	failed := len(problems) > 0 || o.strict && len(warnings) > 0
	for _, p := range warnings {
		problems = append(problems, newProblem(p, true))
	}
	b, err := json.Marshal(problems)
	if err == nil {
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", b)
	}
	if err == nil && failed {
		err = &exitError{code: exitFailed}
	}
	return err
}

func newProblem(p config.Problem, warning bool) problem {
	return problem{p.File, p.Line, p.Column, p.Key, p.Text, warning}
}
