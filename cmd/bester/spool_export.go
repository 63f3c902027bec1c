package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/besterhub/bester/hub/spool"
)

func spoolExportCommand() *cobra.Command {
	var e exportOptions
	cmd := &cobra.Command{
		Use:   "export DIR",
		Short: "Write the records of a spool in a form that other programs read",
		Long: `Write the records of the spool in the folder DIR that are not finished yet, in order, to
standard output or a file. --from, --to and --reader say which.

The formats:

  jsonl   an object on a line for each record; nothing is lost
  frames  for each record the length of its data, 4 bytes, little-endian, and then the
          data itself; nothing else. Gaps are said on standard error

With jsonl a record is:

` + recordHelp + `

At the end {"loss":{...}} follows for each loss, as in bester spool verify --json: it
tells which of the gaps are damage.

It fails, with exit status 1, if records are damaged or missing; all others have been
written then. The file of --output gets its name when it is whole and on the card; it
may be read by its owner alone.`,
		Example: `  bester spool export DIR | jq -r 'select(.seq).data'
  bester spool export --reader upstream --output waiting.jsonl DIR
  bester spool export --format frames --output data.frames DIR`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeFolder,
		RunE:              e.run,
	}
	e.flags(cmd)
	cmd.Flags().Uint64Var(&e.To, "to", 0, "end with this `sequence`")
	cmd.Flags().StringVar(&e.format, "format", "jsonl", "jsonl or frames")
	cmd.Flags().StringVarP(&e.output, "output", "o", "", "write to this `file`")
	cmd.Flags().BoolVar(&e.force, "force", false, "replace the file of --output if there is one")
	cmd.RegisterFlagCompletionFunc("to", cobra.NoFileCompletions)
	cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"jsonl", "frames"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// exportOptions are the flags of export.
type exportOptions struct {
	selectOptions
	format, output string
	force          bool
}

func (e *exportOptions) run(cmd *cobra.Command, args []string) error {
	switch {
	case e.format != "jsonl" && e.format != "frames":
		return usageError{fmt.Errorf("--format %q: want jsonl or frames", e.format)}
	case e.To > 0 && e.To < e.From:
		return usageError{fmt.Errorf("--to %d: want at least --from, %d", e.To, e.From)}
	case e.force && e.output == "":
		return usageError{errors.New("--force is for --output")}
	}
	p := spoolProgress(cmd)
	if e.output == "" {
		if isTerminal(cmd.OutOrStdout()) {
			p.terminal = false // it would appear between the records
		}
		rep, err := e.write(cmd, args[0], cmd.OutOrStdout(), p)
		if err == nil {
			err = damageError(args[0], rep)
		}
		return ignoreBrokenPipe(err)
	}
	f, err := createAtomicFile(e.output, args[0], e.force)
	if err != nil {
		return err
	}
	defer f.discard()
	rep, err := e.write(cmd, args[0], f, p)
	if err == nil {
		err = f.commit()
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", escapeName(e.output), exportSummary(rep))
	return damageError(args[0], rep)
}

// write writes the records to out.
func (e *exportOptions) write(cmd *cobra.Command, dir string, out io.Writer, p *progressLine) (spool.Report, error) {
	b := bufio.NewWriterSize(out, 64<<10)
	say := func(g spool.Gap) {
		if g.To > 0 {
			fmt.Fprintf(cmd.ErrOrStderr(), "missing: %s\n", sequences(g.From, g.To))
		}
	}
	put := func(rec spool.Record, line []byte) []byte {
		if e.format == "jsonl" {
			return appendRecord(appendGap(line, rec.Gap), rec)
		}
		say(rec.Gap)
		return append(binary.LittleEndian.AppendUint32(line, uint32(len(rec.Data))), rec.Data...)
	}
	sel := e.Selection
	sel.Progress = showRead(p)
	var line []byte
	rep, err := browse(cmd.Context(), dir, sel, func(rec spool.Record) error {
		line = put(rec, line[:0])
		_, err := b.Write(line)
		return err
	})
	p.end("")
	if err != nil {
		return rep, err
	}
	if e.format == "jsonl" {
		b.Write(appendGap(nil, rep.Gap))
		for _, l := range losses(rep) {
			writeObject(b, map[string]lossObject{"loss": l})
		}
	} else {
		say(rep.Gap)
	}
	return rep, b.Flush()
}

// exportSummary says what was written.
func exportSummary(rep spool.Report) string {
	if rep.Records == 0 {
		return "no records"
	}
	return fmt.Sprintf("%d records, sequences %s", rep.Records, sequences(rep.First, rep.Last))
}

// damageError returns an error if records were lost to damage.
func damageError(dir string, rep spool.Report) error {
	if n := rep.Damage(); n > 0 {
		return fmt.Errorf("%s: damaged in %s; what can be read was written\nSee: bester spool verify %[1]s", dir, places(n))
	}
	return nil
}
