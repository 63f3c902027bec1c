package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/besterhub/bester/hub/resource"
	"github.com/besterhub/bester/hub/spool"
)

func spoolCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "spool",
		Short: "Look into a spool, a queue on disk",
		Long: `Look into a spool: the queue on the card in which messages wait for a reader, such as a server elsewhere.

A spool is a folder with files named *.spool and one named id. These commands read it
and never change it, so they may be used while a program has it open: then they show
what was on the card when they began. What a reader has confirmed shows a few seconds
later.

Times are of the spool's own clock. It is near Unix time where the machine's clock was
right when the spool was opened, and it never goes back.`,
		Example: `  bester spool verify /var/lib/bester/spool/upstream
  bester spool peek /var/lib/bester/spool/upstream --last 3
  bester spool export /var/lib/bester/spool/upstream --output upstream.jsonl`,
		Args: cobra.ArbitraryArgs,
		RunE: runGroup,
	}
	cmd.AddCommand(spoolVerifyCommand(), spoolPeekCommand(), spoolExportCommand())
	return cmd
}

// recordHelp says what --json and jsonl write of a record.
const recordHelp = `  seq     its sequence; the first record ever has 1
  time    when it was put into the spool, RFC 3339 in UTC, by the spool's clock
  size    bytes of data
  data    the data as a string, if it is valid UTF-8
  base64  the data in base64, if it is not

Where records are missing, {"gap":{"from":5,"to":7}} stands in their place: sequences 5
to 7 were dropped, thinned out or lost, or were never given out.`

// completeFolder offers folders, for the one argument there is.
func completeFolder(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// selectOptions are the flags that select records.
type selectOptions struct{ spool.Selection }

func (s *selectOptions) flags(cmd *cobra.Command) {
	cmd.Flags().Uint64Var(&s.From, "from", 0, "begin at this `sequence`")
	cmd.Flags().StringVar(&s.Reader, "reader", "", "only what the reader of this `name` has not confirmed")
	cmd.RegisterFlagCompletionFunc("from", cobra.NoFileCompletions)
	cmd.RegisterFlagCompletionFunc("reader", completeReader)
}

// completeReader offers the readers of the spool that was named before.
func completeReader(cmd *cobra.Command, args []string, word string) (names []string, _ cobra.ShellCompDirective) {
	if len(args) > 0 {
		// A selection without records reads only the newest file.
		rep, err := spool.Browse(cmd.Context(), args[0], spool.Selection{From: 1 << 63}, nil)
		for _, r := range rep.Readers {
			if err == nil && strings.HasPrefix(r.Name, word) && r.Name == escapeName(r.Name) {
				names = append(names, r.Name)
			}
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// browse reads a spool. Its errors say what to do.
func browse(ctx context.Context, dir string, sel spool.Selection, f func(spool.Record) error) (spool.Report, error) {
	var callbackErr error // the error of f, which is returned as it is
	rep, err := spool.Browse(ctx, dir, sel, func(rec spool.Record) error {
		if f != nil {
			callbackErr = f(rec)
		}
		return callbackErr
	})
	what := ""
	switch {
	case callbackErr != nil:
		return rep, callbackErr
	case err == nil || ctx.Err() != nil:
		return rep, err
	case errors.Is(err, fs.ErrNotExist):
		what = "there is no such folder"
	case errors.Is(err, syscall.ENOTDIR):
		what = "is a file: name the folder that the spool's files are in"
		if strings.HasSuffix(dir, ".spool") {
			what = fmt.Sprintf("is one file of a spool: name its folder, %s", filepath.Dir(dir))
		}
	case errors.Is(err, fs.ErrPermission):
		what = "may not be read: call this with sudo, or as " + owner(dir)
	case errors.Is(err, spool.ErrNoSpool):
		what = "is not a spool: there is no file named id or *.spool in it"
		if below := spoolsBelow(dir); len(below) > 0 {
			what += "\nThese are: " + strings.Join(below, " ")
		}
	case errors.Is(err, spool.ErrNoReader):
		what = fmt.Sprintf("has no reader %q; its readers: %s", sel.Reader, readerNames(rep))
	default:
		var path *fs.PathError
		if !errors.As(err, &path) {
			return rep, &exitError{exitUsage, err}
		}
		what = "cannot be read: " + path.Err.Error()
	}
	return rep, &exitError{exitUsage, fmt.Errorf("%s: %s", dir, what)}
}

// owner names the user who owns a folder, as far as that is known.
func owner(dir string) string {
	info, err := os.Stat(dir)
	if err != nil {
		return "its owner"
	}
	id := strconv.FormatUint(uint64(info.Sys().(*syscall.Stat_t).Uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return "the user " + u.Username
	}
	return "the user with the id " + id
}

// spoolsBelow finds spools directly in a folder.
func spoolsBelow(dir string) (found []string) {
	for _, pattern := range []string{"*/id", "*/*.spool"} {
		files, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, f := range files {
			if d := filepath.Dir(f); len(found) == 0 || found[len(found)-1] != d {
				found = append(found, d)
			}
		}
		if len(found) > 0 {
			break
		}
	}
	return found
}

func readerNames(rep spool.Report) string {
	var names []string
	for _, r := range rep.Readers {
		names = append(names, escapeName(r.Name))
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, " ")
}

// ignoreBrokenPipe returns nil for the error of a broken pipe, else err.
func ignoreBrokenPipe(err error) error {
	if errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return err
}

// spoolTime is a time of the spool's clock.
func spoolTime(ms uint64) time.Time { return time.UnixMilli(int64(min(ms, 1<<47))) }

// sequences writes a range for people.
func sequences(from, to uint64) string {
	if from == to {
		return strconv.FormatUint(from, 10)
	}
	return fmt.Sprintf("%d to %d", from, to)
}

// showRead returns a function that shows on p how much of a spool has been read.
func showRead(p *progressLine) func(done, total uint64) {
	return func(done, total uint64) {
		if total > 0 {
			p.show(func() string { return fmt.Sprintf("%3d %% of %s", done*100/total, resource.Size(total)) })
		}
	}
}

// spoolProgress is the progress of a command that reads a spool. Short work has none.
func spoolProgress(cmd *cobra.Command) *progressLine {
	p := newProgressLine(cmd.ErrOrStderr(), time.Second, 200*time.Millisecond)
	cmd.SetErr(p)
	return p
}
