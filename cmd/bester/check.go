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
what is wrong with it: file, line, column, the key, and what is allowed.`,
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

func checkJSON(cmd *cobra.Command, err error) error {
	problems := []config.Problem{}
	var e *config.Error
	switch {
	case errors.As(err, &e):
		problems = e.Problems
	case err != nil:
		return err
	}
	b, _ := json.Marshal(problems)
	fmt.Fprintf(cmd.OutOrStdout(), "%s\n", b)
	if len(problems) > 0 {
		return errors.New("the config has problems")
	}
	return nil
}
