package spool

import (
	"fmt"
	"log/slog"
	"time"
)

// A Class is a promise: how safe a record is when it counts as accepted.
type Class int

const (
	// Durable records are accepted when they are on the card: Append returns, and
	// AppendAsync calls back, after the sync that put them there. A power cut
	// costs none of them.
	Durable Class = iota
	// Telemetry records are accepted when they are in memory. They go to the card
	// when they have waited Options.FlushEvery, when memory is half full because
	// readers fall behind, and at Sync and Close; what all readers confirm before
	// that never costs the card a byte. A power cut, or kill -9, costs at most
	// what was accepted in the last FlushEvery and not yet confirmed (longer only
	// while the card fails).
	Telemetry
)

// An OverflowPolicy says what happens to records when the spool is full.
type OverflowPolicy int

const (
	// DropOldest drops the oldest records, delivered or not.
	DropOldest OverflowPolicy = iota
	// DropNewest refuses the new record with ErrFull.
	DropNewest
	// Downsample reduces older segments: of each series in each interval it keeps the
	// first and last record and those with the least and greatest value
	// (Options.Series, Options.DownsampleEvery). Intervals double each time a segment is
	// downsampled again. When that no longer frees space, it drops the oldest records.
	Downsample
	// Wait makes Append wait for space. AppendAsync, which never waits, returns ErrFull.
	Wait
)

// Options say how a spool keeps its records. The zero value works.
type Options struct {
	// Class is what the spool promises to appenders. If zero, Durable.
	Class Class
	// FlushEvery is how long a Telemetry record may be in memory only. If zero, 5 minutes.
	FlushEvery time.Duration
	// CommitEvery is how long a reader's position may be in memory only. Every write
	// includes the positions; CommitEvery applies when nothing else is written. After a
	// power cut, what was confirmed since the last commit is handed out again. If zero,
	// 10 s.
	CommitEvery time.Duration

	// MaxBytes bounds the records kept, in bytes on the card; a record takes 20 to 23
	// bytes besides its data. Records that wait in memory may exceed it by Memory. If
	// zero, 64 MiB.
	MaxBytes uint64
	// MaxRecords bounds the number of records kept in the same way. If zero, there is no bound.
	MaxRecords uint64
	// MaxAge is how long records are kept; older ones expire, at most a sixteenth of
	// MaxAge or a minute late. Ages are counted on the spool's clock, which never goes
	// back and does not jump when the machine's clock is set while the spool is open.
	// Between two runs it advances by what the machine's clock says, if that is not
	// negative. If zero, records are kept for ever.
	MaxAge time.Duration
	// Overflow says what happens at MaxBytes or MaxRecords. If zero, DropOldest.
	Overflow OverflowPolicy
	// DownsampleEvery is the first interval of Downsample. If zero, one minute.
	DownsampleEvery time.Duration
	// Series tells Downsample which series a record belongs to and its value there. If
	// not ok, the record is kept. Series must not keep data. If nil, all records are one
	// series without values: the first and last of each interval are kept.
	Series func(data []byte) (series string, value float64, ok bool)

	// MaxRecord bounds the data of one record, in bytes; it is at most a quarter of
	// SegmentSize. If zero, a quarter of SegmentSize, but at most 1 MiB and a quarter of
	// MaxBytes.
	MaxRecord int
	// SegmentSize is the size of a file of the log, in bytes, from 64 KiB to 1 GiB,
	// a multiple of 4096. If zero, an eighth of MaxBytes, but from
	// 64 KiB to 4 MiB.
	SegmentSize int64
	// Memory bounds the records in memory on their way to the card, in bytes; it is at
	// least four times MaxRecord. When memory is full, Append waits and AppendAsync
	// returns ErrFull (backpressure); while the card fails, Telemetry drops the oldest in
	// memory instead if Overflow says so. If zero, 1 MiB or four times MaxRecord, whichever
	// is more.
	Memory int
	// InFlight bounds the records that each reader has handed out and not confirmed;
	// Next waits at the bound. If zero, 4096.
	InFlight int
	// BufferOnFailure lets Durable records wait in memory while the card fails. If false they
	// are refused at once with the card's error.
	BufferOnFailure bool
	// KeepDamaged is how many quarantined files are kept for inspection; the oldest are
	// deleted. If zero, 4.
	KeepDamaged int
	// DayBudget is how many bytes a day should be written to the card at most. It is not
	// enforced: when the last 24 hours had more, Log gets a warning, once a day, and
	// Stats has both figures. If zero, there is no budget.
	DayBudget uint64
	// Log gets a line for damage, for a card that fails and recovers, for days beyond
	// DayBudget and, at Close, for what was written to the card. If nil, there is no log.
	Log *slog.Logger

	disk disk // in tests; if nil, the folder
}

const (
	minSegment = 64 << 10
	maxSegment = 1 << 30
)

// applyDefaults replaces zeros by defaults and refuses invalid options.
func (o *Options) applyDefaults() error {
	setDefault(&o.FlushEvery, 5*time.Minute)
	setDefault(&o.CommitEvery, 10*time.Second)
	setDefault(&o.MaxBytes, 64<<20)
	setDefault(&o.DownsampleEvery, time.Minute)
	setDefault(&o.SegmentSize, min(4<<20, max(minSegment, int64(o.MaxBytes/8)&^(pageSize-1))))
	setDefault(&o.MaxRecord, int(min(1<<20, o.SegmentSize/4, int64(min(o.MaxBytes, 1<<30)/4))))
	setDefault(&o.Memory, max(1<<20, 4*o.MaxRecord))
	setDefault(&o.InFlight, 4096)
	setDefault(&o.KeepDamaged, 4)
	switch {
	case o.Class != Durable && o.Class != Telemetry:
		return fmt.Errorf("unknown class %d", o.Class)
	case o.Overflow < DropOldest || o.Overflow > Wait:
		return fmt.Errorf("unknown policy %d", o.Overflow)
	case o.FlushEvery < 0 || o.CommitEvery < 0 || o.MaxAge < 0 || o.DownsampleEvery < 0:
		return fmt.Errorf("a duration is negative")
	case o.SegmentSize < minSegment || o.SegmentSize > maxSegment || o.SegmentSize%pageSize != 0:
		return fmt.Errorf("segment size %d: must be a multiple of 4096 from %d to %d", o.SegmentSize, minSegment, maxSegment)
	case o.MaxRecord < 1 || int64(o.MaxRecord) > o.SegmentSize/4 || o.MaxRecord > maxLength-3:
		return fmt.Errorf("largest record %d: must be from 1 to a quarter of the segment size %d", o.MaxRecord, o.SegmentSize)
	case uint64(recordSize(o.MaxRecord)) > o.MaxBytes:
		return fmt.Errorf("largest record %d: does not fit in %d bytes", o.MaxRecord, o.MaxBytes)
	case o.Memory < 4*o.MaxRecord:
		return fmt.Errorf("memory %d: must be at least four times the largest record %d", o.Memory, o.MaxRecord)
	case o.InFlight < 1 || o.KeepDamaged < 0:
		return fmt.Errorf("InFlight and KeepDamaged must not be negative")
	}
	return nil
}

// setDefault sets v to def if it is zero.
func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
