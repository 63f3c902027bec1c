package system

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/besterhub/bester/devices"
)

// failedParts reads s and returns the names of the readings and the errors of the parts that failed.
func failedParts(t *testing.T, s *Sensor) (names string, failed map[string]string) {
	t.Helper()
	got, err := s.Read(t.Context(), nil)
	var parts devices.PartErrors
	if err != nil && !errors.As(err, &parts) {
		t.Fatal(err)
	}
	failed = make(map[string]string)
	for _, p := range parts {
		failed[p.Part] = p.Err.Error()
	}
	for _, r := range got {
		names += r.Name + "\n"
	}
	return names, failed
}

// A file server that is away holds up nothing but its own mount point.
func TestMountHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Options{Root: tree(t, "pi3"), Mounts: []string{"/", "/nas"}})
		release := make(chan struct{})
		statfs := s.statfs
		s.statfs = func(path string, st *syscall.Statfs_t) error {
			if strings.HasSuffix(path, "nas") {
				<-release
			}
			return statfs(path, st)
		}
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			got, err := s.Read(ctx, nil)
			cancel()
			text := ""
			for _, r := range got {
				text += r.Name + "\n"
			}
			if err == nil || !strings.Contains(err.Error(), "disk/nas: no answer") || strings.Contains(text, "nas") {
				t.Errorf("got %v and\n%s", err, text)
			}
			for _, want := range []string{"uptime\n", "disk/root/free\n", "cpu/temperature\n"} {
				if !strings.Contains(text, want) {
					t.Errorf("no %sin\n%s", want, text)
				}
			}
		}
		close(release)
		synctest.Wait()
		if names, failed := failedParts(t, s); len(failed) > 0 || !strings.Contains(names, "disk/nas/free") {
			t.Errorf("after it came back: %v\n%s", failed, names)
		}
	})
}

// The space of the disk below a folder is not taken for that of a disk which is not mounted there.
func TestNotMounted(t *testing.T) {
	folder := t.TempDir()
	s, err := New(Options{Mounts: []string{"/", folder, "/proc", "/nosuch"}})
	if err != nil {
		t.Fatal(err)
	}
	names, failed := failedParts(t, s)
	if strings.Contains(names, sanitizeName(strings.Trim(folder, "/"), "")) || !strings.Contains(names, "disk/root/free\n") {
		t.Errorf("got\n%s", names)
	}
	for part, want := range map[string]string{
		"disk/" + sanitizeName(strings.Trim(folder, "/"), ""): "nothing is mounted at " + folder,
		"disk/proc":   "/proc has no blocks: it is no file system that can fill up",
		"disk/nosuch": "there is no /nosuch",
	} {
		if failed[part] != want {
			t.Errorf("%s: got %q, want %q", part, failed[part], want)
		}
	}
}

// statfs counts in fragments, whatever the size of a transfer; what is reserved may exceed
// what is free.
func TestFragments(t *testing.T) {
	s := open(t, Options{Root: tree(t, "container")})
	for _, tt := range []struct {
		frsize, bsize int64
		available     uint64
		want          string
	}{
		{4096, 1 << 20, 350, "disk/root/free 1.4336e+06 B\ndisk/root/used 0.6316 /\n"},
		{0, 4096, 350, "disk/root/free 1.4336e+06 B\ndisk/root/used 0.6316 /\n"},
		{4096, 4096, 1<<64 - 50, "disk/root/free 0 B\ndisk/root/used 1 /\n"},
	} {
		s.statfs = func(_ string, st *syscall.Statfs_t) error {
			st.Blocks, st.Bfree, st.Bavail = 1000, 400, tt.available
			setSizes(st, tt.frsize, tt.bsize)
			return nil
		}
		if got := read(t, s); !strings.HasSuffix(got, tt.want) {
			t.Errorf("%+v: got\n%s", tt, got)
		}
	}
}

// setSizes sets the sizes, whose type depends on the architecture.
func setSizes(st *syscall.Statfs_t, frsize, bsize int64) {
	set(&st.Frsize, frsize)
	set(&st.Bsize, bsize)
}

func set[T int32 | int64](to *T, v int64) { *to = T(v) }

// What cannot be read is named, and hides nothing.
func TestUnreadable(t *testing.T) {
	root := tree(t, "pi3")
	s := open(t, Options{Root: root, Networks: []string{"eth0", "eth9"}})
	for name, data := range map[string]string{"proc/loadavg": "none\n", "proc/meminfo": "MemFree: 1 kB\n", "proc/stat": "intr 1\n", "proc/uptime": "",
		"sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "<unknown>\n", "sys/devices/platform/soc/soc:firmware/get_throttled": "zz\n"} {
		write(t, filepath.Join(root, name), []byte(data))
	}
	names, failed := failedParts(t, s)
	for _, part := range []string{"load", "memory", "cpu/used", "uptime", "cpu/frequency", "network/eth9"} {
		if failed[part] == "" {
			t.Errorf("%s is not named: %v", part, failed)
		}
	}
	for _, want := range []string{"cpu/temperature\n", "network/eth0/sent\n", "power/undervoltage\n", "disk/root/free\n"} {
		if !strings.Contains(names, want) {
			t.Errorf("no %sin\n%s", want, names)
		}
	}
}

// Root "/" is the default, named or not.
func TestRootNamed(t *testing.T) {
	var all []string
	for _, root := range []string{"", "/", "//"} {
		s, err := New(Options{Root: root})
		if err != nil {
			t.Fatal(err)
		}
		s.synced = func() (bool, bool) { return true, true }
		names, _ := failedParts(t, s)
		if !strings.Contains(names, "clock/synchronized\n") {
			t.Errorf("root %q: no clock in\n%s", root, names)
		}
		all = append(all, names)
	}
	if all[0] != all[1] || all[1] != all[2] {
		t.Errorf("got\n%s", strings.Join(all, "\n-- and --\n"))
	}
}

// A zone that gives an error does not hide the next one, and one that gives nonsense neither.
func TestZoneThatCannotBeRead(t *testing.T) {
	for what, spoil := range map[string]func(path string) error{
		"error":  func(path string) error { os.Remove(path); return os.Symlink("/proc/self/mem", path) },
		"absent": os.Remove,
		"absurd": func(path string) error { return os.WriteFile(path, []byte("-274000\n"), 0o666) },
		"empty":  func(path string) error { return os.Truncate(path, 0) },
		"text":   func(path string) error { return os.WriteFile(path, []byte("off\n"), 0o666) },
	} {
		t.Run(what, func(t *testing.T) {
			root := tree(t, "container")
			zone(t, root, 0, "cpu-thermal", "50000\n")
			zone(t, root, 1, "soc-thermal", "43210\n")
			s := open(t, Options{Root: root})
			if got := read(t, s); !strings.Contains(got, "cpu/temperature 50 Cel\n") {
				t.Fatalf("got\n%s", got)
			}
			if err := spoil(filepath.Join(root, "sys/class/thermal/thermal_zone0/temp")); err != nil {
				t.Fatal(err)
			}
			if got := read(t, s); !strings.Contains(got, "cpu/temperature 43.21 Cel\n") {
				t.Errorf("got\n%s", got)
			}
			if err := spoil(filepath.Join(root, "sys/class/thermal/thermal_zone1/temp")); err != nil {
				t.Fatal(err)
			}
			if names, failed := failedParts(t, s); strings.Contains(names, "temperature") || !strings.HasPrefix(failed["cpu/temperature"], "cpu-thermal: ") {
				t.Errorf("got %v and\n%s", failed, names)
			}
		})
	}
}
