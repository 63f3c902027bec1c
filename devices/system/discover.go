package system

import (
	"os"
	"path/filepath"
	"strings"
)

// sources are the files in /sys whose paths differ from board to board. A path is empty
// if the board has no such file.
type sources struct {
	temperatures []temperature // what measures the processor, the best first
	throttled    string        // the Raspberry Pi firmware's flags
	lowVoltage   string        // the Raspberry Pi's hwmon alarm, used if the flags are not available
}

// discover finds the sources below root.
func discover(root string) *sources {
	s := &sources{temperatures: cpuTemperatures(root)}
	for _, f := range glob(root, "sys/devices/platform/soc*/soc*:firmware/get_throttled") {
		s.throttled = f
	}
	for _, dir := range glob(root, "sys/class/hwmon/hwmon*") {
		if firstLine(filepath.Join(dir, "name")) == "rpi_volt" {
			s.lowVoltage = filepath.Join(dir, "in0_lcrit_alarm")
		}
	}
	return s
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
