package resource

import (
	"os"
	"path/filepath"
	"testing"
)

// tree writes files below a folder, which it returns.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

const (
	unlimited = "9223372036854771712\n" // as version 1 writes it
	mountV1   = "34 30 0:31 / /sys/fs/cgroup/memory rw,nosuid shared:11 - cgroup cgroup rw,memory\n"
	mountV2   = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 master:1 - cgroup2 cgroup2 rw,nsdelegate\n"
	otherV1   = "35 30 0:32 / /sys/fs/cgroup/cpu rw,nosuid - cgroup cgroup rw,cpu\n22 1 8:1 / / rw - ext4 /dev/root rw\n"
)

func TestFindMemory(t *testing.T) {
	const machine = 512 << 20
	for _, c := range []struct {
		name  string
		files map[string]string
		limit int64
		from  string
	}{
		{"no proc at all", nil, machine, "machine"},
		{"no control groups", map[string]string{"proc/self/cgroup": "", "proc/self/mountinfo": otherV1}, machine, "machine"},
		{"version 2, a systemd service with MemoryMax=", map[string]string{
			"proc/self/cgroup":    "0::/system.slice/besterd.service\n",
			"proc/self/mountinfo": otherV1 + mountV2,
			"sys/fs/cgroup/system.slice/besterd.service/memory.max":  "67108864\n",
			"sys/fs/cgroup/system.slice/besterd.service/memory.high": "max\n",
			"sys/fs/cgroup/system.slice/memory.max":                  "max\n",
		}, 64 << 20, "/sys/fs/cgroup/system.slice/besterd.service/memory.max"},
		{"version 2, MemoryHigh= is lower", map[string]string{
			"proc/self/cgroup":            "0::/a\n",
			"proc/self/mountinfo":         mountV2,
			"sys/fs/cgroup/a/memory.max":  "67108864\n",
			"sys/fs/cgroup/a/memory.high": "33554432\n",
		}, 32 << 20, "/sys/fs/cgroup/a/memory.high"},
		{"version 2, nested: a parent has the lowest limit", map[string]string{
			"proc/self/cgroup":    "0::/user.slice/user-1000.slice/run.scope\n",
			"proc/self/mountinfo": mountV2,
			"sys/fs/cgroup/user.slice/user-1000.slice/run.scope/memory.max": "134217728\n",
			"sys/fs/cgroup/user.slice/user-1000.slice/memory.max":           "max\n",
			"sys/fs/cgroup/user.slice/memory.max":                           "100663296\n",
		}, 96 << 20, "/sys/fs/cgroup/user.slice/memory.max"},
		{"version 2, docker: a namespace whose root has the limit", map[string]string{
			"proc/self/cgroup":         "0::/\n",
			"proc/self/mountinfo":      mountV2,
			"sys/fs/cgroup/memory.max": "33554432\n",
		}, 32 << 20, "/sys/fs/cgroup/memory.max"},
		{"version 2, a namespace entered from outside", map[string]string{
			"proc/self/cgroup":         "0::/../../init.scope\n",
			"proc/self/mountinfo":      mountV2,
			"sys/fs/cgroup/memory.max": "33554432\n",
		}, 32 << 20, "/sys/fs/cgroup/memory.max"},
		{"version 2, all is max", map[string]string{
			"proc/self/cgroup":           "0::/a\n",
			"proc/self/mountinfo":        mountV2,
			"sys/fs/cgroup/a/memory.max": "max\n",
		}, machine, "machine"},
		{"version 2, more than the machine has", map[string]string{
			"proc/self/cgroup":           "0::/a\n",
			"proc/self/mountinfo":        mountV2,
			"sys/fs/cgroup/a/memory.max": "1073741824\n",
		}, machine, "machine"},
		{"version 1", map[string]string{
			"proc/self/cgroup":                               "5:cpu:/x\n4:memory:/grp\n0::/\n",
			"proc/self/mountinfo":                            otherV1 + mountV1,
			"sys/fs/cgroup/memory/grp/memory.limit_in_bytes": "67108864\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":     unlimited,
			"sys/fs/cgroup/cpu/x/memory.limit_in_bytes":      "1\n",
		}, 64 << 20, "/sys/fs/cgroup/memory/grp/memory.limit_in_bytes"},
		{"version 1, nested", map[string]string{
			"proc/self/cgroup":                               "4:cpu,memory:/a/b\n",
			"proc/self/mountinfo":                            mountV1,
			"sys/fs/cgroup/memory/a/b/memory.limit_in_bytes": unlimited,
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes":   "50331648\n",
		}, 48 << 20, "/sys/fs/cgroup/memory/a/memory.limit_in_bytes"},
		{"version 1, docker: the group itself is mounted", map[string]string{
			"proc/self/cgroup":                           "4:memory:/docker/0123abc\n",
			"proc/self/mountinfo":                        "34 30 0:31 /docker/0123abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "67108864\n",
		}, 64 << 20, "/sys/fs/cgroup/memory/memory.limit_in_bytes"},
		{"version 1, a parent out of sight", map[string]string{
			"proc/self/cgroup":                           "4:memory:/\n",
			"proc/self/mountinfo":                        "34 30 0:31 / /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": unlimited,
			"sys/fs/cgroup/memory/memory.stat":           "cache 1\nhierarchical_memory_limit 33554432\ntotal_cache 1\n",
		}, 32 << 20, "/sys/fs/cgroup/memory/memory.stat"},
		{"hybrid: version 2 without the memory controller", map[string]string{
			"proc/self/cgroup": "4:memory:/svc\n1:name=systemd:/svc\n0::/svc\n",
			"proc/self/mountinfo": mountV1 + "31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n" +
				"32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n",
			"sys/fs/cgroup/memory/svc/memory.limit_in_bytes": "67108864\n",
			"sys/fs/cgroup/unified/svc/cgroup.procs":         "1\n",
		}, 64 << 20, "/sys/fs/cgroup/memory/svc/memory.limit_in_bytes"},
		{"a mount point with a space", map[string]string{
			"proc/self/cgroup":     "0::/\n",
			"proc/self/mountinfo":  "30 23 0:26 / /my\\040groups rw - cgroup2 none rw\n",
			"my groups/memory.max": "67108864\n",
		}, 64 << 20, "/my groups/memory.max"},
		{"nonsense", map[string]string{
			"proc/self/cgroup":           "0::/a\nx\n::\n7:memory\n",
			"proc/self/mountinfo":        "x\n - \n1 2 - cgroup2\n" + mountV2,
			"sys/fs/cgroup/a/memory.max": "lots\n",
			"sys/fs/cgroup/memory.max":   "-5\n",
		}, machine, "machine"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := FindMemoryIn(tree(t, c.files), machine)
			if m.Limit != c.limit || m.From != c.from || m.Machine != machine {
				t.Errorf("got %+v, want %d from %s", m, c.limit, c.from)
			}
		})
	}
}

// A machine that does not tell its memory still has the limit of its group.
func TestFindMemoryOfAnUnknownMachine(t *testing.T) {
	root := tree(t, map[string]string{"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": mountV2, "sys/fs/cgroup/memory.max": "67108864\n"})
	if m := FindMemoryIn(root, 0); m.Limit != 64<<20 || m.String() != "64 MiB (/sys/fs/cgroup/memory.max)" {
		t.Errorf("got %+v, %s", m, m)
	}
	if m := FindMemoryIn(t.TempDir(), 0); m.String() != "unknown" {
		t.Errorf("got %s", m)
	}
}

// This machine has memory.
func TestFindMemoryHere(t *testing.T) {
	if m := FindMemory(); m.Machine < 1<<20 || m.Limit > m.Machine || m.Limit <= 0 {
		t.Errorf("got %+v", m)
	}
}
