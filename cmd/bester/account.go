package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/besterhub/bester/cmd/internal/setup"
	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/account"
	"github.com/besterhub/bester/hub/config"
)

// usageError is an error in how a command was called, as opposed to one in carrying it out.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// accountFlags are the flags that several of the account commands have.
type accountFlags struct {
	file   string
	config string // whose accounts file it is
	cost   int
	note   string // what to tell once the file is changed; may be empty

	send, receive, reach, serve []string
	peer, admin                 bool

	extend bool // of allow: what is given is added to the lists, and does not replace them
}

// accountCommand is "bester account": it keeps the accounts file.
func accountCommand() *cobra.Command {
	f := &accountFlags{}
	cmd := &cobra.Command{
		Use:   "account",
		Short: "Keep the accounts: who may connect and what they may do",
		Long: `Keep the accounts: who may connect to the hub and what they may do.

They are in a text file that may also be read and edited by hand: the one that the
config of besterd on this machine names, unless --config names another config, or
--file or BESTER_ACCOUNTS the file itself. A relative path in a config is taken as
from this folder. A running besterd sees a change at the next login, within 5 seconds
for who is logged in already, or at once at SIGHUP.

A password is asked for twice at a terminal, without showing it. Where standard
input is no terminal, its first line is the password.`,
		Example: `  bester account add gardener --admin
  bester account add greenhouse --send 'reading/greenhouse/#' --receive 'command/greenhouse/#'
  bester account allow greenhouse --add --reach gardener
  bester account list
  pass show bester/greenhouse | bester account passwd greenhouse
  bester account remove greenhouse`,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SilenceUsage = true
			return f.resolve()
		},
		Args: cobra.ArbitraryArgs,
		RunE: runGroup,
	}
	cmd.PersistentFlags().StringVar(&f.file, "file", "", "`path` of the accounts file (default $BESTER_ACCOUNTS, else that of besterd's config)")
	cmd.PersistentFlags().StringVar(&f.config, "config", "", "`path` of the config that names the accounts file")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	cmd.AddCommand(f.addCommand(), f.listCommand(), f.removeCommand(), f.passwdCommand(), f.allowCommand())
	return cmd
}

func (f *accountFlags) addCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Add an account",
		Long: `Add an account. Unless told otherwise, it may send and receive every type and
reach everyone, but not serve types, connect as a server or ask for the hub's
status. The file and its folder are made if there are none.

` + patternHelp,
		Example: `  bester account add gardener --admin
  bester account add greenhouse --send 'reading/greenhouse/#' --send 'alarm/+' --receive ''
  bester account add filters --serve 'filter/#'
  bester account add attic --peer`,
		Args:              exactlyOneName,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              f.add,
	}
	f.permissions(cmd, "")
	f.costFlag(cmd)
	return cmd
}

func (f *accountFlags) add(cmd *cobra.Command, args []string) error {
	name := hub.UserName(args[0])
	if err := account.CheckName(args[0]); err != nil {
		return usageError{err}
	}
	edit, _, err := f.edit(cmd)
	if err != nil {
		return err
	}
	may := account.DefaultPermissions()
	edit(&may)
	// Known errors are reported before the password prompt. The file is created after
	// it, so that giving up leaves nothing behind.
	s, err := f.open()
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case s.Lookup(name) != nil:
		return f.explain(name, account.ErrExists)
	}
	password, err := readPassword(cmd, args[0])
	if err != nil {
		return err
	}
	if s, err = account.Create(f.path(), account.Options{Cost: f.cost}); err != nil {
		return err
	}
	if err := s.Add(name, password, may); err != nil {
		return f.explain(name, err)
	}
	return f.printDone(cmd, "added %s to %s: %s", name, f.path(), describe(may))
}

func (f *accountFlags) listCommand() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the accounts and what they may do",
		Long: `List the accounts and what they may do, under the file that they are in. With --json
it writes a list alone, with an object for each account: name, send, receive, reach,
serve (lists), peer and admin (true or false). Where there are none, standard error is
told, and also if the file looks cut off.`,
		Example: `  bester account list
  bester account list --json | jq -r '.[] | select(.admin) | .name'`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("%s takes no arguments, got %s", commandWords(cmd), quoteAll(args))}
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := f.open()
			if err != nil {
				return err
			}
			f.tellNone(cmd, s)
			if asJSON {
				return writeAccountJSON(cmd.OutOrStdout(), s.List())
			}
			if err := f.printDone(cmd, "accounts in %s:", f.path()); err != nil {
				return err
			}
			return writeAccountTable(cmd.OutOrStdout(), s.List())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as a JSON array with an object for each account")
	return cmd
}

// tellNone tells on standard error that there are no accounts.
func (f *accountFlags) tellNone(cmd *cobra.Command, s *account.Store) {
	switch {
	case len(s.List()) > 0:
	case s.Emptied():
		fmt.Fprintf(cmd.ErrOrStderr(), "There are no accounts in %s, and it lacks the last line that bester writes: it may have\nbeen emptied or cut off: %s.\n", f.path(), setup.AccountsRemedy)
	default:
		fmt.Fprintf(cmd.ErrOrStderr(), "There are no accounts in %s: \"bester account add\" adds one.\n", f.path())
	}
}

func (f *accountFlags) removeCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "remove NAME",
		Short:             "Remove an account",
		Example:           `  bester account remove greenhouse`,
		Args:              exactlyOneName,
		ValidArgsFunction: f.completeName,
		RunE: func(cmd *cobra.Command, args []string) error {
			name := hub.UserName(args[0])
			s, err := f.open()
			if err != nil {
				return err
			}
			was := s.Lookup(name)
			if err := s.Remove(name); err != nil {
				return f.explain(name, err)
			}
			if was == nil { // the account was added between the two calls
				return f.printDone(cmd, "removed %s from %s", name, f.path())
			}
			return f.printDone(cmd, "removed %s from %s: %s", name, f.path(), describe(was.Permissions()))
		},
	}
}

func (f *accountFlags) passwdCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "passwd NAME",
		Short: "Give an account a new password",
		Example: `  bester account passwd greenhouse
  pass show bester/greenhouse | bester account passwd greenhouse`,
		Args:              exactlyOneName,
		ValidArgsFunction: f.completeName,
		RunE: func(cmd *cobra.Command, args []string) error {
			name := hub.UserName(args[0])
			s, err := f.open()
			if err != nil {
				return err
			}
			if s.Lookup(name) == nil {
				return f.explain(name, account.ErrUnknown)
			}
			password, err := readPassword(cmd, args[0])
			if err != nil {
				return err
			}
			if err := s.SetPassword(name, password); err != nil {
				return f.explain(name, err)
			}
			return f.printDone(cmd, "changed the password of %s in %s", name, f.path())
		},
	}
	f.costFlag(cmd)
	return cmd
}

func (f *accountFlags) allowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "allow NAME",
		Short: "Change what an account may do",
		Long: `Change what an account may do. Only what is given changes, but a list is replaced
whole: --send a --send b allows it to send a and b, and nothing that it was
allowed to send before. With --add, a and b are added to what it was allowed to
send; what it may send already is not added twice.

` + patternHelp,
		Example: `  bester account allow greenhouse --add --send 'alarm/+'
  bester account allow greenhouse --send 'reading/greenhouse/#' --send 'alarm/+'
  bester account allow greenhouse --reach gardener --reach 'gardener@attic'
  bester account allow greenhouse --receive ''
  bester account allow gardener --admin=false`,
		Args:              exactlyOneName,
		ValidArgsFunction: f.completeName,
		RunE: func(cmd *cobra.Command, args []string) error {
			name := hub.UserName(args[0])
			edit, changes, err := f.edit(cmd)
			if err != nil {
				return err
			}
			if !changes {
				return usageError{errors.New("nothing to change: give --send, --receive, --reach, --serve, --peer or --admin")}
			}
			if f.extend {
				if err := f.checkExtend(cmd); err != nil {
					return err
				}
			}
			s, err := f.open()
			if err != nil {
				return err
			}
			var may account.Permissions
			if err := s.Allow(name, func(p *account.Permissions) { edit(p); may = *p }); err != nil {
				return f.explain(name, err)
			}
			return f.printDone(cmd, "changed %s in %s: %s", name, f.path(), describe(may))
		},
	}
	f.permissions(cmd, "; replaces the list, unless --add")
	cmd.Flags().BoolVar(&f.extend, "add", false, "add the given patterns and addresses to the lists, and keep what is in them")
	return cmd
}

// resolve finds the accounts file: that of --file or --config, else of BESTER_ACCOUNTS,
// else of besterd's config.
func (f *accountFlags) resolve() error {
	if f.config != "" {
		if f.file != "" {
			return usageError{errors.New("--file and --config: give one of them")}
		}
		c, err := setup.Load(f.config)
		if err != nil {
			return fmt.Errorf("which accounts file? --config would say, but it cannot be used:\n%w", err)
		}
		f.file, f.config = c.Accounts.File, "" // completion may ask again
		return nil
	}
	if f.file = cmp.Or(f.file, os.Getenv("BESTER_ACCOUNTS")); f.file != "" {
		return nil
	}
	c := config.Default()
	if path, _ := config.File(); path != "" {
		var err error
		if c, err = setup.Load(path); err != nil {
			return fmt.Errorf("which accounts file? besterd's config would say, but it is wrong; say --file PATH, or mend it:\n%w", err)
		}
	}
	f.file = c.Accounts.File
	if os.Geteuid() != 0 && f.file == config.Default().Accounts.File {
		f.note = serviceNote(config.Service())
	}
	return nil
}

// serviceNote returns a note on the accounts of another user than root: that a hub which
// runs as a service, as this file of it shows, has others. It is empty without that file.
func serviceNote(service string) string {
	if service == "" {
		return ""
	}
	return fmt.Sprintf("Only a hub that you run yourself reads this file. The one that runs as a service (%s) does not:\nfor that, say sudo bester account …, or --file with the file that its config names.", service)
}

// path returns the path of the accounts file.
func (f *accountFlags) path() string { return f.file }

func (f *accountFlags) open() (*account.Store, error) {
	return account.Open(f.path(), account.Options{Cost: f.cost})
}

// explain adds to an error of the Store about a name what to do.
func (f *accountFlags) explain(name hub.UserName, err error) error {
	switch {
	case errors.Is(err, account.ErrExists):
		return fmt.Errorf(`%w: %q is in %s already; "bester account allow" changes what it may do, "bester account passwd" its password`, account.ErrExists, name, f.path())
	case errors.Is(err, account.ErrUnknown):
		return fmt.Errorf(`%w: %q is not in %s; "bester account list" shows who is`, account.ErrUnknown, name, f.path())
	}
	return err
}

// printDone prints what was done, and on standard error what is to be noted.
func (f *accountFlags) printDone(cmd *cobra.Command, format string, args ...any) error {
	_, err := fmt.Fprintf(cmd.OutOrStdout(), format+"\n", args...)
	if f.note != "" {
		fmt.Fprintln(cmd.ErrOrStderr(), f.note)
	}
	return err
}

func exactlyOneName(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usageError{fmt.Errorf("%s takes one name, got %d: %s", cmd.CommandPath(), len(args), cmd.UseLine())}
	}
	return nil
}

func writeAccountTable(w io.Writer, list []*account.Account) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tSEND\tRECEIVE\tREACH\tSERVE\tPEER\tADMIN")
	for _, a := range list {
		p := a.Permissions()
		fmt.Fprintln(t, strings.Join([]string{string(a.Name()), quotedList(p.Send), quotedList(p.Receive),
			quotedList(p.Reach), quotedList(p.Serve), yesNo(p.Peer), yesNo(p.Admin)}, "\t"))
	}
	return t.Flush()
}

func writeAccountJSON(w io.Writer, list []*account.Account) error {
	type object struct {
		Name    hub.UserName `json:"name"`
		Send    []string     `json:"send"`
		Receive []string     `json:"receive"`
		Reach   []string     `json:"reach"`
		Serve   []string     `json:"serve"`
		Peer    bool         `json:"peer"`
		Admin   bool         `json:"admin"`
	}
	objects := make([]object, len(list))
	for i, a := range list {
		p := a.Permissions()
		objects[i] = object{a.Name(), stringList(p.Send), stringList(p.Receive), stringList(p.Reach), stringList(p.Serve), p.Peer, p.Admin}
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(objects)
}
