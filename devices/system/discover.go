package system

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// sources are the files in /sys whose names differ from board to board. Empty
// where there is none.
type sources struct {
	temperature string // thousandths of a degree Celsius
	throttled   string // the Raspberry Pi firmware's flags
	lowVoltage  string // the Raspberry Pi's hwmon alarm, where the flags are not to be had
}

// find looks for the sources below root.
func find(root string) (s sources) {
	for _, f := range glob(root, "sys/devices/platform/soc*/soc*:firmware/get_throttled") {
		s.throttled = f
	}
	s.temperature = zone(root)
	for _, dir := range glob(root, "sys/class/hwmon/hwmon*") {
		switch name := word(filepath.Join(dir, "name")); {
		case name == "rpi_volt":
			s.lowVoltage = filepath.Join(dir, "in0_lcrit_alarm")
		case s.temperature == "" && slices.Contains(cpuChips, name):
			s.temperature = filepath.Join(dir, "temp1_input")
		}
	}
	return s
}

// cpuChips are the hwmon drivers that measure the processor.
var cpuChips = []string{"cpu_thermal", "cpu-thermal", "coretemp", "k10temp", "zenpower", "soc_thermal"}

// zone returns the temperature of the thermal zone that is the processor's, or "".
func zone(root string) string {
	for _, dir := range glob(root, "sys/class/thermal/thermal_zone*") {
		name := strings.ToLower(word(filepath.Join(dir, "type")))
		if strings.Contains(name, "cpu") || strings.Contains(name, "soc") || name == "x86_pkg_temp" {
			return filepath.Join(dir, "temp")
		}
	}
	return ""
}

// glob returns the matches in order; root is taken as it is.
func glob(root, pattern string) []string {
	names, err := filepath.Glob(filepath.Join(escape(root), pattern))
	if err != nil {
		return nil
	}
	return names
}

func escape(root string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(root)
}

// word returns the first word of a small file, or "".
func word(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	var b [64]byte
	n, _ := f.Read(b[:])
	w, _, _ := strings.Cut(strings.TrimSpace(string(b[:n])), "\n")
	return w
}
