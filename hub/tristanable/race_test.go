//go:build race

package tristanable

func init() { raceEnabled = true }
