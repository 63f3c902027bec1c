//go:build man

package main

import (
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// extra is a command that writes the man pages. It is built in for "make man" alone:
// what it needs would double the size of the tool.
func extra() []*cobra.Command {
	return []*cobra.Command{{
		Use:    "man FOLDER",
		Short:  "Write the man pages into a folder",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			header := &doc.GenManHeader{Title: "BESTER", Section: "1", Source: "Bester " + version, Manual: "Bester"}
			return doc.GenManTree(root, header, args[0])
		},
	}}
}
