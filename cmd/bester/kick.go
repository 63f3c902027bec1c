package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
)

func kickCommand() *cobra.Command {
	var t target
	cmd := &cobra.Command{
		Use:   "kick USER",
		Short: "End the sessions of a user",
		Long: `End all sessions that a user has at the hub now: those of clients, servers and handlers.
What is queued for them is still sent, for up to 2 s. bester status shows who is
connected. The account must be an administrator's (bester account allow --admin NAME),
or the socket must trust you.

The user may log in again at once, and many programs do; bester account remove USER
keeps it out.`,
		Example: `  bester kick dashboard`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			command, err := json.Marshal(map[string]any{"command": map[string]any{"type": "kick", "command": map[string]string{"username": args[0]}}})
			if err != nil {
				return err
			}
			reply, err := t.builtin(cmd.Context(), string(command))
			if err != nil {
				return err
			}
			var ended struct{ Sessions int }
			if err := json.Unmarshal(reply, &ended); err != nil {
				return fmt.Errorf("the hub's answer: %w", err)
			}
			if ended.Sessions == 0 {
				return fmt.Errorf("%s is not logged in", escapeName(args[0]))
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "ended %s of %s\n", plural(ended.Sessions, "session"), escapeName(args[0]))
			return err
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	t.flags(cmd)
	return cmd
}
