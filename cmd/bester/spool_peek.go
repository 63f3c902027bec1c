package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/besterhub/bester/hub/resource"
	"github.com/besterhub/bester/hub/spool"
)

func spoolPeekCommand() *cobra.Command {
	var p peekOptions
	cmd := &cobra.Command{
		Use:   "peek DIR",
		Short: "Show the first records of a spool, or the last",
		Long: `Show the first records of the spool in the folder DIR that are not finished yet, one a
line: sequence, time by the spool's clock, size, and data. JSON is shown in one line,
other text as it is, and what is no text in quotation marks with \x escapes. Long data
is cut, with ... at its end, unless --full is given.

What a reader has not confirmed begins after its position: up to there it has confirmed
all. Of what is after it, some may be confirmed already.

With --json every record is an object on a line of its own, with all its data:

` + recordHelp,
		Example: `  bester spool peek /var/lib/bester/spool/upstream
  bester spool peek --last 1 --full DIR
  bester spool peek --reader upstream --count 100 --json DIR | jq -r 'select(.seq).data'`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeFolder,
		RunE:              p.run,
	}
	p.flags(cmd)
	cmd.Flags().IntVarP(&p.count, "count", "n", 10, "show this many")
	cmd.Flags().Uint64Var(&p.Last, "last", 0, "show this `number` of the last ones instead")
	cmd.Flags().BoolVar(&p.full, "full", false, "do not cut long data")
	cmd.Flags().BoolVar(&p.json, "json", false, "write JSON, one object a line")
	return cmd
}

// peekOptions are the flags of peek.
type peekOptions struct {
	selectOptions
	count      int
	full, json bool
}

// peekWidth is how many columns of data are shown unless --full is given.
const peekWidth = 100

func (p *peekOptions) run(cmd *cobra.Command, args []string) error {
	switch {
	case p.count < 1:
		return usageError{fmt.Errorf("--count %d: want at least 1", p.count)}
	case cmd.Flags().Changed("last") && (p.Last == 0 || cmd.Flags().Changed("count")):
		return usageError{errors.New("--last: want at least 1, and no --count beside it")}
	}
	out := bufio.NewWriter(cmd.OutOrStdout())
	colour, n, line := !p.json && coloured(cmd.OutOrStdout()), 0, []byte(nil)
	errEnough := errors.New("enough")
	_, err := browse(cmd.Context(), args[0], p.Selection, func(rec spool.Record) error {
		if n == 0 && !p.json {
			fmt.Fprintf(out, "%10s  %-23s  %9s  %s\n", "SEQUENCE", "TIME (spool's clock)", "SIZE", "DATA")
		}
		line = line[:0]
		if p.json {
			line = appendRecord(appendGap(line, rec.Gap), rec)
		} else {
			line = p.appendLine(line, rec, colour)
		}
		if _, err := out.Write(line); err != nil {
			return err
		}
		if n++; n == p.count && p.Last == 0 {
			return errEnough
		}
		return nil
	})
	if err != nil && err != errEnough {
		return ignoreBrokenPipe(err)
	}
	if n == 0 && !p.json {
		fmt.Fprintln(cmd.ErrOrStderr(), "No records.")
	}
	return ignoreBrokenPipe(out.Flush())
}

// appendLine writes a record for people, with what is missing before it.
func (p *peekOptions) appendLine(dst []byte, rec spool.Record, colour bool) []byte {
	dim, reset := "", ""
	if colour {
		dim, reset = "\x1b[2m", "\x1b[0m"
	}
	if rec.Gap.To > 0 {
		dst = fmt.Appendf(dst, "%s%10s  missing: %s%s\n", dim, "-", sequences(rec.Gap.From, rec.Gap.To), reset)
	}
	dst = fmt.Appendf(dst, "%10d  %s%s%s  %9s  ", rec.Seq, dim,
		spoolTime(rec.Time).Local().Format("2006-01-02 15:04:05.000"), reset, resource.Size(uint64(len(rec.Data))))
	start := len(dst)
	dst = p.appendData(dst, rec.Data)
	if !p.full && utf8.RuneCount(dst[start:]) > peekWidth {
		end := start
		for range peekWidth - 3 {
			_, size := utf8.DecodeRune(dst[end:])
			end += size
		}
		dst = append(dst[:end], "..."...)
	}
	return append(dst, '\n')
}

func (p *peekOptions) appendData(dst, data []byte) []byte {
	if json.Valid(data) {
		return appendEscapedJSON(dst, data)
	}
	if !p.full { // only what can be shown, and a little to cut off
		data = data[:min(len(data), 4*peekWidth)]
		if !utf8.Valid(data) { // perhaps only because it ends inside a character
			for i := range min(utf8.UTFMax, len(data)) {
				if utf8.Valid(data[:len(data)-i]) {
					data = data[:len(data)-i]
					break
				}
			}
		}
	}
	return append(dst, escapeName(string(data))...)
}

// appendGap writes what is missing before a record, if anything is.
func appendGap(dst []byte, g spool.Gap) []byte {
	if g.To == 0 {
		return dst
	}
	return fmt.Appendf(dst, `{"gap":{"from":%d,"to":%d}}`+"\n", g.From, g.To)
}

// appendRecord writes a record as one JSON object on a line of its own.
func appendRecord(dst []byte, rec spool.Record) []byte {
	dst = append(dst, `{"seq":`...)
	dst = strconv.AppendUint(dst, rec.Seq, 10)
	dst = append(dst, `,"time":"`...)
	dst = append(dst, recordTime(rec.Time)...)
	dst = append(dst, `","size":`...)
	dst = strconv.AppendInt(dst, int64(len(rec.Data)), 10)
	if utf8.Valid(rec.Data) {
		dst = append(dst, `,"data":`...)
		dst = appendJSONString(dst, string(rec.Data))
	} else {
		dst = append(dst, `,"base64":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, rec.Data)
		dst = append(dst, '"')
	}
	return append(dst, "}\n"...)
}

// recordTime writes a time of the spool's clock for programs.
func recordTime(ms uint64) string { return spoolTime(ms).UTC().Format(recordTimeForm) }

// recordTimeForm is RFC 3339, with the milliseconds always there.
const recordTimeForm = "2006-01-02T15:04:05.000Z07:00"
