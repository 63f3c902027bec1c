package hubtest

import "slices"

// Combine returns all types or patterns of up to depth of these levels. To tell any two
// patterns apart, the types need all levels that the patterns name, one more that none
// names, and one level more depth than any pattern.
func Combine(levels []string, depth int) []string {
	all, last := slices.Clone(levels), levels
	for range depth - 1 {
		var next []string
		for _, s := range last {
			for _, l := range levels {
				next = append(next, s+"/"+l)
			}
		}
		all = append(all, next...)
		last = next
	}
	return all
}
