//go:build !race

package classictest

const race = false
