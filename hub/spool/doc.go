// Package spool keeps a queue of records in a folder on a card. It is a write-ahead log
// in segments: what was accepted is still there after a restart, a kill -9, a power cut,
// a full disk or damage, and the card lives long. The package uses only the standard
// library and golang.org/x/sys, and does not look into records.
//
//	s, err := spool.Open("/var/lib/bester/spool/upstream", spool.Options{})
//	seq, err := s.Append(ctx, data)      // on the card when it returns
//	r, err := s.Reader("upstream")
//	rec, err := r.Next(ctx)              // in order; waits
//	err = r.Confirm(rec.Seq)             // in any order; rec does not come again
//
// # What is promised
//
// A Durable record is accepted when a sync has put it on the card; no power cut
// takes it away. A Telemetry record is accepted when it is in memory; a power cut
// costs at most what was accepted in the last Options.FlushEvery and not confirmed.
// An accepted record is handed to every reader at least once, in order, until it
// is confirmed, is dropped by the retention bounds (Options.MaxBytes, MaxRecords,
// MaxAge, Overflow) or turns out to be damaged. Each of these is counted, and the counts
// add up (Stats). What a reader has confirmed does not come again once its position is
// on the card: with the next write, after Options.CommitEvery, at Sync or Close.
//
// One goroutine, the writer, writes batches. While it syncs one batch, the next gathers
// in memory: all who append meanwhile share the time of a sync (group commit), and no
// caller of AppendAsync ever waits for the card. After a failed sync the state of its
// batch is unknown: the batch is written again into another segment before anyone is
// told. While the card fails (full, failing, read-only, folder gone), Durable records
// are refused at once with the reason or, with Options.BufferOnFailure, wait in memory; Telemetry
// stays in memory, up to Options.Memory. The spool tries again every second. It creates
// a removed folder anew. It waits for a folder that was moved away, or whose file
// system was unmounted.
//
// Damage never stops the spool. It skips whatever cannot be read: the next readable
// record is handed out with the Gap before it, and Stats.Damage says what is missing
// and why. The file is quarantined, that is renamed to .damaged, when all that is
// readable was read. A file that is not a segment of this log is quarantined at once.
//
// # The folder
//
//	<16 hex digits>.spool      a segment of the log; the digits are its first sequence
//	<number>.spare             preallocated: a retired segment, whose blocks are used again. These may be
//	                           deleted while the spool is closed, to free the space
//	reserve.spare              a small one for when the disk is full
//	*.new                      an unfinished file; deleted by Open
//	*.damaged                  quarantined; the newest Options.KeepDamaged are kept
//	id                         "bester spool ", 16 hex digits that name the spool, a space,
//	                           the next sequence when it was closed last, a space, the
//	                           CRC-32C of the text so far in 8 hex digits, a newline
//
// The folder itself is locked (flock) while a spool is open.
//
// # The segment
//
// All numbers are little-endian. CRC-32C is the Castagnoli polynomial. A segment
// begins with its header, 4096 bytes, and a copy of it, in case one is damaged.
// Records follow from byte 8192 on, one after the other. After the last record there
// are zeros, or whatever the file held in an earlier life.
//
//	0     8  "BSTSPOOL"
//	8     2  version of the format: 1
//	10    2  how often the segment was downsampled
//	12    4  salt: a random number, a new one in each life of the file
//	16    8  id of the spool
//	24    8  first sequence: records in it have this one or higher ones
//	32    8  time of its first record, in milliseconds of the spool's clock (near Unix time)
//	40    8  first sequence of the segment before, 0 if there was none
//	48    8  where the records of that one end, in bytes from its beginning
//	56    8  the last sequence in that one, or before it if it has no records
//	64    8  records in the log before this segment, since the log began
//	72    8  bytes of those, with their heads and padding
//	80    8  floor, the low-water mark: records up to this sequence are done with
//	88    8  reserved: sequences below may have been used
//	96    8  records in this segment, if it was downsampled
//	104   8  bytes of those
//	112   8  where they end
//	120   8  when the log began, in milliseconds of the spool's clock
//	128   8  when the segment began; the next three are as of then
//	136   8  bytes of data accepted since the log began
//	144   8  bytes written to the card since then, as Stats.Writes counts them
//	152 192  24 times 8: bytes of those in each of the last 24 hours; the hour that is the
//	         n-th since 1970 is the one at 152 + 8 (n mod 24)
//	344   2  number of readers
//	346   2  0
//	348      for each reader: 8 bytes position, 1 byte length of its name, the name
//	...      0
//	4092  4  CRC-32C of the bytes before
//
// The header and the first batch of records are synced before the file gets its
// name, and the header is never written again: a header with a wrong CRC is damage,
// not an effect of a power cut. Because each segment tells how its predecessor ended
// and what was in it, opening reads only the headers and the newest segment, and
// notices a missing segment.
//
// # The record
//
//	0     4  CRC-32C of all that follows, padding included, continued from the
//	         salt (the CRC's start value is the salt, not 0)
//	4     3  length of the data
//	7     1  kind: 1 data, 2 position, 3 checkpoint
//	8     4  the CRC field of the record before; of the first, that of the header
//	12    4  time, in milliseconds after the header's
//	16    4  sequence, less the first sequence of the segment; of kinds 2 and 3, which
//	         have none, the lowest that the next record may have
//	20       data
//	...      zeros up to a multiple of 4 bytes
//
// The salt rules out records of an earlier life of the file. The link to the record
// before tells whether two records were written one after the other. Both, together
// with the sequence, tell a hole from sequences that were never written. After damage,
// reading goes on at the next offset (a multiple of 4) where the CRC of a record is
// right. A new run of the program never writes after what an earlier one wrote, nor
// does the spool after a failed sync: it begins a new segment, so nothing half written
// is ever continued.
//
//	kind 2, a reader's position:  0 8 sequence up to which all is confirmed; all ones: the reader was removed
//	                              8   the reader's name
//	kind 3, the spool's state:    0 8 floor
//	                              8 8 reserved
//	                             16 1 bit 0: closed: written and synced alone; nothing came after, and reserved is
//	                                  the next sequence
//	                             17 8 if it is that long: bytes of data accepted since the log began
//	                             25 8 bytes written to the card since then, with the batch that the checkpoint is in
//	                                  but without zeros written ahead with it
//
// Positions are records of the log because that costs the card next to nothing: they
// are written with the next batch, mostly in a page that is written anyway. A block of
// their own would double the pages of a lone record. When the write of a position is
// torn, the previous one is still there, earlier in the log or in the header.
//
// # The card
//
// When a file grows, the file system writes its journal with each sync, 20 KiB on
// ext4. A segment is therefore written over preallocated blocks: those of a retired
// segment or, failing that, zeros written 256 KiB ahead. A synced append is then one
// write of the pages it touches. Batches of 12 KiB and more get no zeros: zeros would
// cost more than the journal, which is 12 KiB a sync for allocated blocks. New blocks
// thus cost the card about as much again as what is written to them. The folder
// therefore keeps the blocks that it once took, up to MaxBytes and two segments, and
// pays for them once. A lone write costs about 8 KiB besides, for ext4 journals a
// file's change time within five seconds; writes in between share that.
//
// Stats.Writes counts the pages written since Open, since the log began, and in the last
// 24 hours. The log keeps these figures at next to no cost. They are in each header; the
// next batch includes a checkpoint with them when an hour has passed, or 256 KiB were
// written, since they were last on the card; and Close writes one. A kill or a power cut
// loses what was counted since then. Open begins with the figures of the newest header
// and the checkpoints after it.
package spool
