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
	var asJSON, show bool
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Say what is wrong with a config",
		Long: `Read a config, bester.toml or the original's server.conf, as besterd would, and say
what is wrong with it: file, line, column, the key, and what is allowed. It fails if
there is anything.

With --json it writes a list with an object for each problem, empty if all is good:

  file     the file
  line     from 1
  column   from 1, in bytes
  key      such as session.full; empty if the file cannot be read that far
  text     what is wrong, and what is allowed or mends it`,
		Example: `  bester check /etc/bester/bester.toml
  bester check --show server.conf > bester.toml`,
		Args: cobra.ExactArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"toml", "conf"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := setup.Load(args[0])
			if asJSON {
				return checkJSON(cmd, err)
			}
			if err != nil {
				return err
			}
			if show {
				_, err := cmd.OutOrStdout().Write(c.AppendTOML(nil))
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: good\n", args[0])
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write the problems as a JSON list")
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
}

func checkJSON(cmd *cobra.Command, err error) error {
	problems := []problem{} // not nil: none is []
	var e *config.Error
	switch {
	case errors.As(err, &e):
		for _, p := range e.Problems {
			problems = append(problems, problem(p))
		}
	case err != nil:
		return err
	}
	b, err := json.Marshal(problems)
	if err == nil {
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", b)
	}
	if err == nil && len(problems) > 0 {
		err = &exit{code: exitFailed}
	}
	return err
}
