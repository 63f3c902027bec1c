package system

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// sources are the files in /sys whose paths differ from board to board. A path is empty
// if the board has no such file.
type sources struct {
	temperature string // thousandths of a degree Celsius
	throttled   string // the Raspberry Pi firmware's flags
	lowVoltage  string // the Raspberry Pi's hwmon alarm, used if the flags are not available
}

// discover finds the sources below root.
func discover(root string) (s sources) {
	for _, f := range glob(root, "sys/devices/platform/soc*/soc*:firmware/get_throttled") {
		s.throttled = f
	}
	s.temperature = thermalZone(root)
	for _, dir := range glob(root, "sys/class/hwmon/hwmon*") {
		switch name := firstLine(filepath.Join(dir, "name")); {
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

// thermalZone returns the temperature file of the processor's thermal zone, or "".
func thermalZone(root string) string {
	for _, dir := range glob(root, "sys/class/thermal/thermal_zone*") {
		name := strings.ToLower(firstLine(filepath.Join(dir, "type")))
		if strings.Contains(name, "cpu") || strings.Contains(name, "soc") || name == "x86_pkg_temp" {
			return filepath.Join(dir, "temp")
		}
	}
	return ""
}

// glob returns the files below root that match the pattern, in order. root is literal.
func glob(root, pattern string) []string {
	names, err := filepath.Glob(filepath.Join(escapeGlob(root), pattern))
	if err != nil {
		return nil
	}
	return names
}

func escapeGlob(root string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(root)
}

// firstLine returns the first line of a small file, or "".
func firstLine(path string) string {
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
