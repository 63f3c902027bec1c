//go:build race

package classictest

const race = true
