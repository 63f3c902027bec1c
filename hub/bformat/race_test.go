//go:build race

package bformat

func init() { raceEnabled = true }
