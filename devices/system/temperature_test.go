package system

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func zone(t *testing.T, root string, number int, name, temperature string) {
	t.Helper()
	dir := filepath.Join(root, fmt.Sprintf("sys/class/thermal/thermal_zone%d", number))
	write(t, filepath.Join(dir, "type"), []byte(name+"\n"))
	write(t, filepath.Join(dir, "temp"), []byte(temperature))
}

// TestThermalZones reads testdata/zones.txt: the names of the thermal zones of boards, as
// the device trees and drivers of Linux 6.12 have them. In each line the first is the one
// to be taken, or "-" if none measures the processor.
func TestThermalZones(t *testing.T) {
	f, err := os.Open("testdata/zones.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	boards := 0
	for lines.Scan() {
		line := lines.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		board, list, ok := strings.Cut(line, ": ")
		fields := strings.Fields(list)
		if !ok || len(fields) < 2 {
			t.Fatalf("%q: want BOARD: WANT ZONE ...", line)
		}
		boards++
		want, zones := fields[0], fields[1:]
		root := t.TempDir()
		for i, name := range zones {
			zone(t, root, i, name, "42000\n")
		}
		got := "-"
		if all := cpuTemperatures(root); len(all) > 0 {
			got = all[0].name
		}
		if got != want {
			t.Errorf("%s: got %s of %v, want %s", board, got, zones, want)
		}
	}
	if boards < 40 {
		t.Errorf("only %d boards", boards)
	}
}

// Zone 2 comes before zone 10.
func TestZonesInOrder(t *testing.T) {
	root := t.TempDir()
	for i := range 12 {
		zone(t, root, i, fmt.Sprintf("cpu%d-thermal", i), "1000\n")
	}
	for i, z := range cpuTemperatures(root) {
		if want := fmt.Sprintf("cpu%d-thermal", i); z.name != want {
			t.Errorf("%d: got %s, want %s", i, z.name, want)
		}
	}
}

// Hwmon chips count where there is no zone of a better name.
func TestChips(t *testing.T) {
	for name, want := range map[string]bool{"coretemp": true, "k10temp": true, "zenpower": true, "cpu_thermal": true, "soc_thermal": true,
		"imx_thermal_zone": true, "nvme": false, "drivetemp": false, "iwlwifi_1": false, "gpu_thermal": false, "ads7846": false, "bme280": false} {
		root := t.TempDir()
		write(t, filepath.Join(root, "sys/class/hwmon/hwmon3/name"), []byte(name+"\n"))
		write(t, filepath.Join(root, "sys/class/hwmon/hwmon3/temp1_input"), []byte("42000\n"))
		if got := len(cpuTemperatures(root)) == 1; got != want {
			t.Errorf("%s: taken is %v, want %v", name, got, want)
		}
	}
}
