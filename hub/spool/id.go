package spool

import (
	"cmp"
	"fmt"
	"hash/crc32"
)

// idName is the file that names the spool, so that a foreign segment is not taken for
// one of this spool.
const idName = "id"

// formatID is the text of that file: the id, and the next sequence when the spool was
// closed last.
func formatID(id, next uint64) []byte {
	text := fmt.Sprintf("bester spool %016x %d ", id, next)
	return fmt.Appendf(nil, "%s%08x\n", text, crc32.Checksum([]byte(text), castagnoli))
}

func parseID(b []byte) (id, next uint64, ok bool) {
	var sum uint32
	if n, err := fmt.Sscanf(string(b), "bester spool %x %d %x\n", &id, &next, &sum); n != 3 || err != nil {
		return 0, 0, false
	}
	if string(formatID(id, next)) != string(b) || next >= maxPlausible {
		return 0, 0, false
	}
	return id, next, true
}

// readID reads that file. ok is false if there is none or it is damaged. An error
// means that the file cannot be read now: too many files are open, or this user lacks
// the permission.
func readID(d disk) (id, next uint64, ok bool, err error) {
	f, err := d.Open(idName, false, false)
	if err != nil {
		if transient(err) {
			return 0, 0, false, fmt.Errorf("%s: %w", idName, err)
		}
		return 0, 0, false, nil
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil || size > 128 {
		return 0, 0, false, nil
	}
	b := make([]byte, size)
	readPages(f, b, 0)
	id, next, ok = parseID(b)
	return id, next, ok, nil
}

// writeID replaces the file atomically.
func writeID(d disk, id, next uint64) error {
	f, err := d.Open(idName+newSuffix, true, true)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(formatID(id, next), 0)
	err = cmp.Or(err, f.Truncate(int64(len(formatID(id, next)))), f.Sync(), f.Close())
	if err == nil {
		err = cmp.Or(d.Rename(idName+newSuffix, idName), d.Sync())
	}
	return err
}
