package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Errors in how a command is called are in this tool's own words, and say what to do here
// where people come with the habits of other tools.

// explainArgs gives a command and those below it own words for a wrong number of arguments.
func explainArgs(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			err := check(cmd, args)
			var usage usageError
			if err == nil || errors.As(err, &usage) || !cmd.HasParent() {
				return err
			}
			return argsError(cmd, args, err)
		}
	}
	for _, c := range cmd.Commands() {
		explainArgs(c)
	}
}

// argsError says which arguments a command takes, by its usage line, and what may have been
// meant.
func argsError(cmd *cobra.Command, args []string, err error) error {
	var wanted []string
	required := 0
	for _, word := range strings.Fields(cmd.Use)[1:] {
		if word != "[flags]" {
			wanted = append(wanted, word)
		}
		if !strings.HasPrefix(word, "[") {
			required++
		}
	}
	hint := argsHints[cmd.Name()]
	switch {
	case len(args) < required:
		err = fmt.Errorf("%s is missing: want %s %s", wanted[len(args)], cmd.CommandPath(), strings.Join(wanted, " "))
	case len(wanted) == 0:
		err = fmt.Errorf("%s takes no arguments, got %s", commandWords(cmd), quoteAll(args))
	case len(args) > len(wanted):
		err = fmt.Errorf("%s takes only %s, got also %s", commandWords(cmd), strings.Join(wanted, " "), quoteAll(args[len(wanted):]))
	}
	if hint != "" && (len(args) > required || cmd.Name() == "check") {
		err = fmt.Errorf("%w\n%s", err, hint)
	}
	return usageError{err}
}

// commandWords returns the words of a command after the program's name, which stands before
// each error.
func commandWords(cmd *cobra.Command) string {
	return strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
}

func quoteAll(args []string) string {
	var all []string
	for _, a := range args {
		all = append(all, fmt.Sprintf("%q", a))
	}
	return strings.Join(all, " ")
}

// argsHints say by command what to do in place of giving it such arguments.
var argsHints = map[string]string{
	"send":    "DATA with spaces in it stands in quotes: bester send chat '\"two words\"', or bester send --text chat 'two words'",
	"request": "DATA with spaces in it stands in quotes: bester request clock '{\"zone\": \"UTC\"}'",
	"check":   "The config of the hub on this machine is usually /etc/bester/bester.toml",
}

// rejectUnknown rejects an unknown command and suggests what may have been meant.
func rejectUnknown(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if hint := commandHints[strings.ToLower(args[0])]; hint != "" && !cmd.HasParent() {
		return fmt.Errorf("unknown command %q: %s", args[0], hint)
	}
	if cmd.SuggestionsMinimumDistance <= 0 {
		cmd.SuggestionsMinimumDistance = 2
	}
	if suggestions := cmd.SuggestionsFor(args[0]); len(suggestions) > 0 {
		return fmt.Errorf("unknown command %q: did you mean %s?", args[0], strings.Join(suggestions, " or "))
	}
	return fmt.Errorf("unknown command %q", args[0])
}

const (
	sendHint    = "to send a message: bester send TYPE [DATA], and --to USER where no route decides who gets it"
	listenHint  = "to see what flows: bester listen PATTERN, such as bester listen 'reading/#'; bester listen alone shows what is sent to you"
	accountHint = "accounts are kept with bester account"
	checkHint   = "to check a config: bester check FILE"
	daemonHint  = "the hub is besterd: besterd FILE, or systemctl start besterd"
	logHint     = "the hub's log is in the journal: journalctl -u besterd"
)

// commandHints say by the names that other tools have for it what does it here.
var commandHints = map[string]string{
	"pub": sendHint, "publish": sendHint, "post": sendHint, "emit": sendHint, "put": sendHint, "push": sendHint,
	"sub": listenHint, "subscribe": listenHint, "receive": listenHint, "recv": listenHint, "tail": listenHint, "watch": listenHint, "monitor": listenHint,
	"req": "to send a message and see the reply: bester request TYPE [DATA]", "call": "to send a message and see the reply: bester request TYPE [DATA]",
	"user": accountHint, "users": accountHint, "passwd": accountHint, "password": accountHint, "login": accountHint,
	"config": checkHint, "validate": checkHint, "lint": checkHint, "verify": "to check a config: bester check FILE; to check a spool: bester spool verify FOLDER",
	"start": daemonHint, "run": daemonHint, "serve": daemonHint, "server": daemonHint, "daemon": daemonHint,
	"reload": "to have the hub read its config: systemctl reload besterd, or SIGHUP", "restart": "systemctl restart besterd", "stop": "systemctl stop besterd",
	"log": logHint, "logs": logHint, "journal": logHint,
	"info": "to see what the hub is doing: bester status", "stats": "to see what the hub is doing: bester status", "ps": "to see what the hub is doing: bester status",
	"version": "bester --version",
}

// strictHelp makes the commands help and completion, which cobra adds, fail for what there
// is not.
func strictHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.Short = "Show the help of a command"
			c.Long = "Show what --help shows of a command, or of a kind of handler: bester help spool verify,\nbester help handle alarm."
			c.Run, c.RunE = nil, func(c *cobra.Command, args []string) error {
				return showHelp(c, root, args)
			}
		case "completion":
			ownCompletionHelp(c)
			c.Args, c.RunE = func(c *cobra.Command, args []string) error {
				if len(args) == 0 {
					return nil
				}
				return usageError{fmt.Errorf("no completion for %q: there is one for bash, fish, powershell and zsh", args[0])}
			}, func(c *cobra.Command, _ []string) error { return c.Help() }
		}
	}
}

// showHelp shows the help of the command that args name, below a command.
func showHelp(called, below *cobra.Command, args []string) error {
	about, rest, err := below.Find(args)
	if err == nil && about.Name() == "handle" && len(rest) == 1 { // its kinds are no commands of their own
		about.SetContext(called.Context())
		return about.RunE(about, append(rest, "--help"))
	}
	if err != nil || len(rest) > 0 {
		if about == nil {
			about = below
		}
		return usageError{rejectUnknown(about, append(rest, args...))}
	}
	about.InitDefaultHelpFlag()
	return about.Help()
}

// runGroup is for commands that only hold others: it shows their help, also by the word help,
// and rejects what is none of them.
func runGroup(cmd *cobra.Command, args []string) error {
	if len(args) > 0 && args[0] == "help" {
		return showHelp(cmd, cmd, args[1:])
	}
	if len(args) > 0 {
		var names []string
		for _, c := range cmd.Commands() {
			names = append(names, c.Name())
		}
		last := len(names) - 1
		return usageError{fmt.Errorf("unknown command %q: want %s or %s", args[0], strings.Join(names[:last], ", "), names[last])}
	}
	return cmd.Help()
}

// flagError puts an error about a flag in own words.
func flagError(err error) error {
	var invalid *pflag.InvalidValueError
	var required *pflag.ValueRequiredError
	switch {
	case errors.As(err, &invalid):
		f := invalid.GetFlag()
		want := valueForms[f.Value.Type()]
		if want == "" {
			want = errors.Unwrap(invalid).Error()
		}
		return fmt.Errorf("--%s %q: %s", f.Name, invalid.GetValue(), want)
	case errors.As(err, &required):
		f := required.GetFlag()
		value, _ := pflag.UnquoteUsage(f)
		return fmt.Errorf("--%s: its value is missing: want --%s %s", f.Name, f.Name, strings.ToUpper(value))
	}
	return err
}

// valueForms say what the values of flags look like, by their type.
var valueForms = map[string]string{
	"duration": "want a time such as 500ms, 10s or 2m",
	"int":      "want a whole number",
	"int64":    "want a whole number",
	"uint":     "want a whole number, 0 or more",
	"uint64":   "want a whole number, 0 or more",
	"float64":  "want a number",
	"bool":     "want true or false",
}
