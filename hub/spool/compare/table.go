package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// rows are the table as text; the first row is its head.
func (t *Table) rows() [][]string {
	row := func(head string, f func(c *Column) string) []string {
		cells := []string{head}
		for i := range t.Columns {
			cells = append(cells, f(&t.Columns[i]))
		}
		return cells
	}
	all := [][]string{
		row("", func(c *Column) string { return c.Name }),
		row("version", func(c *Column) string { return c.Version }),
	}
	for i, cell := range t.Columns[0].Speed {
		head := fmt.Sprintf("%d bytes, %d in flight: ", cell.Load.Size, cell.Load.Flight)
		all = append(all,
			row(head+"records/s", func(c *Column) string { return count(c.Speed[i].Result.Rate()) }),
			row("  acknowledged after, p50", func(c *Column) string { return short(c.Speed[i].Result.P50) }),
			row("  p99", func(c *Column) string { return short(c.Speed[i].Result.P99) }),
			row("  device bytes per byte", func(c *Column) string { return fmt.Sprintf("%.2f", c.Speed[i].Written) }))
		if cell.Load.Flight > 1 {
			all = append(all, row("  read, and again", func(c *Column) string { return fmt.Sprintf("%.2f", c.Speed[i].Again) }))
		}
	}
	for i, cell := range t.Columns[0].Lone {
		pace := "one after the other"
		if cell.Load.Every > 0 {
			pace = fmt.Sprintf("one each %v", cell.Load.Every)
		}
		all = append(all,
			row(fmt.Sprintf("%d bytes, %s: records", cell.Load.Size, pace), func(c *Column) string { return count(float64(c.Lone[i].Result.Records)) }),
			row("  device bytes per byte", func(c *Column) string { return fmt.Sprintf("%.1f", c.Lone[i].Written) }))
	}
	return append(all,
		row("kill -9: there of acknowledged", func(c *Column) string { return fmt.Sprintf("%d of %d", c.Killed.There, c.Killed.Acknowledged) }),
		row("most memory, MB", func(c *Column) string { return fmt.Sprintf("%.1f", float64(c.Resident)/1e6) }),
		row("program, MB", func(c *Column) string { return fmt.Sprintf("%.1f", float64(c.Program)/1e6) }))
}

// count formats a large number with its thousands apart.
func count(f float64) string {
	s := fmt.Sprintf("%.0f", f)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + " " + s[i:]
	}
	return s
}

// short formats a duration with about three digits.
func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1e3)
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

// above is the text above the table: the conditions of the measurement.
func (t *Table) above() string {
	slices.Sort(t.Sync)
	s := fmt.Sprintf("ext4 on a loop device at %s. Overwriting a page and fdatasync takes %s by itself (from %s to %s during the run).",
		t.Folder, short(t.Sync[len(t.Sync)/2]), short(t.Sync[0]), short(t.Sync[len(t.Sync)-1]))
	if t.Delay > 0 {
		s += fmt.Sprintf(" Each sync of all processes was made %v longer by strace.", t.Delay)
	}
	return s
}

var notes = []string{
	"Each is a process of its own and acknowledges after a sync, or is set to; nobody reads meanwhile. Device bytes are those of the loop device, with the file system's journal; first into new files, then, when all was read (the servers: deleted), as much again. hub/spool uses blocks again by the segment, here 4 MiB; less than that is no difference.",
	"hub/spool is called by the process that it is in, as the hub does; there is no socket between, the others have one. With a socket: records and acknowledgements over loopback TCP.",
	"nats-server: JetStream, file store, sync_interval: always, published asynchronously. Batches: as many records as are in flight are one atomic batch, then the next; one in flight is no batch.",
	"mosquitto: QoS 1, persistence, autosave_interval 1, autosave_on_changes true, a subscriber that is away. It writes all that it keeps anew each time, and acknowledges without waiting for that; so its bytes grow with what it keeps.",
	"Where records come further apart than ext4 commits its journal (5 s), hub/spool's cost three pages more each, for the time in the file's inode; mount -o commit=60 spreads that. -every 6s shows it.",
	"kill -9 takes nothing from the kernel: it shows what is acknowledged before it is written, not before it is synced.",
}

func writeJSON(w io.Writer, t *Table) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(t)
}

func writeText(w io.Writer, t *Table) error {
	fmt.Fprintf(w, "%s\n\n", wrap(t.above()))
	tab := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, r := range t.rows() {
		fmt.Fprintln(tab, strings.Join(r, "\t"))
	}
	if err := tab.Flush(); err != nil {
		return err
	}
	for _, n := range notes {
		fmt.Fprintf(w, "\n%s\n", wrap(n))
	}
	return nil
}

func writeMarkdown(w io.Writer, t *Table) error {
	fmt.Fprintf(w, "%s\n\n", t.above())
	for i, r := range t.rows() {
		fmt.Fprintf(w, "| %s |\n", strings.Join(r, " | "))
		if i == 0 {
			fmt.Fprintf(w, "|---|%s\n", strings.Repeat("---:|", len(r)-1))
		}
	}
	fmt.Fprintln(w)
	for _, n := range notes {
		fmt.Fprintf(w, "- %s\n", n)
	}
	return nil
}

// wrap breaks a text into lines of at most 100 characters.
func wrap(s string) string {
	var b strings.Builder
	n := 0
	for _, word := range strings.Fields(s) {
		if n > 0 && n+1+len(word) > 100 {
			b.WriteByte('\n')
			n = 0
		} else if n > 0 {
			b.WriteByte(' ')
			n++
		}
		b.WriteString(word)
		n += len(word)
	}
	return b.String()
}
