package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/account"
	"github.com/besterhub/bester/hub/errtext"
)

const patternHelp = `A PATTERN is a type in which + stands for one level and # at the end for the rest:
'reading/#' allows reading/greenhouse/bme280. Put # and * in quotation marks, or the
shell takes them for itself. A flag may be given several times; '' allows nothing.`

// permissions adds the flags that say what an account may do.
func (f *accountFlags) permissions(cmd *cobra.Command, note string) {
	flags := cmd.Flags()
	flags.StringArrayVar(&f.send, "send", nil, "may send types of this `pattern`"+note)
	flags.StringArrayVar(&f.receive, "receive", nil, "may receive types of this `pattern`"+note)
	flags.StringArrayVar(&f.reach, "reach", nil, "may reach this `user`, user@server or @server; '*' for all"+note)
	flags.StringArrayVar(&f.serve, "serve", nil, "may be the handler of types of this `pattern`, which then reaches and sends as\nthe account may"+note)
	flags.BoolVar(&f.peer, "peer", false, "may connect as a server, and speak for the hub of its name")
	flags.BoolVar(&f.admin, "admin", false, "may ask for the hub's status")
	for _, name := range []string{"send", "receive", "serve"} {
		complete(cmd, name, cobra.NoFileCompletions)
	}
	complete(cmd, "reach", func(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		return f.completeName(cmd, nil, word)
	})
}

func (f *accountFlags) costFlag(cmd *cobra.Command) {
	cmd.Flags().IntVar(&f.cost, "cost", 10, "bcrypt cost, 4 to 16: each step doubles the time of a login")
	complete(cmd, "cost", cobra.NoFileCompletions)
}

func complete(cmd *cobra.Command, flag string, f cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic(err) // no such flag: a mistake in this file
	}
}

// completeName offers the names in the file.
func (f *accountFlags) completeName(_ *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	err := f.resolve()
	var s *account.Store
	if err == nil {
		s, err = f.open()
	}
	if err != nil {
		return cobra.AppendActiveHelp(nil, errtext.Of(err)), cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, a := range s.List() {
		if name := string(a.Name()); strings.HasPrefix(name, word) {
			names = append(names, name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// edit returns a function that applies the given flags to permissions, and whether there
// are any. An invalid value is a usage error.
func (f *accountFlags) edit(cmd *cobra.Command) (edit func(*account.Permissions), changes bool, err error) {
	var edits []func(*account.Permissions)
	patterns := func(flag string, list []string, field func(*account.Permissions) *[]hub.Pattern) {
		if err == nil && cmd.Flags().Changed(flag) {
			var parsed []hub.Pattern
			parsed, err = parseAll(flag, list, account.ParsePattern)
			edits = append(edits, func(p *account.Permissions) { *field(p) = changed(*field(p), parsed, f.extend) })
		}
	}
	patterns("send", f.send, func(p *account.Permissions) *[]hub.Pattern { return &p.Send })
	patterns("receive", f.receive, func(p *account.Permissions) *[]hub.Pattern { return &p.Receive })
	patterns("serve", f.serve, func(p *account.Permissions) *[]hub.Pattern { return &p.Serve })
	if err == nil && cmd.Flags().Changed("reach") {
		var parsed []hub.Address
		parsed, err = parseAll("reach", f.reach, account.ParseReach)
		edits = append(edits, func(p *account.Permissions) { p.Reach = changed(p.Reach, parsed, f.extend) })
	}
	if cmd.Flags().Changed("peer") {
		edits = append(edits, func(p *account.Permissions) { p.Peer = f.peer })
	}
	if cmd.Flags().Changed("admin") {
		edits = append(edits, func(p *account.Permissions) { p.Admin = f.admin })
	}
	return func(p *account.Permissions) {
		for _, d := range edits {
			d(p)
		}
	}, len(edits) > 0, err
}

// checkExtend checks that each list given with --add adds something.
func (f *accountFlags) checkExtend(cmd *cobra.Command) error {
	for _, l := range []struct {
		flag string
		list []string
	}{{"send", f.send}, {"receive", f.receive}, {"reach", f.reach}, {"serve", f.serve}} {
		if cmd.Flags().Changed(l.flag) && len(l.list) == 1 && l.list[0] == "" {
			return usageError{fmt.Errorf("--%s '' allows nothing, so --add has nothing to add: leave out one of them", l.flag)}
		}
	}
	return nil
}

// changed returns what becomes of a list when values are given for it: they replace it, or
// with add, those that it lacks follow it.
func changed[T comparable](have, given []T, add bool) []T {
	if !add {
		return given
	}
	have = slices.Clone(have)
	for _, v := range given {
		if !slices.Contains(have, v) {
			have = append(have, v)
		}
	}
	return have
}

func parseAll[T any](flag string, list []string, parse func(string) (T, error)) ([]T, error) {
	if len(list) == 1 && list[0] == "" {
		return nil, nil
	}
	parsed := make([]T, 0, len(list))
	for _, s := range list {
		v, err := parse(s)
		if err != nil {
			return nil, usageError{fmt.Errorf("--%s: %w", flag, err)}
		}
		parsed = append(parsed, v)
	}
	return parsed, nil
}

// describe says in one line what an account may do.
func describe(p account.Permissions) string {
	s := "send " + quotedList(p.Send) + "; receive " + quotedList(p.Receive) + "; reach " + quotedList(p.Reach)
	if len(p.Serve) > 0 {
		s += "; serve " + quotedList(p.Serve)
	}
	if p.Peer {
		s += "; peer"
	}
	if p.Admin {
		s += "; admin"
	}
	return s
}

// stringList writes patterns or addresses as they are given on the command line.
func stringList[T hub.Pattern | hub.Address](list []T) []string {
	all := make([]string, len(list)) // not nil: in JSON, none is []
	for i, v := range list {
		all[i] = fmt.Sprint(v)
	}
	return all
}

func quotedList[T hub.Pattern | hub.Address](list []T) string {
	if len(list) == 0 {
		return "-"
	}
	all := stringList(list)
	for i, s := range all {
		all[i] = account.Quote(s)
	}
	return strings.Join(all, ", ")
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
