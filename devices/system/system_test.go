package system

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/besterhub/bester/devices"
	"github.com/besterhub/bester/devices/devicetest"
	"github.com/besterhub/bester/devices/senml"
)

// tree unpacks testdata/NAME.txtar and returns its root. It is an archive because file
// names of /sys contain colons, which file names of a Go module may not.
func tree(t *testing.T, name string) string {
	t.Helper()
	a, err := txtar.ParseFile(filepath.Join("testdata", name+".txtar"))
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	for _, f := range a.Files {
		write(t, filepath.Join(root, f.Name), f.Data)
	}
	return root
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
}

// open returns a Sensor of a tree. Its disks have 1000 blocks of 4 KiB, of which 400 are
// free and 350 available to all users. It has no mount point /gone.
func open(t *testing.T, o Options) *Sensor {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	s.statfs = func(path string, fs *syscall.Statfs_t) error {
		if strings.HasSuffix(path, "gone") {
			return syscall.ENOENT
		}
		fs.Bsize, fs.Blocks, fs.Bfree, fs.Bavail = 4096, 1000, 400, 350
		return nil
	}
	return s
}

func read(t *testing.T, s *Sensor) string {
	t.Helper()
	got, err := s.Read(t.Context(), nil)
	var parts devices.PartErrors
	if err != nil && !errors.As(err, &parts) {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, r := range got {
		if r.Kind == senml.Bool {
			fmt.Fprintf(&b, "%s %v\n", r.Name, r.Value == 1)
		} else {
			fmt.Fprintf(&b, "%s %v %s\n", r.Name, r.Value, r.Unit)
		}
	}
	return b.String()
}

func check(t *testing.T, got, want string) {
	t.Helper()
	if want = strings.TrimLeft(want, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestPi3(t *testing.T) {
	root := tree(t, "pi3")
	s := open(t, Options{Root: root, Mounts: []string{"/", "/boot/Firm ware", "/gone"}, Networks: []string{"eth0", "wlan0", "usb0"}})
	check(t, read(t, s), `
cpu/temperature 48.312 Cel
cpu/frequency 1.2e+09 Hz
load1 0.52 
load5 0.58 
load15 0.59 
memory/available 7.26153216e+08 B
memory/used 0.25 /
swap/used 0.25 /
uptime 350735.47 s
network/eth0/received 1.23456789e+08 B
network/eth0/sent 9.8765432e+07 B
network/wlan0/received 4096 B
network/wlan0/sent 8192 B
power/undervoltage true
power/undervoltage_since_boot true
cpu/throttled true
cpu/throttled_since_boot true
disk/root/free 1.4336e+06 B
disk/root/used 0.6316 /
disk/boot/firm_ware/free 1.4336e+06 B
disk/boot/firm_ware/used 0.6316 /
`)
	// 100 ticks later, of which 25 were busy. The flags for "since boot" stay set.
	write(t, filepath.Join(root, "proc/stat"), []byte("cpu  1020 20 505 8060 415 0 80 0 0 0\n"))
	write(t, filepath.Join(root, "sys/devices/platform/soc/soc:firmware/get_throttled"), []byte("50000\n"))
	got := read(t, s)
	for _, want := range []string{"cpu/used 0.25 /\n", "power/undervoltage false\npower/undervoltage_since_boot true\n", "cpu/throttled false\ncpu/throttled_since_boot true\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwant in it\n%s", got, want)
		}
	}
	// Without progress of the counters, or if they went back, there is no cpu/used.
	if got := read(t, s); strings.Contains(got, "cpu/used") {
		t.Errorf("cpu/used without a tick: %s", got)
	}
	write(t, filepath.Join(root, "proc/stat"), []byte("cpu  1 1 1 1 1 1 1 1\n"))
	if got := read(t, s); strings.Contains(got, "cpu/used") {
		t.Errorf("cpu/used of counters that went back: %s", got)
	}
}

func TestPi5(t *testing.T) {
	check(t, read(t, open(t, Options{Root: tree(t, "pi5"), Mounts: []string{"/gone"}})), `
cpu/temperature 51.6 Cel
cpu/frequency 2.4e+09 Hz
load1 0 
load5 0.01 
load15 0.05 
memory/available 7.606797312e+09 B
memory/used 0.1 /
uptime 17.25 s
power/undervoltage false
`)
}

func TestContainer(t *testing.T) {
	check(t, read(t, open(t, Options{Root: tree(t, "container")})), `
load1 1.27 
load5 0.42 
load15 0.15 
memory/available 2.4714969088e+10 B
memory/used 0.0222 /
uptime 1765.52 s
disk/root/free 1.4336e+06 B
disk/root/used 0.6316 /
`)
}

func TestOldPC(t *testing.T) {
	check(t, read(t, open(t, Options{Root: tree(t, "oldpc"), Mounts: []string{"/gone"}})), "cpu/temperature -2.5 Cel\n")
}

func TestNothingToRead(t *testing.T) {
	s := open(t, Options{Root: t.TempDir(), Mounts: []string{"/gone"}})
	if got, err := s.Read(t.Context(), nil); err == nil || len(got) != 0 {
		t.Errorf("got %v, %v; want an error", got, err)
	}
}

// Drivers that are loaded later are discovered.
func TestRediscover(t *testing.T) {
	root := tree(t, "container")
	s := open(t, Options{Root: root})
	read(t, s)
	write(t, filepath.Join(root, "sys/class/thermal/thermal_zone0/type"), []byte("soc-thermal\n"))
	write(t, filepath.Join(root, "sys/class/thermal/thermal_zone0/temp"), []byte("30000\n"))
	for range discoverEvery - 1 {
		read(t, s)
	}
	if got := read(t, s); !strings.Contains(got, "cpu/temperature 30 Cel") {
		t.Errorf("got\n%s", got)
	}
}

// Whatever the files contain, the sensor returns only numbers that a message can carry, or
// nothing.
func TestHostileTree(t *testing.T) {
	names := []string{"proc/stat", "proc/loadavg", "proc/meminfo", "proc/uptime", "proc/net/dev",
		"sys/class/thermal/thermal_zone0/temp", "sys/class/hwmon/hwmon1/in0_lcrit_alarm",
		"sys/devices/platform/soc/soc:firmware/get_throttled", "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq"}
	rnd := rand.New(rand.NewPCG(3, 4))
	binary := make([]byte, 100_000)
	for i := range binary {
		binary[i] = byte(rnd.Uint32())
	}
	for what, data := range map[string]string{
		"empty":       "",
		"newline":     "\n",
		"binary":      string(binary),
		"huge number": strings.Repeat("9", 100_000),
		"huge":        strings.Repeat("cpu 1 2 3 4 5 6 7 8 9\nMemTotal: 1 kB\n", 100_000),
		"NaN":         "cpu NaN NaN NaN NaN NaN\nMemTotal: NaN kB\neth0: NaN\n",
		"NaN alone":   "NaN Inf -Inf",
		"infinite":    "1e999 1e999 1e999",
		"negative":    "cpu -1 -1 -1 -1 -1\nMemAvailable: -5 kB\neth0: -1 -1 -1 -1 -1 -1 -1 -1 -1",
		"no fields":   "cpu\nMemTotal:\neth0:\n",
		"more free":   "MemTotal: 1 kB\nMemAvailable: 2 kB\nSwapTotal: 1 kB\nSwapFree: 2 kB\n",
	} {
		t.Run(what, func(t *testing.T) {
			root := tree(t, "pi3")
			s := open(t, Options{Root: root, Networks: []string{"eth0"}})
			read(t, s)
			for _, name := range names {
				write(t, filepath.Join(root, name), []byte(data))
			}
			devicetest.TestSensor(t, s) // disks are still there
			if got := read(t, s); strings.Contains(got, " -") {
				t.Errorf("negative numbers:\n%s", got)
			}
		})
	}
	t.Run("directories", func(t *testing.T) {
		root := t.TempDir()
		for _, name := range names {
			if err := os.MkdirAll(filepath.Join(root, name), 0o777); err != nil {
				t.Fatal(err)
			}
		}
		check(t, read(t, open(t, Options{Root: root})), "disk/root/free 1.4336e+06 B\ndisk/root/used 0.6316 /\n")
	})
}

// The machine that the test runs on.
func TestThisMachine(t *testing.T) {
	s, err := New(Options{Networks: []string{"lo"}})
	if err != nil {
		t.Fatal(err)
	}
	devicetest.TestSensor(t, s)
	got := read(t, s)
	for _, want := range []string{"load1 ", "memory/used ", "uptime ", "disk/root/free "} {
		if !strings.Contains(got, want) {
			t.Errorf("no %sin\n%s", want, got)
		}
	}
}

func TestContextEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := open(t, Options{}).Read(ctx, nil); !errors.Is(err, context.Canceled) || len(got) != 0 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{{Mounts: []string{"data"}}, {Mounts: []string{""}}, {Networks: []string{""}}, {Networks: []string{"a b"}}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	s, err := New(Options{})
	if err != nil {
		b.Fatal(err)
	}
	var dst []devices.Reading
	b.ReportAllocs()
	for b.Loop() {
		if dst, err = s.Read(b.Context(), dst[:0]); err != nil {
			b.Fatal(err)
		}
	}
}
