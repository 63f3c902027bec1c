package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Errors of Verify, Walk and Browse that a caller may want to tell apart.
var (
	// ErrNoSpool: the folder holds no spool.
	ErrNoSpool = errors.New("not a spool")
	// ErrNoReader: the spool knows no reader of that name.
	ErrNoReader = errors.New("no such reader")
)

// A Report is what Verify found.
type Report struct {
	Segments    []SegmentReport   // the files of the log, oldest first
	Records     uint64            // that are readable and not done with
	Bytes       uint64            // their size
	First, Last uint64            // their lowest and highest sequence, 0 if there are none
	Next        uint64            // the sequence that the next record would get
	Floor       uint64            // the low-water mark: records up to it are done with
	Closed      bool              // the last program closed the spool
	InUse       int               // the process that has the spool open; 0 if none has or it is not known
	Readers     []ReaderStats     // and how far each has read
	Wear        Wear              // the newest figures in the log; at most an hour old if the spool is open
	Findings    []Finding         // all of them, Torn and PowerCut included
	Foreign     map[string]string // files that do not belong there, with the reason
	// Gap is what is missing at the end of a Selection that ends before the log does.
	Gap Gap
}

// Damage counts the findings that are damage: not Torn, not PowerCut.
func (r *Report) Damage() (n int) {
	for _, l := range r.Findings {
		if l.Cause != Torn && l.Cause != PowerCut {
			n++
		}
	}
	return n
}

// A SegmentReport describes one file of the log.
type SegmentReport struct {
	File           string // its name in the folder
	First, Last    uint64 // sequences
	Records, Bytes uint64 // that can be read
	Began          uint64 // ms of the spool's clock
	Downsampled    int    // how often it was downsampled
	Damaged        bool   // part of it is not what was written
}

// A Selection says which records Browse reads. The zero value selects all.
type Selection struct {
	From, To uint64 // sequences, both included. If zero, there is no bound
	Last     uint64 // only so many of the last records. If zero, all
	// Reader is the name of a reader: only what is after its position. If empty, all.
	Reader string
	// Progress is told now and then how many bytes were read, and how many there
	// are to read. If nil, nobody is.
	Progress func(done, total uint64)
}

// Verify reads all of the spool in dir, and changes nothing. Damage is no error; the
// report describes it. A spool that is open may be verified, too; a record that is
// being written then may show as Torn. Verify fails if the folder or a file cannot be
// opened, or if the folder holds no spool.
func Verify(dir string) (Report, error) {
	return Browse(context.Background(), dir, Selection{}, nil)
}

// Walk calls f for each record of the spool in dir that is readable and not done
// with, in order, with the Gap before it, and changes nothing. Data is borrowed until
// f returns. Walk ends when f returns an error, and returns it.
func Walk(dir string, f func(Record) error) error {
	_, err := Browse(context.Background(), dir, Selection{}, f)
	return err
}

// Browse is Verify and Walk of the records that sel selects; f may be nil. It reads
// only the segments that hold some of them, and reports on those only: select
// everything for all readers' queues and all findings. It returns ctx's error when ctx
// ends.
func Browse(ctx context.Context, dir string, sel Selection, f func(Record) error) (Report, error) {
	d := &readOnlyDisk{disk: folder(dir), ctx: ctx}
	pid := lockedBy(dir)
	rep, err := browse(d, sel, f)
	if err == nil && len(rep.Segments) == 0 && d.notASpool() {
		err = ErrNoSpool
	}
	if err != nil {
		return rep, fmt.Errorf("spool: %q: %w", dir, err)
	}
	rep.InUse = pid
	return rep, nil
}

// lockedBy finds the process that has locked a folder in /proc/locks; 0 if there is
// none or the list does not tell.
func lockedBy(dir string) int {
	var st unix.Stat_t
	list, err := os.ReadFile("/proc/locks")
	if err != nil || unix.Stat(dir, &st) != nil {
		return 0
	}
	where := fmt.Sprintf("%02x:%02x:%d", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)), st.Ino)
	for line := range strings.Lines(string(list)) {
		// 1: FLOCK  ADVISORY  WRITE 1234 b3:02:5678 0 EOF
		w := strings.Fields(line)
		if len(w) > 5 && w[1] == "FLOCK" && w[5] == where {
			pid, _ := strconv.Atoi(w[4])
			return max(pid, 0)
		}
	}
	return 0
}
