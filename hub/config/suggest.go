package config

import "fmt"

// suggestKey suggests a known key for an unknown one.
func suggestKey(name string, known []key) string {
	names := make([]string, len(known))
	for i, k := range known {
		names[i] = k.name
	}
	if n := closest(name, names); n != "" {
		return fmt.Sprintf("did you mean %s?", n)
	}
	return "want " + joinOr(names)
}

// closest returns the name with the least edit distance from s, or "" if none is close
// enough for s to be a misspelling.
func closest(s string, names []string) string {
	best, least := "", 3 // at a distance of 3 it is another word
	if len(s) > 64 {
		return ""
	}
	for _, n := range names {
		if d := editDistance(s, n); d < least && d < len(n) {
			best, least = n, d
		}
	}
	return best
}

// editDistance is the edit distance of a and b, with transpositions of adjacent letters
// (optimal string alignment).
func editDistance(a, b string) int {
	older, old, now := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range old {
		old[j] = j
	}
	for i := 1; i <= len(a); i++ {
		now[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			now[j] = min(old[j]+1, now[j-1]+1, old[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				now[j] = min(now[j], older[j-2]+1)
			}
		}
		older, old, now = old, now, older
	}
	return old[len(b)]
}
