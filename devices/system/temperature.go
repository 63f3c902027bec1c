package system

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/besterhub/bester/devices"
)

// cpuZones are the names of what measures the processor, the best first: the types of
// thermal zones, which are the names of the nodes in the kernel's device trees (arch/*/
// boot/dts) or in its drivers (drivers/thermal), and the names of hwmon chips, which are
// the same with "_" for "-". They are patterns of path.Match, for names in lower case
// with "-" for "_".
var cpuZones = []string{
	"cpu-thermal",      // most boards: Raspberry Pi, Allwinner, Amlogic, i.MX 8, Marvell, MediaTek, Rockchip, STM32MP, StarFive, TI AM33xx to DRA7
	"x86-pkg-temp",     // Intel
	"coretemp",         // Intel, hwmon
	"k10temp",          // AMD, hwmon
	"zenpower",         // AMD, hwmon
	"package-thermal",  // Rockchip RK3588, RK3576
	"*cpu*",            // cpu0-thermal, cpuss0-thermal, cpu-top-thermal: Allwinner A64 and A83T, Exynos 5, MediaTek, Qualcomm; CPU-therm: Tegra
	"soc",              // Amlogic Meson 8
	"soc-thermal",      // Amlogic A1, Arm Juno, Rockchip PX30, RK3328, RV1108
	"soc[0-9]*",        // Tegra 234
	"imx-thermal-zone", // i.MX 6 and 7, drivers/thermal/imx_thermal.c
	"bcm2835-thermal",  // Raspberry Pi with old kernels
	"armada-thermal",   // Marvell Armada 370 to 38x
	"tcpu*",            // Intel, drivers/thermal/intel/int340x_thermal
	"b0d4",             // the same with old firmware
	"bigcore*",         // Rockchip RK3588, RK3576
	"littlecore*",      //
	"mpu*",             // TI J721E, J7200, AM65
	"main[0-9]*",       // TI AM62, AM64
	"a[0-9][0-9]-*",    // i.MX 95: a55-thermal
	"core-cluster",     // NXP Layerscape with old kernels
	"cluster*",         // NXP Layerscape, Exynos 7
	"*-cl-thermal",     // Arm Juno
	"cls*",             // HiSilicon
	"atlas*",           // Exynos 5433
	"apollo*",          //
	"tj-thermal",       // Tegra 194, 234
	"ap*-thermal",      // Marvell Armada 7K, 8K
	"ihost*",           // Broadcom Stingray
	"tsensor*",         // Tegra 30
	"sensor*thermal*",  // Renesas R-Car and RZ/G2, Qualcomm IPQ8064
	"*soc*",            // whatever else bears that name
	"quark-dts",        // Intel Quark
	"acpitz",           // the firmware of a PC; where it stands alone it is mostly the processor
}

// notCPU are parts of names of what certainly does not measure the processor, also where
// a board has no other zone.
var notCPU = []string{
	"gpu", "ddr", "dram", "mem", "pmic", "battery", "bat-", "charger", "chg", "skin", "quiet", "chassis", "board", "touch",
	"wifi", "wlan", "wl-", "modem", "camera", "video", "npu", "vpu", "dsp", "usb", "nvme", "sata", "drivetemp", "phy", "eth", "pch", "fan", "xo-", "area", "tboard", "choke", "test",
}

// maxSources is how many sources of one temperature are kept. The best that can be read counts.
const maxSources = 8

// A temperature is a file with thousandths of a degree Celsius.
type temperature struct {
	name string // of the zone or chip
	path string
	rank int // index in cpuZones
}

// cpuTemperatures returns what may measure the processor, the best first. A thermal zone
// comes before a hwmon chip of the same name. Where no name is known and there is just
// one zone, that is it.
func cpuTemperatures(root string) []temperature {
	var known, unknown []temperature
	add := func(name, path string) {
		if name == "" {
			return
		}
		if rank := cpuRank(name); rank >= 0 {
			known = append(known, temperature{name, path, rank})
		} else if !isNotCPU(name) {
			unknown = append(unknown, temperature{name, path, len(cpuZones)})
		}
	}
	for _, dir := range sortedByNumber(glob(root, "sys/class/thermal/thermal_zone*")) {
		add(firstLine(filepath.Join(dir, "type")), filepath.Join(dir, "temp"))
	}
	if len(unknown) != 1 {
		unknown = nil
	}
	for _, dir := range sortedByNumber(glob(root, "sys/class/hwmon/hwmon*")) {
		if name := firstLine(filepath.Join(dir, "name")); cpuRank(name) >= 0 {
			add(name, filepath.Join(dir, "temp1_input"))
		}
	}
	if len(known) == 0 {
		return unknown
	}
	byRank := make([][]temperature, len(cpuZones))
	for _, t := range known {
		byRank[t.rank] = append(byRank[t.rank], t)
	}
	known = slices.Concat(byRank...)
	return known[:min(len(known), maxSources)]
}

// normalName makes the names of thermal zones and hwmon chips comparable.
func normalName(name string) string {
	return strings.ReplaceAll(strings.ToLower(name), "_", "-")
}

// cpuRank returns the rank of a name in cpuZones, or -1.
func cpuRank(name string) int {
	name = normalName(name)
	if isNotCPU(name) {
		return -1
	}
	return slices.IndexFunc(cpuZones, func(pattern string) bool {
		ok, _ := path.Match(pattern, name)
		return ok
	})
}

func isNotCPU(name string) bool {
	name = normalName(name)
	return strings.HasPrefix(name, "pm") || // Qualcomm's power chips
		slices.ContainsFunc(notCPU, func(part string) bool { return strings.Contains(name, part) })
}

// sortedByNumber sorts names that end in a number by it, so that zone 2 comes before 10.
func sortedByNumber(names []string) []string {
	number := func(s string) int {
		n, _ := strconv.Atoi(s[strings.LastIndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })+1:])
		return n
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(number(a)-number(b), strings.Compare(a, b)) })
	return names
}

// readTemperature reads the best source that can be read. The error is that of the best one.
func (s *Sensor) readTemperature(dst []devices.Reading) ([]devices.Reading, error) {
	var first error
	for _, t := range s.sources.Load().temperatures {
		v, err := t.read()
		if err == nil {
			return append(dst, devices.Number("cpu/temperature", devices.Celsius, v)), nil
		}
		if first == nil {
			first = fmt.Errorf("%s: %w", t.name, err)
		}
	}
	return dst, first
}

func (t *temperature) read() (float64, error) {
	var buffer [32]byte
	data, err := readInto(t.path, buffer[:])
	if err != nil {
		return 0, err
	}
	field, _ := nextField(data)
	v, err := strconv.ParseFloat(string(field), 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %.20q is no number", t.path, field)
	}
	// A sensor that is missing or off shows a value that no processor can have.
	if v /= 1000; !(v > -100 && v < 250) {
		return 0, fmt.Errorf("%s: %v Cel is no temperature that a processor can have", t.path, v)
	}
	return v, nil
}

// readInto reads the beginning of a file into buffer.
func readInto(path string, buffer []byte) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	n := 0
	for n < len(buffer) {
		m, err := f.Read(buffer[n:])
		n += m
		if err != nil {
			if n > 0 {
				break
			}
			return nil, err
		}
	}
	if n == 0 {
		return nil, errors.New(path + ": the file is empty")
	}
	return buffer[:n], nil
}
