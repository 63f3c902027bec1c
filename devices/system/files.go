package system

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"github.com/besterhub/bester/devices"
)

// read returns the first len(s.buffer) bytes of a file, or nil if it cannot be read.
// The result is valid until the next read.
func (s *Sensor) read(path string) []byte {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	n := 0
	for n < len(s.buffer) {
		m, err := f.Read(s.buffer[n:])
		n += m
		if err != nil {
			break
		}
	}
	return s.buffer[:n]
}

func (s *Sensor) proc(name string) []byte { return s.read(filepath.Join(s.root, "proc", name)) }

// parseNumber parses a field as a finite number that is not negative. All numbers here
// are of this kind, except temperatures.
func parseNumber(field []byte) (float64, bool) {
	if len(field) == 0 || len(field) > 32 {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(field), 64)
	return f, err == nil && f >= 0 && !math.IsInf(f, 0)
}

// nextField cuts the first field off a line.
func nextField(line []byte) (field, rest []byte) {
	line = bytes.TrimLeft(line, " \t")
	end := bytes.IndexAny(line, " \t\n")
	if end < 0 {
		end = len(line)
	}
	return line[:end], line[end:]
}

// roundRatio rounds to a hundredth of a percent.
func roundRatio(share float64) float64 { return math.Round(share*1e4) / 1e4 }

// cpuTimes are the CPU times of one read of /proc/stat.
type cpuTimes struct {
	idle, total float64
	known       bool
}

func (s *Sensor) readCPU(dst []devices.Reading) []devices.Reading {
	if s.sources.temperature != "" {
		field, _ := nextField(s.read(s.sources.temperature))
		if len(field) <= 32 {
			t, err := strconv.ParseFloat(string(field), 64)
			// A missing sensor shows a value that no processor can have.
			if t /= 1000; err == nil && t > -100 && t < 250 {
				dst = append(dst, devices.Number("cpu/temperature", devices.Celsius, t))
			}
		}
	}
	dst = s.readCPUUsed(dst)
	field, _ := nextField(s.read(filepath.Join(s.root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")))
	if kHz, ok := parseNumber(field); ok && kHz > 0 {
		dst = append(dst, devices.Number("cpu/frequency", devices.Hertz, kHz*1000))
	}
	return dst
}

// readCPUUsed computes cpu/used from the difference to the last read. The first read has
// no difference, so it yields nothing.
func (s *Sensor) readCPUUsed(dst []devices.Reading) []devices.Reading {
	field, line := nextField(s.proc("stat"))
	if string(field) != "cpu" {
		return dst
	}
	// user nice system idle iowait irq softirq steal; guest times are in user and nice.
	now := cpuTimes{known: true}
	for i := range 8 {
		field, line = nextField(line)
		v, ok := parseNumber(field)
		if !ok {
			if i < 4 {
				return dst
			}
			break
		}
		now.total += v
		if i == 3 || i == 4 {
			now.idle += v
		}
	}
	last := s.lastCPU
	s.lastCPU = now
	total, idle := now.total-last.total, now.idle-last.idle
	if !last.known || total <= 0 || idle < 0 || idle > total {
		return dst
	}
	return append(dst, devices.Number("cpu/used", devices.Ratio, roundRatio(1-idle/total)))
}

// The Raspberry Pi firmware's flags: the present state, and 16 bits higher whether it has
// occurred since boot.
const (
	underVoltage = 1 << 0
	throttled    = 1 << 2
	sinceBoot    = 16
)

func (s *Sensor) readPower(dst []devices.Reading) []devices.Reading {
	if s.sources.throttled != "" {
		field, _ := nextField(s.read(s.sources.throttled))
		field = bytes.TrimPrefix(field, []byte("0x"))
		if len(field) <= 8 {
			if flags, err := strconv.ParseUint(string(field), 16, 32); err == nil {
				return append(dst,
					devices.Bool("power/undervoltage", flags&underVoltage != 0),
					devices.Bool("power/undervoltage_since_boot", flags>>sinceBoot&underVoltage != 0),
					devices.Bool("cpu/throttled", flags&throttled != 0),
					devices.Bool("cpu/throttled_since_boot", flags>>sinceBoot&throttled != 0))
			}
		}
	}
	if s.sources.lowVoltage != "" {
		switch field, _ := nextField(s.read(s.sources.lowVoltage)); string(field) {
		case "0", "1":
			dst = append(dst, devices.Bool("power/undervoltage", field[0] == '1'))
		}
	}
	return dst
}

func (s *Sensor) readLoad(dst []devices.Reading) []devices.Reading {
	line := s.proc("loadavg")
	for _, name := range [...]string{"load1", "load5", "load15"} {
		var field []byte
		field, line = nextField(line)
		v, ok := parseNumber(field)
		if !ok {
			break
		}
		dst = append(dst, devices.Number(name, devices.None, v))
	}
	return dst
}

func (s *Sensor) readMemory(dst []devices.Reading) []devices.Reading {
	var total, available, swap, swapFree float64
	var has uint8
	for line := range bytes.Lines(s.proc("meminfo")) {
		key, rest := nextField(line)
		field, rest := nextField(rest)
		unit, _ := nextField(rest)
		kB, ok := parseNumber(field)
		if !ok || string(unit) != "kB" {
			continue
		}
		switch string(key) {
		case "MemTotal:":
			total, has = kB, has|1
		case "MemAvailable:":
			available, has = kB, has|2
		case "SwapTotal:":
			swap, has = kB, has|4
		case "SwapFree:":
			swapFree, has = kB, has|8
		}
	}
	if has&2 != 0 {
		dst = append(dst, devices.Number("memory/available", devices.Byte, available*1024))
	}
	if has&3 == 3 && total > 0 && available <= total {
		dst = append(dst, devices.Number("memory/used", devices.Ratio, roundRatio(1-available/total)))
	}
	if has&12 == 12 && swap > 0 && swapFree <= swap {
		dst = append(dst, devices.Number("swap/used", devices.Ratio, roundRatio(1-swapFree/swap)))
	}
	return dst
}

func (s *Sensor) readUptime(dst []devices.Reading) []devices.Reading {
	field, _ := nextField(s.proc("uptime"))
	if v, ok := parseNumber(field); ok {
		dst = append(dst, devices.Number("uptime", devices.Second, v))
	}
	return dst
}

func (s *Sensor) readNetworks(dst []devices.Reading) []devices.Reading {
	if len(s.networks) == 0 {
		return dst
	}
	for line := range bytes.Lines(s.proc("net/dev")) {
		name, counters, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			continue
		}
		name = bytes.TrimSpace(name)
		for i := range s.networks {
			if n := &s.networks[i]; n.name == string(name) {
				dst = n.read(dst, counters)
			}
		}
	}
	return dst
}

// read takes the bytes received (the first counter) and the bytes sent (the ninth).
func (n *network) read(dst []devices.Reading, counters []byte) []devices.Reading {
	var values [9]float64
	for i := range values {
		var field []byte
		var ok bool
		field, counters = nextField(counters)
		if values[i], ok = parseNumber(field); !ok {
			return dst
		}
	}
	return append(dst,
		devices.Number(n.received, devices.Byte, values[0]),
		devices.Number(n.sent, devices.Byte, values[8]))
}
