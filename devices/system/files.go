package system

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"strconv"

	"github.com/besterhub/bester/devices"
)

// proc returns the beginning of a file in /proc. data is nil if there is no such file, or
// with an error, if it cannot be read. It is valid until the next call.
func (s *Sensor) proc(name string) (data []byte, err error) {
	return optional(readInto(filepath.Join(s.root, "proc", name), s.buffer[:]))
}

// optional turns the error that there is no such file into no data: the machine does not
// have it.
func optional(data []byte, err error) ([]byte, error) {
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// readProc reads what the kernel keeps in memory, none of which can hang. The error is a
// devices.PartErrors of the readings that could not be made.
func (s *Sensor) readProc(dst []devices.Reading) ([]devices.Reading, error) {
	var failed devices.PartErrors
	for _, v := range [...]struct {
		name string
		read func(dst []devices.Reading) ([]devices.Reading, error)
	}{
		{"cpu/used", s.readCPUUsed},
		{"cpu/frequency", s.readFrequency},
		{"load", s.readLoad},
		{"memory", s.readMemory},
		{"uptime", s.readUptime},
		{"network", s.readNetworks},
		{"clock", s.readClock},
	} {
		var err error
		if dst, err = v.read(dst); err == nil {
			continue
		}
		var parts devices.PartErrors
		if errors.As(err, &parts) {
			failed = append(failed, parts...)
		} else {
			failed = append(failed, devices.PartError{Part: v.name, Err: err})
		}
	}
	if len(failed) > 0 {
		return dst, failed
	}
	return dst, nil
}

// errNotUnderstood says that a file of the kernel is not as it is documented.
func errNotUnderstood(file string, data []byte) error {
	line, _, _ := bytes.Cut(data, []byte("\n"))
	return fmt.Errorf("%s is not understood: %.40q", file, line)
}

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

// readFrequency reads the frequency of the first core.
func (s *Sensor) readFrequency(dst []devices.Reading) ([]devices.Reading, error) {
	const file = "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq"
	data, err := optional(readInto(filepath.Join(s.root, file), s.buffer[:]))
	if data == nil {
		return dst, err
	}
	field, _ := nextField(data)
	kHz, ok := parseNumber(field)
	if !ok || kHz == 0 {
		return dst, errNotUnderstood("/"+file, data)
	}
	return append(dst, devices.Number("cpu/frequency", devices.Hertz, kHz*1000)), nil
}

// readCPUUsed computes cpu/used from the difference to the last read. The first read has
// no difference, so it yields nothing.
func (s *Sensor) readCPUUsed(dst []devices.Reading) ([]devices.Reading, error) {
	data, err := s.proc("stat")
	if data == nil {
		return dst, err
	}
	field, line := nextField(data)
	if string(field) != "cpu" {
		return dst, errNotUnderstood("/proc/stat", data)
	}
	// user nice system idle iowait irq softirq steal; guest times are in user and nice.
	now := cpuTimes{known: true}
	for i := range 8 {
		field, line = nextField(line)
		v, ok := parseNumber(field)
		if !ok {
			if i < 4 {
				return dst, errNotUnderstood("/proc/stat", data)
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
	if !last.known || total <= 0 || idle < 0 || idle > total { // none before, no tick since, or counters that went back
		return dst, nil
	}
	return append(dst, devices.Number("cpu/used", devices.Ratio, roundRatio(1-idle/total))), nil
}

// The Raspberry Pi firmware's flags: the present state, and 16 bits higher whether it has
// occurred since boot.
const (
	underVoltage = 1 << 0
	throttled    = 1 << 2
	sinceBoot    = 16
)

// readPower reads the supply of a Raspberry Pi. Its firmware answers, which may hang.
func (s *Sensor) readPower(dst []devices.Reading) ([]devices.Reading, error) {
	var buffer [32]byte
	from := s.sources.Load()
	var failed error
	if from.throttled != "" {
		data, err := readInto(from.throttled, buffer[:])
		field, _ := nextField(data)
		flags, bad := strconv.ParseUint(string(bytes.TrimPrefix(field, []byte("0x"))), 16, 32)
		switch {
		case err != nil:
			failed = err
		case bad != nil:
			failed = errNotUnderstood(from.throttled, data)
		default:
			return append(dst,
				devices.Bool("power/undervoltage", flags&underVoltage != 0),
				devices.Bool("power/undervoltage_since_boot", flags>>sinceBoot&underVoltage != 0),
				devices.Bool("cpu/throttled", flags&throttled != 0),
				devices.Bool("cpu/throttled_since_boot", flags>>sinceBoot&throttled != 0)), nil
		}
	}
	if from.lowVoltage == "" {
		return dst, failed
	}
	data, err := readInto(from.lowVoltage, buffer[:])
	if err != nil {
		return dst, err
	}
	field, _ := nextField(data)
	if string(field) != "0" && string(field) != "1" {
		return dst, errNotUnderstood(from.lowVoltage, data)
	}
	return append(dst, devices.Bool("power/undervoltage", field[0] == '1')), nil
}

func (s *Sensor) readLoad(dst []devices.Reading) ([]devices.Reading, error) {
	data, err := s.proc("loadavg")
	if data == nil {
		return dst, err
	}
	line := data
	for _, name := range [...]string{"load1", "load5", "load15"} {
		var field []byte
		field, line = nextField(line)
		v, ok := parseNumber(field)
		if !ok {
			return dst, errNotUnderstood("/proc/loadavg", data)
		}
		dst = append(dst, devices.Number(name, devices.None, v))
	}
	return dst, nil
}

func (s *Sensor) readMemory(dst []devices.Reading) ([]devices.Reading, error) {
	data, err := s.proc("meminfo")
	if data == nil {
		return dst, err
	}
	var total, available, swap, swapFree float64
	var has uint8
	for line := range bytes.Lines(data) {
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
	} else {
		err = errors.New("/proc/meminfo has no MemTotal and MemAvailable that fit together")
	}
	if has&12 == 12 && swap > 0 && swapFree <= swap {
		dst = append(dst, devices.Number("swap/used", devices.Ratio, roundRatio(1-swapFree/swap)))
	}
	return dst, err
}

func (s *Sensor) readUptime(dst []devices.Reading) ([]devices.Reading, error) {
	data, err := s.proc("uptime")
	if data == nil {
		return dst, err
	}
	field, _ := nextField(data)
	v, ok := parseNumber(field)
	if !ok {
		return dst, errNotUnderstood("/proc/uptime", data)
	}
	return append(dst, devices.Number("uptime", devices.Second, v)), nil
}

// readClock asks the kernel, unless the tree is another machine's.
func (s *Sensor) readClock(dst []devices.Reading) ([]devices.Reading, error) {
	if s.host {
		if ok, known := s.synced(); known {
			dst = append(dst, devices.Bool("clock/synchronized", ok))
		}
	}
	return dst, nil
}

// readNetworks reads the interfaces that the options name. The error is a
// devices.PartErrors that names those that could not be read.
func (s *Sensor) readNetworks(dst []devices.Reading) ([]devices.Reading, error) {
	if len(s.networks) == 0 {
		return dst, nil
	}
	data, err := s.proc("net/dev")
	if err != nil {
		return dst, err
	}
	var failed devices.PartErrors
	for i := range s.networks {
		n := &s.networks[i]
		var err error
		if dst, err = n.read(dst, data); err != nil {
			failed = append(failed, devices.PartError{Part: n.part, Err: err})
		}
	}
	if len(failed) > 0 {
		return dst, failed
	}
	return dst, nil
}

// read takes the bytes received (the first counter) and the bytes sent (the ninth) of the
// interface from /proc/net/dev.
func (n *network) read(dst []devices.Reading, data []byte) ([]devices.Reading, error) {
	for line := range bytes.Lines(data) {
		name, counters, ok := bytes.Cut(line, []byte(":"))
		if !ok || string(bytes.TrimSpace(name)) != n.name {
			continue
		}
		var values [9]float64
		for i := range values {
			var field []byte
			field, counters = nextField(counters)
			if values[i], ok = parseNumber(field); !ok {
				return dst, errNotUnderstood("/proc/net/dev", line)
			}
		}
		return append(dst,
			devices.Number(n.received, devices.Byte, values[0]),
			devices.Number(n.sent, devices.Byte, values[8])), nil
	}
	return dst, errors.New("there is no such interface")
}
