package main

import "github.com/spf13/cobra"

// completionShells are the shells for which there is a completion script, and the line that
// installs it for all users.
var completionShells = []struct{ name, install, note string }{
	{"bash", "bester completion bash |\n    sudo install -Dm644 /dev/stdin /usr/local/share/bash-completion/completions/bester",
		"It needs the package bash-completion: sudo apt install bash-completion. make install has\ninstalled it already."},
	{"zsh", "bester completion zsh |\n    sudo install -Dm644 /dev/stdin /usr/local/share/zsh/site-functions/_bester",
		"~/.zshrc must have the line: autoload -U compinit && compinit"},
	{"fish", "bester completion fish |\n    sudo install -Dm644 /dev/stdin /usr/local/share/fish/vendor_completions.d/bester.fish", ""},
	{"powershell", "bester completion powershell | Out-String | Invoke-Expression",
		"That is for one session; a line of its own in the file that $PROFILE names makes it lasting."},
}

// ownCompletionHelp gives the command completion and those below it a help that says how each
// script is installed.
func ownCompletionHelp(completion *cobra.Command) {
	text := "Write the script with which a shell completes commands, flags, names and options when\nTab is pressed. These lines install it for all users, in shells started from then on."
	for _, shell := range completionShells {
		how := "\n\n  " + shell.install
		if shell.note != "" {
			how += "\n\n" + shell.note
		}
		text += "\n\nFor " + shell.name + ":" + how
		for _, c := range completion.Commands() {
			if c.Name() == shell.name {
				c.Short = "Write the completion script for " + shell.name
				c.RunE = writeCompletion
				c.Long = c.Short + ". This installs it for all users:" + how
			}
		}
	}
	completion.Use = "completion SHELL"
	completion.Short = "Write the completion script of a shell"
	completion.Long = text
}

// writeCompletion writes the script for the shell that the command is named after.
func writeCompletion(cmd *cobra.Command, _ []string) error {
	root, out := cmd.Root(), cmd.OutOrStdout()
	plain, err := cmd.Flags().GetBool("no-descriptions")
	switch {
	case err != nil:
		return err
	case cmd.Name() == "bash":
		return root.GenBashCompletionV2(out, !plain)
	case cmd.Name() == "fish":
		return root.GenFishCompletion(out, !plain)
	case cmd.Name() == "zsh" && plain:
		return root.GenZshCompletionNoDesc(out)
	case cmd.Name() == "zsh":
		return root.GenZshCompletion(out)
	case plain:
		return root.GenPowerShellCompletion(out)
	}
	return root.GenPowerShellCompletionWithDesc(out)
}
