package system

import (
	"math"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/besterhub/bester/devices/senml"
)

// numbersOf returns this machine's numbers by their names.
func numbersOf(t *testing.T, s *Sensor) map[string]float64 {
	t.Helper()
	readings, err := s.Read(t.Context(), nil)
	if len(readings) == 0 {
		t.Fatal(err)
	}
	all := make(map[string]float64)
	for _, r := range readings {
		if r.Kind == senml.Number {
			all[r.Name] = r.Value
		}
	}
	return all
}

// fields returns the fields of a line of a command's output, the first that begins with prefix.
func fields(t *testing.T, prefix string, command ...string) []string {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", command, err)
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(strings.TrimSpace(line), prefix) {
			return strings.Fields(line)
		}
	}
	t.Fatalf("%v: no line begins with %q in\n%s", command, prefix, out)
	return nil
}

func number(t *testing.T, s string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestAgainstTools compares this machine's numbers with those that its tools print before
// and after, for they change meanwhile: each lies between the two, or as far outside as it
// may have moved and come back.
func TestAgainstTools(t *testing.T) {
	if _, err := exec.LookPath("df"); err != nil {
		t.Fatal("df is missing: apt-get install coreutils")
	}
	s, err := New(Options{Networks: []string{"lo"}})
	if err != nil {
		t.Fatal(err)
	}
	numbersOf(t, s) // cpu/used is the difference to the read before
	df := func(column int) func() float64 {
		return func() float64 {
			return number(t, fields(t, "/", "df", "-B1", "--output=target,avail,pcent,used", "/")[column])
		}
	}
	free := func(line string, column int) func() float64 {
		return func() float64 { return number(t, fields(t, line, "free", "-b")[column]) }
	}
	proc := func(file string, column int) func() float64 {
		return func() float64 {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			return number(t, strings.Fields(string(data))[column])
		}
	}
	// RX and TX are each followed by a line of numbers.
	network := func(direction int) func() float64 {
		return func() float64 {
			out, err := exec.Command("ip", "-s", "link", "show", "dev", "lo").Output()
			if err != nil {
				t.Fatalf("ip -s link: %v", err)
			}
			found := 0
			lines := strings.Split(string(out), "\n")
			for i, line := range lines {
				if strings.Contains(line, "RX:") || strings.Contains(line, "TX:") {
					if found == direction {
						return number(t, strings.Fields(lines[i+1])[0])
					}
					found++
				}
			}
			t.Fatalf("no counters in\n%s", out)
			return 0
		}
	}
	memoryUsed := func() float64 {
		mem := fields(t, "Mem:", "free", "-b")
		return 1 - number(t, mem[6])/number(t, mem[1])
	}
	diskUsed := func() float64 {
		f := fields(t, "/", "df", "-B1", "--output=target,avail,used", "/")
		return number(t, f[2]) / (number(t, f[1]) + number(t, f[2]))
	}
	// df rounds its percentage up.
	percent := func() float64 { return (df(2)() - 0.5) / 100 }
	for _, v := range []struct {
		name  string
		tool  string
		read  func() float64
		slack float64 // how far it may move and come back
	}{
		{"disk/root/free", "df", df(1), 512 << 20},
		{"disk/root/used", "df", diskUsed, 0.01},
		{"disk/root/used", "df", percent, 0.0151},
		{"memory/available", "free", free("Mem:", 6), 1 << 30},
		{"memory/used", "free", memoryUsed, 0.05},
		{"uptime", "cat", proc("/proc/uptime", 0), 0.02},
		{"load1", "cat", proc("/proc/loadavg", 0), 0.01},
		{"load5", "cat", proc("/proc/loadavg", 1), 0.01},
		{"load15", "cat", proc("/proc/loadavg", 2), 0.01},
		{"network/lo/received", "ip", network(0), 0},
		{"network/lo/sent", "ip", network(1), 0},
	} {
		if _, err := exec.LookPath(v.tool); err != nil {
			t.Errorf("%s is missing, with which %s is compared", v.tool, v.name)
			continue
		}
		before := v.read()
		got, ok := numbersOf(t, s)[v.name]
		after := v.read()
		low, high := math.Min(before, after)-v.slack, math.Max(before, after)+v.slack
		if !ok || got < low || got > high {
			t.Errorf("%s is %v, there: %v; %s says %v before and %v after", v.name, got, ok, v.tool, before, after)
		}
	}
	for range 100 { // until a tick has passed
		if used, ok := numbersOf(t, s)["cpu/used"]; ok {
			if used < 0 || used > 1 {
				t.Errorf("cpu/used is %v", used)
			}
			return
		}
	}
}
