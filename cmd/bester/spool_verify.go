package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/besterhub/bester/hub/resource"
	"github.com/besterhub/bester/hub/spool"
)

func spoolVerifyCommand() *cobra.Command {
	var asJSON bool
	var budget size
	cmd := &cobra.Command{
		Use:   "verify DIR",
		Short: "Read every record of a spool and say what is wrong",
		Long: `Read every record of the spool in the folder DIR, change nothing, and say what is in
it, how far its readers are, and what is damaged or missing: the cause, the file, and
the sequences. It fails, with exit status 1, if there is damage.

What a power cut or kill -9 may cost is shown, but is no damage: "torn" is a write that
was not finished, so that nobody was told that it is safe; "power cut" is telemetry that
was in memory only. A spool with damage can be used as it is: readers skip what is
damaged, and once everything else in its file has been read, that is renamed to *.damaged.

The line "card" says what was written to the card since the spool began, in whole pages
without the file system's journal, for how many bytes of data, by the newest figures in
the log: a program that has it open writes them with what comes after an hour, or after
256 KiB; what a kill or power cut took since then is not in them. With --budget it says
what of that many bytes a day the last 24 hours were. To be over the budget is no
damage, and changes no exit status.

With --json it writes one object:

  folder      as it was named
  state       closed; open (now, by a program); or not closed (killed, power cut)
  pid         the process that has it open, if that is known
  damaged     whether there is damage
  records     that wait; bytes, first and last are of these
  bytes       that they take on the card
  first,last  their lowest and highest sequence; 0 if there are none
  next        no sequence from here on was given out; if closed, the next record's
  floor       records up to this sequence are finished: confirmed, expired or dropped
  segments    a list: file, first, last (first - 1 if it has no record), records, bytes,
              began (a time), thinned (how often), damaged
  readers     a list: name, position (confirmed up to there), queued
  card        null if nothing is known to have been written, else: since, until (times),
              written, accepted (bytes between them), average (bytes written a day; of
              the first day, so far), day (bytes written in the 24 hours up to until),
              budget (that of --budget; 0 if none)
  set_aside   a list: files that were found damaged before; what is lost with them was
              logged and counted by who found it, and changes no exit status
  losses      a list: cause (damaged, missing, foreign, torn or power cut), file, from,
              to (sequences; both 0 if no record is missing), records (at most; 0 if
              not known), why`,
		Example: `  bester spool verify /var/lib/bester/spool/upstream
  bester spool verify --budget 5MiB DIR
  bester spool verify --json DIR | jq '.losses[] | select(.cause == "damaged")'`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeFolder,
		RunE: func(cmd *cobra.Command, args []string) error {
			p := spoolProgress(cmd)
			rep, err := browse(cmd.Context(), args[0], spool.Selection{Progress: showRead(p)}, nil)
			p.end("")
			if err != nil {
				return err
			}
			out := bufio.NewWriter(cmd.OutOrStdout())
			if asJSON {
				err = verifyJSON(out, args[0], rep, budget)
			} else {
				err = showSpool(out, args[0], rep, budget, coloured(cmd.OutOrStdout()))
			}
			if err == nil {
				err = out.Flush()
			}
			if err == nil && rep.Damage() > 0 {
				err = &exitError{code: exitFailed}
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	cmd.Flags().Var(&budget, "budget", "compare with this `size` a day, such as 5MiB or \"256 KiB\"")
	cmd.RegisterFlagCompletionFunc("budget", cobra.NoFileCompletions)
	return cmd
}

func spoolState(rep spool.Report) string {
	switch {
	case rep.InUse != 0:
		return "open"
	case rep.Closed:
		return "closed"
	}
	return "not closed"
}

// losses returns the losses as --json writes them. In an open spool, the sequences that
// are reserved for records in memory are not lost.
func losses(rep spool.Report) []lossObject {
	list := []lossObject{} // not nil: none is []
	for _, l := range rep.Findings {
		if rep.InUse != 0 && l.Cause == spool.PowerCut {
			continue
		}
		o := lossObject{Cause: string(l.Cause), File: l.File, Why: rep.Foreign[l.File]}
		if l.Gap.From <= l.Gap.To {
			o.From, o.To, o.Records = l.Gap.From, l.Gap.To, l.Records
		}
		list = append(list, o)
	}
	return list
}

type lossObject struct {
	Cause   string `json:"cause"`
	File    string `json:"file"`
	From    uint64 `json:"from"`
	To      uint64 `json:"to"`
	Records uint64 `json:"records"`
	Why     string `json:"why,omitempty"`
}

type segmentObject struct {
	File    string `json:"file"`
	First   uint64 `json:"first"`
	Last    uint64 `json:"last"`
	Records uint64 `json:"records"`
	Bytes   uint64 `json:"bytes"`
	Began   string `json:"began"`
	Thinned int    `json:"thinned"`
	Damaged bool   `json:"damaged"`
}

type readerObject struct {
	Name     string `json:"name"`
	Position uint64 `json:"position"`
	Queued   uint64 `json:"queued"`
}

func verifyJSON(out io.Writer, dir string, rep spool.Report, budget size) error {
	o := struct {
		Folder   string          `json:"folder"`
		State    string          `json:"state"`
		PID      int             `json:"pid,omitempty"`
		Damaged  bool            `json:"damaged"`
		Records  uint64          `json:"records"`
		Bytes    uint64          `json:"bytes"`
		First    uint64          `json:"first"`
		Last     uint64          `json:"last"`
		Next     uint64          `json:"next"`
		Floor    uint64          `json:"floor"`
		Segments []segmentObject `json:"segments"`
		Readers  []readerObject  `json:"readers"`
		Card     *wearObject     `json:"card"`
		SetAside []string        `json:"set_aside"`
		Losses   []lossObject    `json:"losses"`
	}{dir, spoolState(rep), rep.InUse, rep.Damage() > 0, rep.Records, rep.Bytes, rep.First, rep.Last, rep.Next, rep.Floor,
		[]segmentObject{}, []readerObject{}, newWearObject(rep.Wear, budget), damagedFiles(dir), losses(rep)}
	for _, s := range rep.Segments {
		o.Segments = append(o.Segments, segmentObject{s.File, s.First, s.Last, s.Records, s.Bytes,
			recordTime(s.Began), s.Downsampled, s.Damaged})
	}
	for _, r := range rep.Readers {
		o.Readers = append(o.Readers, readerObject{r.Name, r.Position, r.Queued})
	}
	return writeObject(out, o)
}

// writeObject writes a value as JSON in one line that can be printed.
func writeObject(out io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err == nil {
		_, err = out.Write(append(appendEscapedJSON(nil, b), '\n'))
	}
	return err
}

// showSpool writes a report for people.
func showSpool(out io.Writer, dir string, rep spool.Report, budget size, colour bool) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintf(w, "spool\t%s\n", escapeName(dir))
	fmt.Fprintf(w, "state\t%s\n", stateText(rep))
	fmt.Fprintf(w, "records\t%s\n", recordsText(rep))
	if rep.Floor > 0 {
		fmt.Fprintf(w, "finished\tall up to sequence %d: confirmed, expired, or dropped since the spool was full\n", rep.Floor)
	}
	fmt.Fprintf(w, "segments\t%s\n", segmentsText(rep))
	fmt.Fprintf(w, "card\t%s\n", wearText(rep, budget))
	if damaged := damagedFiles(dir); len(damaged) > 0 {
		fmt.Fprintf(w, "set aside\t%s: found damaged before; what could be read was handed to readers, the rest is lost\n",
			escapeName(strings.Join(damaged, ", ")))
	}
	if len(rep.Readers) > 0 {
		fmt.Fprintf(w, "\nREADER\tCONFIRMED UP TO\tQUEUED\n")
		for _, r := range rep.Readers {
			fmt.Fprintf(w, "%s\t%d\t%d\n", escapeName(r.Name), r.Position, r.Queued)
		}
	}
	list := losses(rep)
	if len(list) > 0 {
		fmt.Fprintf(w, "\nCAUSE\tFILE\tSEQUENCES\tRECORDS LOST\n")
	}
	for _, l := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", l.Cause, lossFile(l), lossSequences(l, rep), lossRecords(l))
	}
	fmt.Fprintln(w)
	if err := w.Flush(); err != nil {
		return err
	}
	if err := showVerdict(out, rep, colour); err != nil {
		return err
	}
	return showBudget(out, rep.Wear, budget)
}

// damagedFiles returns the names of the files that an earlier reader of the spool found
// damaged.
func damagedFiles(dir string) []string {
	list := []string{}            // not nil: none is []
	entries, _ := os.ReadDir(dir) // it has just been read
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".damaged") {
			list = append(list, e.Name())
		}
	}
	return list
}

func stateText(rep spool.Report) string {
	switch spoolState(rep) {
	case "open":
		return fmt.Sprintf("open in process %d", rep.InUse)
	case "closed":
		return "closed"
	}
	return "not closed: the program was killed or the power was cut; it needs nothing"
}

func recordsText(rep spool.Report) string {
	text := "none"
	if rep.Records > 0 {
		text = fmt.Sprintf("%d, %s, sequences %s", rep.Records, resource.Size(rep.Bytes), sequences(rep.First, rep.Last))
	}
	if spoolState(rep) == "closed" { // else it is not known which ones were given out
		text += fmt.Sprintf("; the next record gets %d", rep.Next)
	}
	return text
}

func segmentsText(rep spool.Report) string {
	thinned, damaged := 0, 0
	for _, s := range rep.Segments {
		if s.Downsampled > 0 {
			thinned++
		}
		if s.Damaged {
			damaged++
		}
	}
	text := fmt.Sprint(len(rep.Segments))
	if thinned > 0 {
		text += fmt.Sprintf(", %d thinned out", thinned)
	}
	if damaged > 0 {
		text += fmt.Sprintf(", %d damaged", damaged)
	}
	return text
}

func lossFile(l lossObject) string {
	switch {
	case l.File == "":
		return "-"
	case l.Why != "":
		return escapeName(l.File) + " (" + escapeText(l.Why) + ")"
	}
	return escapeName(l.File)
}

func lossSequences(l lossObject, rep spool.Report) string {
	switch {
	case l.To == 0:
		return "none"
	case l.To <= rep.Floor:
		return sequences(l.From, l.To) + " (finished)"
	}
	return sequences(l.From, l.To)
}

func lossRecords(l lossObject) string {
	switch {
	case l.To == 0:
		return "0"
	case l.Records == 0:
		return "not known"
	case l.Records == 1:
		return "1"
	}
	return fmt.Sprintf("at most %d", l.Records)
}

func places(n int) string {
	if n == 1 {
		return "one place"
	}
	return fmt.Sprintf("%d places", n)
}

// showVerdict ends a report with its conclusion.
func showVerdict(out io.Writer, rep spool.Report, colour bool) error {
	const red, green, reset = "\x1b[31m", "\x1b[32m", "\x1b[0m"
	paint := func(code, text string) string {
		if colour {
			return code + text + reset
		}
		return text
	}
	n := rep.Damage()
	if n == 0 {
		_, err := fmt.Fprintln(out, paint(green, "No damage: every record that waits can be read."))
		return err
	}
	lost := uint64(0)
	for _, l := range rep.Findings {
		if l.Gap.From <= l.Gap.To && l.Gap.To > rep.Floor && l.Cause != spool.Torn && l.Cause != spool.PowerCut {
			lost += l.Records
		}
	}
	what := fmt.Sprintf("At most %d records are lost; all others can be read.", lost)
	switch lost {
	case 0:
		what = "No record is lost."
	case 1:
		what = "At most 1 record is lost; all others can be read."
	}
	_, err := fmt.Fprintf(out, "%s %s\nNothing needs to be done: readers of the spool skip what is damaged. The file is renamed to\n*.damaged once everything else in it has been read.\n",
		paint(red, "Damaged in "+places(n)+"."), what)
	return err
}
