package setup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/besterhub/bester/hub/errtext"
)

// socket checks the path of a UNIX socket and passes problems to report. With creates,
// the hub creates a missing folder, and an existing one must be its own or root's.
func (e *environment) socket(report func(text string, path ...string), socket string, creates bool, path ...string) {
	if info, err := os.Lstat(socket); err == nil && info.Mode().Type() != fs.ModeSocket {
		report(fmt.Sprintf("%s exists and is no socket: remove it or choose another path", socket), path...)
		return
	}
	dir := filepath.Dir(socket)
	info, err := os.Stat(dir)
	missing := 0
	if creates {
		for errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir) {
			if _, err := os.Lstat(dir); err == nil {
				report(fmt.Sprintf("%s is a link to what is not there: remove it or choose another path", dir), path...)
				return
			}
			dir = filepath.Dir(dir)
			missing++
			info, err = os.Stat(dir)
		}
	}
	var reason string
	if err == nil && info.IsDir() {
		reason = noSocketIn(dir)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		report(fmt.Sprintf("there is no folder %s: make it first", dir), path...)
	case err != nil:
		report(errtext.Of(err), path...)
	case !info.IsDir():
		report(fmt.Sprintf("%s is no folder", dir), path...)
	case reason != "":
		report(reason, path...)
	case creates && dir == filepath.Dir(socket) && foreignOwner(info):
		report(fmt.Sprintf("the folder %s belongs to another user: remove it or choose another path", dir), path...)
	case missing > 1:
		e.warn(fmt.Sprintf("there is no folder %s, nor one to put it in: the hub makes them; is the path right?", filepath.Dir(socket)), path...)
	}
}

// foreignOwner reports whether a folder belongs neither to this user nor to root.
func foreignOwner(folder fs.FileInfo) bool {
	s, ok := folder.Sys().(*syscall.Stat_t)
	return ok && s.Uid != 0 && int(s.Uid) != os.Geteuid()
}

// noSocketIn says why this user can make no socket in an existing folder, nor a folder for
// one; "" if nothing speaks against it. Nothing is made for that. Root may write everywhere
// as access(2) has it, also where the file system cannot.
func noSocketIn(dir string) string {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) == nil && socketless[uint32(s.Type)] != "" {
		return fmt.Sprintf("the folder %s is on %s, where no socket can be made: choose another path, such as one under /run", dir, socketless[uint32(s.Type)])
	}
	switch err := unix.Access(dir, unix.W_OK|unix.X_OK); {
	case errors.Is(err, unix.EROFS):
		return fmt.Sprintf("the folder %s is on a file system that can only be read: choose another path, such as one under /run", dir)
	case err != nil:
		return fmt.Sprintf("you may not make anything in the folder %s; may the hub's user?", dir)
	}
	return ""
}

// socketless are the file systems on which there are no sockets, by their number: those of
// the kernel itself, and those from other systems, such as a Pi's /boot/firmware.
var socketless = map[uint32]string{
	unix.PROC_SUPER_MAGIC:    "the kernel's proc",
	unix.SYSFS_MAGIC:         "the kernel's sysfs",
	unix.CGROUP_SUPER_MAGIC:  "the kernel's cgroup",
	unix.CGROUP2_SUPER_MAGIC: "the kernel's cgroup",
	unix.DEBUGFS_MAGIC:       "the kernel's debugfs",
	unix.TRACEFS_MAGIC:       "the kernel's tracefs",
	unix.SECURITYFS_MAGIC:    "the kernel's securityfs",
	unix.SELINUX_MAGIC:       "the kernel's selinuxfs",
	unix.BPF_FS_MAGIC:        "the kernel's bpf",
	unix.PSTOREFS_MAGIC:      "the kernel's pstore",
	unix.BINFMTFS_MAGIC:      "the kernel's binfmt_misc",
	unix.DEVPTS_SUPER_MAGIC:  "the kernel's devpts",
	unix.EFIVARFS_MAGIC:      "the kernel's efivarfs",
	0x62656570:               "the kernel's configfs",
	0x19800202:               "the kernel's mqueue",
	unix.MSDOS_SUPER_MAGIC:   "FAT",
	unix.EXFAT_SUPER_MAGIC:   "exFAT",
}
