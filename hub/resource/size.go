package resource

import "strconv"

// Size writes a number of bytes for people, in the largest of the units B, KiB, MiB, GiB and
// TiB that leaves 1 or more, with one decimal unless that is 0: "64 MiB", "1.5 GiB", "0 B".
func Size(bytes uint64) string {
	v, unit := float64(bytes), "B"
	for _, larger := range [...]string{"KiB", "MiB", "GiB", "TiB"} {
		if v < 1023.95 { // more would be written as 1024.0
			break
		}
		v, unit = v/1024, larger
	}
	text := strconv.FormatFloat(v, 'f', 1, 64)
	if text[len(text)-2:] == ".0" {
		text = text[:len(text)-2]
	}
	return text + " " + unit
}
