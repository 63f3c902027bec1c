//go:build race

package hub

// Under the race detector sync.Pool forgets on purpose, so allocations say nothing.
const raceEnabled = true
