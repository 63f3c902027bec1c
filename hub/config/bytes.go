package config

import "github.com/besterhub/bester/hub/options"

// Bytes is a size in bytes, 0 to 1 GiB, written "4096", "256 KiB" or "1 MiB".
type Bytes = options.Bytes

// The units of Bytes.
const (
	KiB = options.KiB
	MiB = options.MiB
	GiB = options.GiB
)
