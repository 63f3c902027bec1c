package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/besterhub/bester/cmd/internal/setup"
	"github.com/besterhub/bester/hub/config"
)

func checkCommand() *cobra.Command {
	var asJSON, show, strict bool
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Say what is wrong with a config",
		Long: `Read a config, bester.toml or the original's server.conf, as besterd would, and say
what is wrong with it: file, line, column, the key, and what is allowed. It fails if
there is anything.

A config that is right in itself is also held against this machine: whether its
certificates and keys can be read, belong together and are in date, its commands are
in PATH, its accounts file can be read by nobody else, the folders of its sockets are
there or can be made, and its addresses are this machine's. What is not so is a warning,
since it may be otherwise where besterd runs: it fails for those only with --strict.

With --json it writes a list with an object for each problem, empty if all is good:

  file     the file
  line     from 1
  column   from 1, in bytes
  key      such as session.full; empty if the file cannot be read that far
  text     what is wrong, and what is allowed or mends it
  warning  true or false`,
		Example: `  bester check /etc/bester/bester.toml
  bester check --show server.conf > bester.toml`,
		Args: cobra.ExactArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"toml", "conf"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := setup.Load(args[0])
			var warnings []config.Problem
			if err == nil {
				warnings = setup.Warnings(c)
			}
			if asJSON {
				return checkJSON(cmd, err, warnings, strict)
			}
			if err != nil {
				return err
			}
			for _, w := range warnings {
				fmt.Fprintln(cmd.ErrOrStderr(), plain(warning(w)))
			}
			if strict && len(warnings) > 0 {
				return &exit{code: exitFailed}
			}
			if show {
				_, err := cmd.OutOrStdout().Write(c.AppendTOML(nil))
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: good%s\n", args[0], but(len(warnings)))
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write the problems as a JSON list")
	cmd.Flags().BoolVar(&strict, "strict", false, "fail for warnings, too")
	cmd.Flags().BoolVar(&show, "show", false, "write the whole config in force, defaults too, as bester.toml")
	return cmd
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

// warning writes one as compilers do: "bester.toml:12:8: warning: listen.key: …".
func warning(p config.Problem) string {
	rest := "warning: " + p.Key + ": " + p.Text
	if p.File == "" {
		return rest
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, rest)
}

// but is what there is to say of a good config.
func but(warnings int) string {
	switch warnings {
	case 0:
		return ""
	case 1:
		return ", but see the warning"
	}
	return fmt.Sprintf(", but see the %d warnings", warnings)
}

func checkJSON(cmd *cobra.Command, err error, warnings []config.Problem, strict bool) error {
	problems := []problem{} // not nil: none is []
	var e *config.Error
	switch {
	case errors.As(err, &e):
		for _, p := range e.Problems {
			problems = append(problems, entry(p, false))
		}
	case err != nil:
		return err
	}
	failed := len(problems) > 0 || strict && len(warnings) > 0
	for _, p := range warnings {
		problems = append(problems, entry(p, true))
	}
	b, err := json.Marshal(problems)
	if err == nil {
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", b)
	}
	if err == nil && failed {
		err = &exit{code: exitFailed}
	}
	return err
}

func entry(p config.Problem, warning bool) problem {
	return problem{p.File, p.Line, p.Column, p.Key, p.Text, warning}
}
